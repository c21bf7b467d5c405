"""On what was measured: processor, memory, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

LIBRARIES = ("numpy", "onnxruntime", "opencv-python-headless", "faiss-cpu")


class Machine(BaseModel):
    """``cores`` are those that this process may use; ``memory_gb`` is 10^9 bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    libraries: dict[str, str]


def this_machine() -> Machine:
    """The machine that this runs on (Linux)."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=processor_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(pages / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
    )


def processor_name(cpuinfo: Path) -> str:
    """The first ``model name`` of /proc/cpuinfo; the architecture where there is none."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
