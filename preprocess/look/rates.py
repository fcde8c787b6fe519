"""What is known of the path from the disk to a batch once it was measured: what limits it, and whether a training step waits."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

RUNS = 5
"""Of each measurement; the median counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How to read."""

    batch_size: int = 8
    workers: int = 2
    """Of each rank; 0 fills batches in the trainer's thread."""
    mode: Literal["process", "thread"] = "process"
    ranks: int = 1
    """Processes of the training on this machine, which all read."""
    seconds: float = 3.0
    """Of each measurement."""
    seed: int = 0
    """Which samples are read."""

    @property
    def who(self) -> str:
        """Who fills the batches of a rank."""
        if not self.workers:
            return "the trainer's thread"
        kind = {"process": "processes", "thread": "threads"}[self.mode]
        return f"{self.workers} {self.mode if self.workers == 1 else kind}"


class Outlook(NamedTuple):
    """What a training step gets."""

    samples_per_second: float
    """Of whatever limits."""
    limit: str
    """The name of that."""
    waits: float
    """The share of the time, 0 to 1, in which the ranks wait for samples."""


@dataclass(frozen=True, slots=True)
class Step:
    """A training step, as far as this machine feeds it."""

    seconds: float
    """From one step to the next, where no rank waits for samples."""
    ranks: int
    """Processes of the training on this machine."""
    batch_size: int
    """Samples of each rank."""

    @property
    def needed(self) -> float:
        """Samples a second that all ranks take.

        >>> Step(seconds=0.4, ranks=8, batch_size=8).needed
        160.0
        """
        return self.ranks * self.batch_size / self.seconds

    def outlook(self, limits: Mapping[str, float]) -> Outlook:
        """Return what becomes of it where each of some things gives so many samples a second; the lowest decides.

        A batch that takes as long to read as the step, or shorter, is there when it is needed; of a longer one the rest is
        waited for in every step.
        """
        limit = min(limits, key=lambda name: limits[name])
        return Outlook(limits[limit], limit, max(0.0, 1 - limits[limit] / self.needed))


@dataclass(frozen=True, slots=True)
class Measured:
    """One part of the path."""

    what: str
    rates: tuple[float, ...]
    """Samples a second, of each run."""
    samples: float
    """Over how many, all runs together; read again and again where a run takes longer than reading them once."""
    bytes_per_sample: float
    """That this part moves."""

    @property
    def median(self) -> float:
        """Samples a second."""
        return statistics.median(self.rates)

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "what": self.what,
            "samples_per_second": self.median,
            "lowest": min(self.rates),
            "highest": max(self.rates),
            "bytes_per_second": self.median * self.bytes_per_sample,
            "bytes_per_sample": self.bytes_per_sample,
            "samples": round(self.samples),
            "runs": len(self.rates),
        }


@dataclass(frozen=True, slots=True)
class Rates:
    """All parts of the path, and what is known of the store and the machine."""

    store: str
    options: BenchOptions
    samples: int
    bytes: int
    row_bytes_per_sample: float
    """Stored bytes that a sample is read from."""
    batch_bytes_per_sample: float
    cores: int
    free_bytes: int
    """Memory that is free, or given back when it is needed."""
    stays_in_memory: bool
    """Whether the store is found in memory after its first epoch."""
    parts_read: int
    """Of which rows were read as plain bytes."""
    disk_not_measured: str
    """Why nothing was read from the disk; "" where it was."""
    network: Measured | None
    disk: Measured | None
    memory: Measured
    one_core: Measured
    batches: Measured

    @property
    def measured(self) -> list[Measured]:
        """All that was measured, in the order of the path."""
        found = [self.network, self.disk, self.memory, self.one_core]
        return [*(one for one in found if one), *([self.batches] if self.options.workers else [])]

    @property
    def per_core(self) -> float:
        """Samples a second that one worker fills; of those that are measured, no more fill at once than there are cores."""
        return self.batches.median / min(max(self.options.workers, 1), self.cores)

    def workers_for(self, needed: float) -> int | None:
        """Return how many workers of each rank fill so many samples a second together; None where there are too few cores."""
        if needed > self.per_core * self.cores:
            return None
        return math.ceil(needed / self.per_core / self.options.ranks)

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """Samples a second that each resource gives to all ranks together, for the epochs that differ in them.

        Where the store stays in memory, the disk gives each row once, in the first epoch, however many samples have it.
        """
        fillers = min(self.options.ranks * max(self.options.workers, 1), self.cores)
        # Batches went through memory as well: it gives no less than they had of it.
        memory = max(self.memory.median, self.batches.median)
        later = {"processor": self.per_core * fillers, "memory": memory}
        first = dict(later)
        if self.disk:
            of_a_sample = self.bytes / self.samples if self.stays_in_memory else self.row_bytes_per_sample
            first["disk"] = self.disk.median * self.row_bytes_per_sample / of_a_sample
        if self.network:
            first["network"] = self.network.median
        if first == later:
            # The disk could not be measured.
            return {"later" if self.stays_in_memory else "unknown": later}
        return {"first": first, "later": later} if self.stays_in_memory else {"each": first}

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        facts = asdict(self)
        for name in ("network", "disk", "memory", "one_core", "batches"):
            del facts[name]
        return facts | {"measured": [one.facts() for one in self.measured], "limits": self.limits}
