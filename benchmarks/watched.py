"""What a command cost with all its processes: wall clock, processor, and the most memory they held together.

Linux only. The measuring process adopts what a command leaves behind (a server that hands out processes ends after the
command itself), so that the processor's time of all of them is told when they end.
"""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ADOPT = 36
"""Linux: PR_SET_CHILD_SUBREAPER."""
EVERY_S = 0.1
IDLE = 30
"""Between two looks at memory at least so many times as long as a look takes, which grows with the memory held."""
LEFT_BEHIND_S = 10.0
"""How long to wait for processes that outlive the command."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        wall_s: until the command itself ended.
        processor_s: of all its processes.
        peak_mb: most memory held at one moment by all processes, a shared page counted once (PSS), looked at up to
            ten times a second; at least `largest_mb`.
        largest_mb: most memory that any one process held (RSS), as the kernel kept it.
        status: 0 where it went well; -9 where it took too long and was ended.
        said: the end of what it wrote.
    """

    wall_s: float
    processor_s: float
    peak_mb: float
    largest_mb: float
    status: int
    said: str


def watched(command: Sequence[str], env: Mapping[str, str], log: Path, *, at_most_s: float) -> Cost:
    """Run a command in a session of its own, and tell what it took; after `at_most_s` it is ended."""
    ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0)
    with log.open("w") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(env), stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        tally = _Tally(process.pid)
        while tally.wall_s is None or (_children() and time.perf_counter() - start < tally.wall_s + LEFT_BEHIND_S):
            if tally.wall_s is None and time.perf_counter() - start > at_most_s:
                os.killpg(process.pid, signal.SIGKILL)
            tally.look(start)
        process.returncode = tally.status
    said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    return Cost(
        tally.wall_s, tally.processor_s, max(tally.peak_mb, tally.largest_mb), tally.largest_mb, tally.status, said
    )


class _Tally:
    """What the processes of one command used so far."""

    def __init__(self, command: int) -> None:
        self.command = command
        self.wall_s: float | None = None
        self.status = 0
        self.processor_s = self.largest_mb = self.peak_mb = 0.0

    def look(self, start: float) -> None:
        """Take in what has ended since; else how much memory is held, and wait a little."""
        pid, code, usage = os.wait4(-1, os.WNOHANG)
        if not pid:
            begun = time.perf_counter()
            self.peak_mb = max(self.peak_mb, _held_mb(self.command))
            time.sleep(max(EVERY_S, IDLE * (time.perf_counter() - begun)))
            return
        self.processor_s += usage.ru_utime + usage.ru_stime
        self.largest_mb = max(self.largest_mb, usage.ru_maxrss / 1024)
        if pid == self.command:
            self.wall_s = time.perf_counter() - start
            self.status = os.waitstatus_to_exitcode(code)


def _children() -> bool:
    """Whether this process still has any."""
    return any((task / "children").read_text() for task in Path("/proc/self/task").iterdir())


def _held_mb(session: int) -> float:
    """Proportional set size of all processes of a session."""
    return sum(_pss_kb(pid) for pid in _members(session)) / 1024


def _members(session: int) -> list[str]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                if os.getsid(int(entry.name)) == session:
                    found.append(entry.name)
            except ProcessLookupError:
                continue
    return found


def _pss_kb(pid: str) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    line = re.search(r"^Pss:\s+(\d+)", told, re.MULTILINE)
    return int(line.group(1)) if line else 0
