"""Times of things that take turns, and ratios of them within a round."""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that are done."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class Times:
    """Seconds per item of one thing that is timed, by round."""

    per_item: list[float] = field(default_factory=list)
    cpu_per_item: list[float] = field(default_factory=list)
    """Processor time: what another load on the machine changes least, and waiting for the disk not at all."""

    def add(self, items: int, call: Callable[[], object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        call()
        self.per_item.append((time.perf_counter() - started) / items)
        self.cpu_per_item.append((cpu_seconds() - cpu) / items)

    @cached_property
    def median(self) -> float:
        return statistics.median(self.per_item)

    @cached_property
    def cpu(self) -> float:
        return statistics.median(self.cpu_per_item)

    def __str__(self) -> str:
        low, high = (1000 * extreme(self.per_item) for extreme in (min, max))
        return f"{1000 * self.median:.1f} ({low:.1f}-{high:.1f}), processor {1000 * self.cpu:.1f}"


def compare(slow: Times, fast: Times) -> str:
    """Return the median of the rounds' ratios, with the extremes."""
    ratios = [a / b for a, b in zip(slow.per_item, fast.per_item, strict=True)]
    of_cpu = f"of processor time {slow.cpu / fast.cpu:.2f}"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), {of_cpu}"


def median_ratio(slow: Times, fast: Times) -> float:
    return statistics.median(a / b for a, b in zip(slow.per_item, fast.per_item, strict=True))
