"""How a process uses the machine it runs on; called once by the command, before torch is imported."""

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = (1 << 31) - 1
_LARGEST_KEPT = 1 << 30


def settle() -> None:
    """Let idle threads sleep, and keep freed memory for the next batch.

    OpenMP threads that wait by spinning slow a busy machine down several times; three libraries read three variables.
    glibc hands every large freed block back to the system and faults it in again for the next batch: on frozen
    features at 320 px that was two thirds of the time. Elsewhere than on glibc the second step does nothing.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
