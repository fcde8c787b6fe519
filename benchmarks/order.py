"""What a shuffle window costs in randomness and saves in reading, and what computing an order costs in time.

    python benchmarks/order.py

The tables of docs/order.md. Counts, not times, but for the last table; they are the same on every machine.
"""

import timeit
from functools import partial

import numpy as np
from measure import print_head, print_row
from numpy.typing import NDArray

from resizeonce.loader.order.shuffle import Shuffle, permute

IMAGES_PER_PART = 500
IMAGE_MB = (3 * 448 * 448 + 3 * 1024 * 1024) / 1e6
RUN, RUNS, BATCH = 1000, 200, 8
SHUFFLES = (
    Shuffle(),
    Shuffle(1_048_576, 64),
    Shuffle(131_072, 64),
    Shuffle(16_384, 64),
    Shuffle(16_384, 512),
    Shuffle(2048, 64),
)
STORES = {"one mask an image": (11_000_000, 1), "100 masks an image, every mask": (1_100_000_000, 100)}
QUALITIES = ("correlation", "spread", "same image", "parts", "images", "MB", "MB a window's cache")


def quality(shuffle: Shuffle, size: int, masks: int) -> list[str]:
    """Return the columns of a row, from runs of positions that begin anywhere in the epoch."""
    starts = np.random.default_rng(0).integers(0, size - RUN, RUNS)
    places = np.array([shuffle.place(np.arange(start, start + RUN), size, 3) for start in starts])
    images = places // masks
    correlation = np.corrcoef(places[:, :-1].ravel(), places[:, 1:].ravel())[0, 1]
    # The mean of 1000 places strays by this much if they are drawn freely from 0..size - 1.
    spread = np.sqrt(((places.mean(axis=1) - size / 2) ** 2).mean()) / (size / np.sqrt(12 * RUN))
    batches = np.sort(images[:, : RUN // BATCH * BATCH].reshape(-1, BATCH), axis=1)
    same = (np.diff(batches, axis=1) == 0).any(axis=1).mean()
    parts, distinct = count_distinct(images // IMAGES_PER_PART), count_distinct(images)
    window = shuffle.window or size
    kept = min(window // shuffle.block * (1 + shuffle.block / masks), window, size / masks)
    return [
        *(f"{correlation:.3f}", f"{spread:.1f}", f"{same:.1%}", f"{parts:.0f}", f"{distinct:.0f}"),
        *(f"{images * IMAGE_MB:,.0f}" for images in (distinct, kept)),
    ]


def count_distinct(runs: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.unique(run)) for run in runs]))


if __name__ == "__main__":
    for name, (size, masks) in STORES.items():
        print(f"\n{name}\n")
        print_head("window", "block", *QUALITIES)
        for shuffle in SHUFFLES:
            block = shuffle.block if shuffle.window else ""
            print_row(shuffle.window or "none", block, *quality(shuffle, size, masks))
    print("\nMicroseconds\n")
    print_head("positions", "no window", "window")
    for count in (8, 1000, 1_000_000):
        positions = np.arange(count)
        ways = (partial(permute, positions, size, 5), partial(SHUFFLES[2].place, positions, size, 5))
        print_row(count, *(f"{min(timeit.repeat(way, number=1, repeat=7)) * 1e6:,.0f}" for way in ways))
