"""How a process uses the machine it runs on; settled once by the command, before any engine is imported."""

import contextlib
import ctypes
import math
import os
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = (1 << 31) - 1
_LARGEST_KEPT = 1 << 30
SHORT_NUMBERS = ("bf16", "vnni", "amx")


def settle(*, keep_memory: bool = True) -> None:
    """Let idle threads sleep, and keep freed memory for the next batch.

    OpenMP threads that wait by spinning slow a busy machine down several times; three libraries read three variables.
    glibc hands every large freed block back to the system and faults it in again for the next batch: on frozen
    features at 320 px that was two thirds of the time. Elsewhere than on glibc the second step does nothing.

    Args:
        keep_memory: False for a process that lives long and should give back what a large film took.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(name, value)
    stay_silent()
    if not keep_memory:
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def stay_silent() -> None:
    """Keep inference engines from reporting their use to their makers; to be called before they are imported.

    ONNX Runtime does so from 1.29 on over the network wherever it is not told otherwise, and leaves a file `.ses` in
    the temporary folder (its Privacy.md, "Disabling Telemetry"). OpenVINO does so on every import, through the package
    openvino_telemetry, and leaves `~/intel`; it has no switch but a file there, and does without where it cannot import
    the package.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def cores_granted(control: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores' worth of time that this process's container has, by its control group; all where nothing limits it.

    Args:
        control: where the control group's files lie, of version 2 or 1.
    """
    quota, period = _limits(control)
    if quota.isdecimal() and period.isdecimal() and int(period):
        return max(1, math.ceil(int(quota) / int(period)))
    return os.cpu_count() or 1


def _limits(control: Path) -> tuple[str, str]:
    """Microseconds of processor time and of the clock in which it may be used, as they are written."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (control / "cpu.max").read_text(encoding="ascii").split()
        return quota, period
    with contextlib.suppress(OSError, ValueError):
        old = control / "cpu"
        quota, period = (
            (old / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
        )
        return quota, period
    return "max", ""


def instructions(told: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The processor's instructions for short numbers (bf16, vnni, amx), by the names Linux gives them; else none.

    Args:
        told: what the system tells of its processors.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("flags"):
                return tuple(sorted(flag for flag in line.split() if any(word in flag for word in SHORT_NUMBERS)))
    return ()
