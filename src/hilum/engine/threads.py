"""How many threads a network may use: one a core, one in a process that is one of many, fewer where it is told."""

import multiprocessing
import os

from hilum.parallel import default_processes
from hilum.process import cores_granted


def threads_wanted() -> int:
    """Threads for one network.

    One a core that this process may use and is granted, or what `OMP_NUM_THREADS` allows, if that is less. One alone in
    a process that another started by `multiprocessing`, as pools do: its siblings fill the other cores.
    """
    cores = min(default_processes(), cores_granted())
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return min(int(told), cores)
    return cores if multiprocessing.parent_process() is None else 1
