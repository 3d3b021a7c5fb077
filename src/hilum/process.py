"""How a process uses the machine it runs on; called once by the command, before torch or ONNX Runtime is imported."""

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = (1 << 31) - 1
_LARGEST_KEPT = 1 << 30


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
    """Keep ONNX Runtime from reporting its use to its maker; to be called before it is imported.

    From 1.29 on it does so over the network wherever it is not told otherwise, and leaves a file `.ses` in the
    temporary folder (its Privacy.md, "Disabling Telemetry").
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
