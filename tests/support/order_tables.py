"""The tables of docs/order.md and docs/remote.md: what a shuffle window costs in randomness and saves in reading and fetching.

    python tests/support/order_tables.py

Counts are the same on every machine; the last table has times.
"""

import timeit
from collections import OrderedDict
from functools import partial

import numpy as np
from numpy.typing import NDArray

from resizeonce.loader.order.shuffle import Shuffle, permute

IMAGES_PER_PART = 500
IMAGE_MB = (3 * 448 * 448 + 3 * 1024 * 1024) / 1e6
RUN, RUNS, BATCH = 1000, 200, 8
WINDOWS = ((None, 1), (1_048_576, 64), (131_072, 64), (16_384, 64), (16_384, 512), (2048, 64))
STORES = {"one mask an image": (11_000_000, 1), "100 masks an image, every mask": (1_100_000_000, 100)}
QUALITIES = ("correlation", "spread", "same image", "parts", "images", "MB", "MB a window's cache")

FETCHED_PARTS, SAMPLES_OF_A_PART = 1000, 256
CACHES = (10, 100, 500)
FETCHED_WINDOWS = ((None, 1), (16_384, 64), (10_240, 256), (10_240, 1024), (51_200, 1024))


def print_head(*cells: object) -> None:
    print()
    print_row(*cells)
    print("|" + "---|" * len(cells))


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def shuffle_of(window: int | None, block: int) -> Shuffle:
    return Shuffle(window, block) if window else Shuffle()


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


def fetches_of_a_part(shuffle: Shuffle, cache_parts: int) -> float:
    """Return how often a part is fetched in the second of two epochs, on average, where what was used least recently goes."""
    size = FETCHED_PARTS * SAMPLES_OF_A_PART
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
    return fetches / FETCHED_PARTS


def main() -> None:
    for name, (size, masks) in STORES.items():
        print(f"\n{name}")
        print_head("window", "block", *QUALITIES)
        for window, block in WINDOWS:
            cells = quality(shuffle_of(window, block), size, masks)
            print_row(window or "none", block if window else "", *cells)
    print_head("window", "block", *(f"fetches of a part, cache of {size} parts" for size in CACHES))
    for window, block in FETCHED_WINDOWS:
        counts = (f"{fetches_of_a_part(shuffle_of(window, block), size):.1f}" for size in CACHES)
        print_row(window or "none", block if window else "", *counts)
    print_head("positions, microseconds", "no window", "window")
    size = STORES["100 masks an image, every mask"][0]
    for count in (8, 1000, 1_000_000):
        positions = np.arange(count)
        ways = (
            partial(permute, positions, size, 5),
            partial(shuffle_of(*WINDOWS[2]).place, positions, size, 5),
        )
        print_row(count, *(f"{min(timeit.repeat(way, number=1, repeat=7)) * 1e6:,.0f}" for way in ways))


if __name__ == "__main__":
    main()
