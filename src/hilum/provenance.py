"""How a result came to be: which versions, on what machine."""

import os
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "hilum",
    "numpy",
    "pandas",
    "scikit-learn",
    "opencv-python-headless",
    "pydicom",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
)


def describe_versions() -> dict[str, str]:
    """Python and the packages that decide numbers; those not installed are left out."""
    told = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            told[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return told


def describe_machine() -> dict[str, str]:
    """System, processor and cores; no host or user name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"system": platform.system(), "processor": _processor(), "cores": str(cores)}


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
