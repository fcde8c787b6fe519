"""`loader.format.mask_sequences`, compiled by numba; and a way to find what differs from the row above that reads words.

numba does not notice a change of `loader.format.zstd_tables`: then its cache in `__pycache__` has to go.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import mask_sequences

WORDS = 8
"""Words of eight pixels that are compared at once."""

find_sequences: Any = njit(cache=True, nogil=True)(mask_sequences.find_sequences)
write_frame: Any = njit(cache=True, nogil=True)(mask_sequences.write_frame)


@njit(cache=True, nogil=True)
def find_changes(words: NDArray[np.uint64], width: int, changes: NDArray[np.int64]) -> int:
    """Write which pixels differ from those above, and all of the first row; return how many there are.

    Args:
        words: uint64 [N / 8], pixels by rows.
        width: pixels of a row, a multiple of 64.
        changes: int64 [M], to be filled. Once there are M - 64, the rest is not looked at.
    """
    found = width
    for x in range(width):
        changes[x] = x
    above = np.uint64(width // 8)
    for start in range(above, np.uint64(words.size), np.uint64(WORDS)):
        differing = np.uint64(0)
        for k in range(np.uint64(WORDS)):
            differing |= words[start + k] ^ words[start + k - above]
        if differing == 0:
            continue
        if found + 8 * WORDS > changes.size:
            return found
        for k in range(np.uint64(WORDS)):
            word = words[start + k] ^ words[start + k - above]
            for byte in range(np.uint64(8)):
                changes[found] = np.int64(np.uint64(8) * (start + k) + byte)
                found += 1 if word >> (np.uint64(8) * byte) & np.uint64(255) else 0
    return found
