"""What decides the bytes and the speed on this machine, for `resizeonce info --environment`."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import features

from ..loader.format.core import load_core, why_missing
from .store.plan import library_versions

_PACKAGE = __name__.rpartition(".preprocess.")[0]

_CORES = {
    "loader": ("loader.kernels", "numpy does"),
    "converter": ("preprocess.kernels", "numpy and Pillow do"),
}
"""Where each compiled core is, and what does its work where there is none."""

_CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, Any]:
    """Return which compiled cores are in use, the versions of libraries, and the processor."""
    versions = library_versions() | {name: version(name) for name in ("simplejpeg", "torch")}
    versions["libjpeg-turbo"] = features.version("libjpeg_turbo") or "none: Pillow has another libjpeg"
    return {name: _describe_core(*where) for name, where in _CORES.items()} | {
        "versions": versions,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
    }


def environment_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what `environment` returns as lines."""
    for name in _CORES:
        yield f"{name:<13} {found[name]}"
    for name, number in found["versions"].items():
        yield f"{name:<13} {number}"
    yield f"processor     {found['processor']}, {found['cores']} cores"
    yield f"system        {found['system']}"


def _describe_core(package: str, instead: str) -> str:
    package = f"{_PACKAGE}.{package}"
    core = load_core(package)
    if core is not None:
        return f"compiled core, {core.level()}"
    return f"no compiled core: {instead} the work, to the same bytes but more slowly. {why_missing(package)}"


def _processor() -> str:
    """Return the processor's name, or its kind on systems that tell no more."""
    found = re.search(
        r"^model name\s*: *(.*)", _CPU_INFO.read_text() if _CPU_INFO.exists() else "", re.MULTILINE
    )
    return found[1].strip() if found else platform.machine()
