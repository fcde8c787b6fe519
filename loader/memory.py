"""How much memory this process may hope for."""

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return how many bytes of memory are free, or are given back when they are needed; 0 where Linux does not tell.

    A container's limit counts, whatever the machine has: what is read from files is charged to it as well.
    """
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 0
    return min([free, *_limits()])


def _limits() -> list[int]:
    """Return the limits of the control group of this process and of those it is in (cgroup v2, or v1's own mount)."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        for line in (_PROC / "self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            root = _CGROUPS / "memory" if "memory" in controllers.split(",") else _CGROUPS
            group = root / name.lstrip("/")
            for folder in (group, *group.parents):
                for file in ("memory.max", "memory.limit_in_bytes"):
                    # "max" is no limit; and inside a container the path may be that of the host.
                    with suppress(OSError, ValueError):
                        found.append(int((folder / file).read_text()))
                if folder == _CGROUPS:
                    break
    return found
