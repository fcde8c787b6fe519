"""What is known of the path from the disk to a batch once it was measured, and which part of it limits."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .step_waits import Fillers

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
    num_samples: int
    num_bytes: int
    row_bytes: float
    """Stored bytes that a sample is read from."""
    batch_bytes: float
    """Bytes of a sample in a batch."""
    cores: int
    free_bytes: int
    """Memory that is free, or given back when it is needed."""
    stays_in_memory: bool
    """Whether the store is found in memory after its first epoch."""
    parts: int
    """Of which rows were read as plain bytes."""
    network: Measured | None
    disk: Measured | None
    why_no_disk: str
    """Why nothing was read from the disk; "" where it was."""
    memory: Measured
    one_core: Measured
    batches: Measured

    @property
    def measured(self) -> list[Measured]:
        """All that was measured, in the order of the path."""
        found = [self.network, self.disk, self.memory, self.one_core]
        return [*(one for one in found if one), *([self.batches] if self.options.workers else [])]

    @property
    def fillers(self) -> Fillers:
        """Who fills the batches of all ranks."""
        at_once = min(max(self.options.workers, 1), self.cores)
        return Fillers(self.batches.median / at_once, self.cores, self.options.ranks, self.options.workers)

    @property
    def limits(self) -> dict[str, dict[str, float]]:
        """Samples a second that each resource gives to all ranks together, for the epochs that differ in them.

        Where the store stays in memory, the disk gives each row once, in the first epoch, however many samples have it.
        """
        # Batches went through memory as well: it gives no less than they had of it.
        memory = max(self.memory.median, self.batches.median)
        later = {"processor": self.fillers.rate, "memory": memory}
        first = dict(later)
        if self.disk:
            of_a_sample = self.num_bytes / self.num_samples if self.stays_in_memory else self.row_bytes
            first["disk"] = self.disk.median * self.row_bytes / of_a_sample
        if self.network:
            first["network"] = self.network.median
        if first == later:
            # The disk could not be measured.
            return {"later" if self.stays_in_memory else "unknown": later}
        return {"first": first, "later": later} if self.stays_in_memory else {"each": first}

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "store": self.store,
            "options": asdict(self.options),
            "samples": self.num_samples,
            "bytes": self.num_bytes,
            "row_bytes_per_sample": self.row_bytes,
            "batch_bytes_per_sample": self.batch_bytes,
            "cores": self.cores,
            "free_bytes": self.free_bytes,
            "stays_in_memory": self.stays_in_memory,
            "parts_read": self.parts,
            "measured": [one.facts() for one in self.measured],
            "disk_not_measured": self.why_no_disk,
            "limits": self.limits,
        }
