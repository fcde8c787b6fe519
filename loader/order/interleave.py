"""Several sequences as one, evenly spread, with any place of it found without walking there. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class Interleaving:
    """Sequences merged by time, from 0 to 1.

    The i-th item of a sequence comes at time (start + (i + 1/2) * step) / length; at equal times the sequence with
    the lower number is first. So each is spread over its own time evenly (Webster's rule of apportionment), and what
    comes next depends on no more than how far each has come. Times are float64: each division rounds the same way
    everywhere, and they rise strictly while lengths stay below 2 ** 50.
    """

    counts: tuple[int, ...]
    """Items of each sequence."""
    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    step: int

    @classmethod
    def of(cls, counts: Sequence[int]) -> "Interleaving":
        """Return sequences that each take the whole time."""
        return cls(tuple(counts), tuple(counts), (0,) * len(counts), 1)

    def __len__(self) -> int:
        return sum(self.counts)

    def time(self, sequence: int, item: int) -> float:
        """Return when an item comes."""
        ends = 2 * self.starts[sequence] + (2 * item + 1) * self.step
        return ends / (2 * self.lengths[sequence])

    def before(self, place: int) -> list[int]:
        """Return how many items of each sequence are among the first `place`, 0..len of all. O(log) of the lengths."""
        if len(self.counts) == 1:
            return [place]
        low, high = 0.0, 2.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if sum(self.earlier(middle)) <= place:
                low = middle
            else:
                high = middle
        counts = self.earlier(low)
        for _ in range(place - sum(counts)):
            left = [sequence for sequence, count in enumerate(counts) if count < self.counts[sequence]]
            counts[min(left, key=lambda sequence: self.time(sequence, counts[sequence]))] += 1
        return counts

    def earlier(self, time: float) -> list[int]:
        """Return how many items of each sequence come before a time."""
        return [self._earlier(sequence, time) for sequence in range(len(self.counts))]

    def items(self, first: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sequence and the item at places first..stop - 1: two int64 [stop - first]."""
        if len(self.counts) == 1:
            return np.zeros(stop - first, np.int64), np.arange(first, stop)
        spans = list(zip(self.before(first), self.before(stop), strict=True))
        items = np.concatenate([np.arange(*span) for span in spans])
        sequences = np.repeat(np.arange(len(spans)), [last - start for start, last in spans])
        ends = 2 * np.array(self.starts)[sequences] + (2 * items + 1) * self.step
        order = np.lexsort((sequences, ends / (2 * np.array(self.lengths)[sequences])))
        return sequences[order], items[order]

    def _earlier(self, sequence: int, time: float) -> int:
        number = self.counts[sequence]
        guess = (time * self.lengths[sequence] - self.starts[sequence]) / self.step + 0.5
        count = min(max(int(guess), 0), number)
        # The guess is rounded: it may be off by one.
        while count > 0 and self.time(sequence, count - 1) >= time:
            count -= 1
        while count < number and self.time(sequence, count) < time:
            count += 1
        return count
