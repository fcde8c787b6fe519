"""What the benchmarks share: times of things that take turns, ratios within a round, bars, and what processes take."""

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that are done."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class Times:
    """Seconds per item of one thing that is timed, by round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Processor time: what another load on the machine changes least, and waiting for the disk not at all."""

    def add(self, items: int, call: Callable[[], object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        call()
        self.wall.append((time.perf_counter() - started) / items)
        self.cpu.append((cpu_seconds() - cpu) / items)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def __str__(self) -> str:
        milliseconds = spread((1000 * one for one in self.wall), 1)
        return f"{milliseconds}, processor {1000 * statistics.median(self.cpu):.1f}"


def ratios(slow: Times, fast: Times) -> list[float]:
    """Return how many times as long one took as the other in each round."""
    return [a / b for a, b in zip(slow.wall, fast.wall, strict=True)]


def compare(slow: Times, fast: Times) -> str:
    """Return the ratios, and that of the processor times."""
    of_cpu = statistics.median(slow.cpu) / statistics.median(fast.cpu)
    return f"{spread(ratios(slow, fast), 2)}, of processor time {of_cpu:.2f}"


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Return the median with the extremes, "" of nothing."""
    values = list(values)
    if not values:
        return ""
    low, middle, high = (f"{what(values):.{digits}f}" for what in (min, statistics.median, max))
    return f"{middle} ({low}-{high})"


def print_bar(what: str, found: Sequence[float], bar: float, *, at_most: bool = False) -> None:
    """Print whether the median of what was found is as high as it should be, or as low."""
    median = statistics.median(found)
    met = median <= bar if at_most else median >= bar
    print(f"  {'met   ' if met else 'MISSED'} {what:<62}{spread(found, 2):>20}  bar {bar}", flush=True)


def print_row(*cells: object) -> None:
    """Print a row of a table in Markdown."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_head(*cells: str) -> None:
    """Print the head of a table in Markdown."""
    print_row(*cells)
    print("|" + "---|" * len(cells))


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    found: list[int] = []
    # It may end at any moment.
    with suppress(OSError):
        # Each is listed by the thread that started it.
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def memory(kind: str, pid: int | str = "self") -> float:
    """Return memory of a process in MB, as Linux counts it.

    Args:
        kind: `VmRSS`, resident; `VmHWM`, the most that was; or a field of `smaps_rollup`, as `Private_Dirty`, what the
            process alone has written: library files and the page cache are not in it.
        pid: of the process.
    """
    source = Path(f"/proc/{pid}") / ("status" if kind.startswith("Vm") else "smaps_rollup")
    line = next(line for line in source.read_text().splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) * 1024 / 1e6
