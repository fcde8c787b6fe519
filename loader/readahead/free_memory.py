"""How much memory this process may hope for."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

SHARE_OF_FREE = 2
"""Of what is no larger than half of the free memory, all that is read is expected to stay in the page cache."""


def stay_in_memory(num_bytes: int) -> bool:
    """Whether so much stays in memory once it is read, as far as can be foreseen now."""
    return num_bytes <= available_bytes() // SHARE_OF_FREE


def available_bytes() -> int:
    """Return how many bytes of memory are free, or are given back when they are needed; 0 where Linux does not tell.

    A container's limit counts, whatever the machine has: what is read from files is charged to it as well.
    """
    try:
        free = _read_machine("MemAvailable")
    except (OSError, ValueError):
        return 0
    return min([free, *(max(most - used + cached, 0) for most, used, cached in _limits())])


def total_bytes() -> int | None:
    """Return how many bytes of memory there are for this process, swap included, whoever has them; None where Linux does not tell.

    A container's limit counts, whatever the machine has.
    """
    try:
        memory, swap = _read_machine("MemTotal"), _read_machine("SwapTotal")
    except (OSError, ValueError):
        return None
    if not memory:
        return None
    return min([memory, *(most for most, _, _ in _limits())]) + swap


def _read_machine(name: str) -> int:
    """Return a number of bytes that Linux tells of the machine."""
    return _read_field(PROC / "meminfo", f"{name}:") * 1024


def _limits() -> Iterator[tuple[int, int, int]]:
    """Yield the limit of the control group of this process and those it is in (cgroup v2, or v1's own mount).

    With each come the bytes that are used of it, and those of them that hold files, which are given back.
    """
    with suppress(OSError, ValueError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            root = CGROUPS / "memory" if "memory" in controllers.split(",") else CGROUPS
            group = root / name.lstrip("/")
            for folder in (group, *group.parents):
                for limit, used, cached in (
                    ("memory.max", "memory.current", "file"),
                    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
                ):
                    # "max" is no limit; and inside a container the path may be that of the host.
                    with suppress(OSError, ValueError):
                        most, taken = (int((folder / file).read_text()) for file in (limit, used))
                        yield most, taken, _read_field(folder / "memory.stat", cached)
                if folder == CGROUPS:
                    break


def _read_field(path: Path, name: str) -> int:
    """Return the number behind a name in a file of names and numbers, 0 where it is not there."""
    fields = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) for words in fields if words[:1] == [name]), 0)
