"""COCO's compressed run lengths (cocodataset/cocoapi, common/maskApi.c, rleFrString), by a loop that numba compiles.

`preprocess.decode.segmentation` takes it where the fast engine has loaded it.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_GROUPS = 10
"""Most characters one compressed number may have (50 bits)."""


def decompress_counts(counts: str | bytes) -> NDArray[np.int64] | None:
    """Return the run lengths of a compressed counts string, or None if it is damaged.

    Args:
        counts: characters "0" to "o", 5 bits each, as COCO writes them.

    Returns:
        int64 [R], not summed or checked; None where `preprocess.decode.segmentation` raises an error that says why.
    """
    try:
        encoded = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        return None
    runs = np.empty(len(encoded), np.int64)
    found: int = _decompress(np.frombuffer(encoded, np.uint8), runs)
    return None if found < 0 else runs[:found].copy()


@njit(cache=True, nogil=True)
def _decompress(encoded: NDArray[np.uint8], runs: NDArray[np.int64]) -> int:
    """Fill `runs` (int64, as long as `encoded`) and return how many there are, or -1 if `encoded` is damaged."""
    found = groups = 0
    value = np.int64(0)
    for character in encoded:
        if character < 48 or character > 111 or groups == MAX_GROUPS:
            return -1
        bits = np.int64(character) - 48
        value |= (bits & 0x1F) << (5 * groups)
        groups += 1
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= np.int64(1) << (5 * groups)
        # From the fourth run on, the difference to the run two places earlier is written.
        runs[found] = value + runs[found - 2] if found > 2 else value
        found += 1
        groups, value = 0, np.int64(0)
    return found if groups == 0 else -1
