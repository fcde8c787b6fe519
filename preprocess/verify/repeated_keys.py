"""Keys of images that stand in more than one part, told by their hashes: of millions of images no text is kept."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def hash_of(key: str) -> int:
    """Return 64 bits that are the same in every process, unlike `hash`."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def find_repeated(parts: Sequence[NDArray[np.uint64]]) -> Iterator[tuple[int, int]]:
    """Yield part and row of each image whose key an earlier part has; repetitions within a part are none.

    All parts are sorted at once: to look for each in those before it takes the square of their number.

    Args:
        parts: uint64 [I] of each, the hashes of its images' keys.
    """
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    ordered = np.sort(keys)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    # Hardly any, so what needs an index for each is asked of these alone.
    rows = np.flatnonzero(np.isin(keys, repeated))
    begins = np.cumsum([0, *map(len, parts)])
    part_of = np.searchsorted(begins, rows, "right") - 1
    _, first, places = np.unique(keys[rows], return_index=True, return_inverse=True)
    is_later = part_of > part_of[first][places]
    for part, row in zip(part_of[is_later].tolist(), rows[is_later].tolist(), strict=True):
        yield part, row - int(begins[part])
