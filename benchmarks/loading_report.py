"""What `benchmarks/loading.py` measured: the table, the bars and their ratios, each taken within a round."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from measure import print_bar, print_head, print_row, spread

FLOOR = "floor, 2 processes"
"""What the ratios of the table refer to."""
OURS = "ours, 2 processes"
FFCV = "FFCV, 2 threads"

Measure = Literal["warm", "cpu", "busy", "cold", "cold again"]
"""Samples per second of whole epochs; milliseconds of the processors per sample; samples per second that the busy trainer
got; samples per second of a cold epoch; the same, all that has to be started or compiled being there."""


@dataclass
class Result:
    """What was measured of one reader."""

    version: str = ""
    memory: float = 0
    """MiB."""
    disk: float = 0
    """MiB per sample."""
    rounds: dict[Measure, dict[int, float]] = field(default_factory=dict)
    """What was measured in each round."""

    def note(self, measure: Measure, number: int, value: float) -> None:
        """Add what a round gave."""
        self.rounds.setdefault(measure, {})[number] = value

    def values(self, measure: Measure) -> list[float]:
        """Return what all rounds gave."""
        return list(self.rounds.get(measure, {}).values())


Results = Mapping[str, Result]
"""By the names of the readers."""


def ratios(results: Results, measure: Measure, name: str, base: str) -> list[float]:
    """Return the ratios of two readers in each round that both were in."""
    if name not in results or base not in results:
        return []
    ours, theirs = (results[one].rounds.get(measure, {}) for one in (name, base))
    return [ours[number] / theirs[number] for number in ours if number in theirs]


def medians(results: Results) -> dict[str, float]:
    """Return the warm samples per second of each reader."""
    return {name: statistics.median(result.values("warm")) for name, result in results.items()}


def print_table(results: Results) -> None:
    """Print a row for each reader."""
    print()
    print_head(
        *("reader", "samples/s", "of the floor", "CPU ms a sample", "busy trainer", "cold samples/s"),
        *("MiB memory", "MiB disk"),
    )
    for name, result in results.items():
        busy = spread(ratios(results, "busy", name, FLOOR), 2)
        print_row(
            f"{name} {result.version}".strip(),
            spread(result.values("warm")),
            spread(ratios(results, "warm", name, FLOOR), 2),
            spread(result.values("cpu"), 2),
            busy if name != FLOOR else f"takes {spread(result.values('busy'))}",
            spread(result.values("cold")),
            f"{result.memory:.0f}",
            f"{result.disk:.2f}" if result.disk else "",
        )
    for name, result in results.items():
        if again := result.values("cold again"):
            print(f"\n{name}, a second cold epoch: {spread(again)}")


def print_bars(results: Results) -> None:
    """Print whether each aim is met."""
    print("\nbars")
    threads, in_loader = "ours, 2 threads", "ours in DataLoader, 2 workers"
    compact = "ours, compact images, 2 threads"
    memmap = _best(
        results, "warm", [name for name in results if name.startswith("np.memmap") and "2 w" in name]
    )
    cold = _best(results, "cold", [name for name in results if not name.startswith("ours")])
    for what, found, bar in (
        ("warm, times FFCV", ratios(results, "warm", OURS, FFCV), 2.2),
        ("warm, of the floor with 2 processes", ratios(results, "warm", OURS, FLOOR), 0.95),
        ("warm, of the floor with 2 threads", ratios(results, "warm", threads, "floor, 2 threads"), 0.95),
        (f"in DataLoader, times {memmap}", ratios(results, "warm", in_loader, memmap), 2.5),
        ("busy trainer, of what it can take", ratios(results, "busy", OURS, FLOOR), 0.95),
        (f"cold, start included, times {cold}", ratios(results, "cold", OURS, cold), 2),
        ("cold, second epoch, threads, times FFCV", ratios(results, "cold again", threads, FFCV), 2),
        ("the same with compact images", ratios(results, "cold again", compact, FFCV), 2),
    ):
        if found:
            print_bar(what, found, bar)
    if cpu := ratios(results, "cpu", OURS, FLOOR):
        print_bar("CPU per sample, of the floor's (at most)", cpu, 1.15, at_most=True)


def _best(results: Results, measure: Measure, names: Sequence[str]) -> str:
    """Return the fastest of some readers by the median, "" of none that was measured."""
    found = {name: statistics.median(values) for name in names if (values := results[name].values(measure))}
    return max(found, key=lambda name: found[name], default="")
