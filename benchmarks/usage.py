"""Memory of processes, as Linux counts it, for the benchmarks."""

from collections.abc import Iterator
from pathlib import Path


def peak_rss(pid: int | str = "self") -> float:
    """Return the most memory a process had resident since it began, in MB, mapped library files included."""
    return _read(Path(f"/proc/{pid}/status"), "VmHWM")


def rss(pid: int | str = "self") -> float:
    """Return the memory a process has resident, in MB."""
    return _read(Path(f"/proc/{pid}/status"), "VmRSS")


def private(pid: int | str = "self") -> float:
    """Return the memory that a process alone has written, in MB: library files and the page cache are not in it."""
    return _read(Path(f"/proc/{pid}/smaps_rollup"), "Private_Dirty")


def children(pid: int) -> Iterator[int]:
    """Yield the processes that a process started, and those that they started."""
    # Each is listed by the thread that started it.
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for number in (thread / "children").read_text().split():
            yield int(number)
            yield from children(int(number))


def is_worker(pid: int) -> bool:
    """Whether a process is one that multiprocessing spawned to work."""
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _read(path: Path, field: str) -> float:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6
