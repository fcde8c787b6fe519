"""How often each part of a store at a URL is fetched in an epoch, by the shuffle and the size of the cache.

    python benchmarks/fetching.py

The table of docs/remote.md. Counts of a cache that removes what was used least recently; the same on every machine.
"""

from collections import OrderedDict

import numpy as np
from measure import print_head, print_row

from resizeonce.loader.order.shuffle import Shuffle

PARTS, SAMPLES_OF_A_PART = 1000, 256
CACHES = (10, 100, 500)
SHUFFLES = (
    Shuffle(),
    Shuffle(256 * 64, 64),
    Shuffle(256 * 40, 256),
    Shuffle(256 * 40, 1024),
    Shuffle(256 * 200, 1024),
)


def fetches_of_a_part(shuffle: Shuffle, cache_parts: int) -> float:
    """Return how often a part is fetched in the second of two epochs, on average."""
    size = PARTS * SAMPLES_OF_A_PART
    cache: OrderedDict[int, None] = OrderedDict()
    fetches = 0
    for epoch in range(2):
        fetches = 0
        parts = shuffle.place(np.arange(size), size, epoch) // SAMPLES_OF_A_PART
        for part in parts.tolist():
            if part in cache:
                cache.move_to_end(part)
                continue
            fetches += 1
            cache[part] = None
            if len(cache) > cache_parts:
                cache.popitem(last=False)
    return fetches / PARTS


if __name__ == "__main__":
    print_head("window", "block", *(f"cache of {size} parts" for size in CACHES))
    for shuffle in SHUFFLES:
        counts = [f"{fetches_of_a_part(shuffle, size):.1f}" for size in CACHES]
        print_row(shuffle.window or "none", shuffle.block if shuffle.window else "", *counts)
