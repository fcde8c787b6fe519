"""How values are spread, counted in ranges that are fixed beforehand: memory is the same for ten images and ten million."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

ONE_TWO_FIVE = tuple(float(step * 10**power) for power in range(10) for step in (1, 2, 5))
"""Round numbers, each about twice the one before."""


class Distribution(msgspec.Struct):
    """How many values are in which range."""

    edges: list[float]
    """Where the ranges begin; each reaches up to the next edge, which is not part of it. Of whole numbers the last range ends
    with the largest one."""
    counts: list[int]
    """Values in each range; the outer ones have some at least, where there are values at all."""
    is_whole: bool
    """Whether values are whole numbers."""
    total: int
    """How many values there are."""
    smallest: float | None
    """None where there is no value, as are the next two."""
    mean: float | None
    largest: float | None

    @property
    def middle(self) -> int:
        """The range that the middle one of all values is in, 0 where there is none."""
        return int(np.searchsorted(np.cumsum(self.counts), (self.total + 1) // 2))


class RangeCounter:
    """Counts values as they come.

    Args:
        edges: where ranges begin and the last one ends, ascending; what lies outside is counted in the first or last one.
        is_whole: whether values are whole numbers.
    """

    def __init__(self, edges: Sequence[float], *, is_whole: bool = True) -> None:
        self._edges = np.array(edges, np.float64)
        self._counts = np.zeros(len(edges) - 1, np.int64)
        self._is_whole = is_whole
        self._sum = 0.0
        self._smallest, self._largest = math.inf, -math.inf

    def add(self, values: NDArray[np.generic]) -> None:
        """Count values, numbers [N] of any dtype."""
        if not len(values):
            return
        self._counts += np.histogram(np.clip(values, self._edges[0], self._edges[-1]), self._edges)[0]
        self._sum += float(np.sum(values, dtype=np.float64))
        self._smallest = min(self._smallest, float(np.min(values)))
        self._largest = max(self._largest, float(np.max(values)))

    def distribution(self) -> Distribution:
        """Return what was counted, without the empty ranges at both ends."""
        total, filled = int(self._counts.sum()), np.flatnonzero(self._counts)
        first, last = (int(filled[0]), int(filled[-1])) if total else (0, 0)
        edges: list[float] = self._edges[first : last + 2].tolist()
        if total and self._is_whole:
            edges[-1] = self._largest + 1
        return Distribution(
            edges,
            self._counts[first : last + 1].tolist(),
            self._is_whole,
            total,
            self._smallest if total else None,
            self._sum / total if total else None,
            self._largest if total else None,
        )
