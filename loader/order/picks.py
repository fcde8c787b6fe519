"""Which samples a batch is of. A module of its own: processes that fill batches load no more of an order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .shuffle import hash_words

SHUFFLE, IMAGE, EXPRESSION, DRAW, SEED = 1, 2, 3, 4, 5
"""What a hash is for, so that equal numbers give unrelated draws."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Which samples stand at some positions: four int64 [N]."""

    store: NDArray[np.int64]
    """Number of the store in the mixture."""
    sample: NDArray[np.int64]
    """Number of the sample in its store; where samples are drawn, that of the unit it is drawn from."""
    lap: NDArray[np.int64]
    """How often its store had been gone through before; without weights that is the epoch."""
    seed: NDArray[np.int64]
    """The sample's own number, 0..2 ** 63 - 1: of the order's seed, the epoch, the lane and the position."""

    def __len__(self) -> int:
        return len(self.store)

    def __reduce__(self) -> tuple[Any, ...]:
        # A batch's are few: as lists they are sent to a worker and read there in a third of the time of arrays.
        return _of_lists, (self.store.tolist(), self.sample.tolist(), self.lap.tolist(), self.seed.tolist())

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "what an order picks is read as one batch, not by sample numbers: give the DataLoader an OrderDataset(order) in the "
            "place of a SampleDataset"
        )

    @classmethod
    def join(cls, picks: Sequence["Picks"]) -> "Picks":
        """Return some picks as one."""
        return cls(*(np.concatenate([getattr(one, name) for one in picks]) for name in cls.__slots__))


def _of_lists(*columns: list[int]) -> Picks:
    return Picks(*(np.array(column, np.int64) for column in columns))


def draw_expression(seed: int, lap: int, sample: int, count: int) -> int:
    """Return which of `count` phrases of a sample to take in a lap: 0..count - 1.

    Raises:
        ValueError: there is none.
    """
    if count < 1:
        raise ValueError(f"sample {sample} has no expressions to draw from")
    return hash_words(EXPRESSION, seed, lap, sample) * count >> 64
