"""One bit for each row of each part, with rank and select inside a part. numpy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class PartBits:
    """Rows of parts that are set, one bit each: 137 MB for 1.1 billion. A part begins at a whole byte.

    Made of how many rows each part has, and perhaps of `words` of the same rows that were saved before.

    Raises:
        ValueError: `words` don't fit `counts`.
    """

    def __init__(
        self, counts: Sequence[int] | NDArray[np.int64], words: NDArray[np.uint8] | None = None
    ) -> None:
        sizes = -(-np.asarray(counts, np.int64) // 8)
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.words = np.zeros(int(self._starts[-1]), np.uint8) if words is None else words
        """uint8, eight rows in each, the first the highest bit."""
        if self.words.dtype != np.uint8 or self.words.shape != (self._starts[-1],):
            raise ValueError(f"{self._starts[-1]} bytes of bits expected, found {self.words.shape}")
        # In the last byte of a part there may be bits of no row.
        filled = np.flatnonzero(sizes)
        ends = self._starts[1:][filled] - 1
        slack = (8 - np.asarray(counts, np.int64)[filled] % 8) % 8
        if (self.words[ends] & ((1 << slack) - 1)).any():
            raise ValueError("bits of rows that no part has")

    def count(self) -> NDArray[np.int64]:
        """Return how many rows of each part are set: int64 [P]."""
        sums = np.concatenate([[0], np.cumsum(np.bitwise_count(self.words), dtype=np.int64)])
        counts: NDArray[np.int64] = np.diff(sums[self._starts])
        return counts

    def fill(self, part: int, rows: NDArray[np.bool_]) -> int:
        """Set the bits of a part; return how many are set."""
        self._part(part)[:] = np.packbits(rows)
        return int(np.count_nonzero(rows))

    def rows(self, part: int) -> NDArray[np.int64]:
        """Return the set rows of a part, ascending."""
        return np.flatnonzero(np.unpackbits(self._part(part)))

    def select(self, part: int, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of a part whose set bits have these ranks, counted from 0."""
        words = self._part(part)
        counts = np.bitwise_count(words)
        ends = np.cumsum(counts, dtype=np.int64)
        places = np.searchsorted(ends, ranks, side="right")
        inside = ranks - (ends[places] - counts[places])
        bits = np.unpackbits(words[places]).reshape(-1, 8)
        rows: NDArray[np.int64] = np.argmax(np.cumsum(bits, axis=1) == inside[:, None] + 1, axis=1)
        return places * 8 + rows

    def rank(self, part: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many rows of a part are set before each of these; a row may be the part's length."""
        words = np.append(self._part(part), np.uint8(0))
        starts = np.cumsum(np.bitwise_count(words), dtype=np.int64) - np.bitwise_count(words)
        places, bits = np.divmod(rows, 8)
        before: NDArray[np.int64] = starts[places]
        before += np.bitwise_count(words[places].astype(np.int64) >> (8 - bits))
        return before

    def _part(self, part: int) -> NDArray[np.uint8]:
        return self.words[self._starts[part] : self._starts[part + 1]]
