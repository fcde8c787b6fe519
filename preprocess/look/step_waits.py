"""Whether a training step waits for its samples: arithmetic on rates that were measured elsewhere."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class Fillers:
    """Who fills batches: the workers of all ranks on the cores of this machine."""

    per_core: float
    """Samples a second that one of them fills."""
    cores: int
    ranks: int
    workers: int
    """Of each rank; 0 where the trainers' own threads do it."""

    @property
    def rate(self) -> float:
        """Samples a second that all fill: no more of them at once than there are cores.

        >>> Fillers(per_core=1000, cores=4, ranks=8, workers=2).rate
        4000
        """
        return self.per_core * min(self.ranks * max(self.workers, 1), self.cores)

    def workers_for(self, needed: float) -> int | None:
        """Return how many workers each rank needs; None where there are too few cores for that.

        >>> Fillers(per_core=1000, cores=16, ranks=8, workers=0).workers_for(9_000)
        2
        """
        if needed > self.per_core * self.cores:
            return None
        return math.ceil(needed / self.per_core / self.ranks)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a step gets."""

    available: float
    """Samples a second: those of whatever limits."""
    limit: str
    """The name of that."""
    waits: float
    """The share of the time, 0 to 1, in which the ranks wait for samples."""


def outlook(step: Step, limits: Mapping[str, float]) -> Outlook:
    """Return what becomes of a step where each of some things gives so many samples a second; the lowest decides.

    A batch that takes as long to read as the step, or shorter, is there when it is needed; of a longer one the rest is waited
    for in every step.
    """
    limit = min(limits, key=lambda name: limits[name])
    available = limits[limit]
    return Outlook(available, limit, max(0.0, 1 - available / step.needed))
