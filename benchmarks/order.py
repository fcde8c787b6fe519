"""What a shuffle window costs in randomness and saves in reading, and what computing an order costs in time.

    python -m benchmarks.order

The tables of docs/order.md. Counts, not times, but for the last table; they are the same on every machine.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
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


def main() -> None:
    for name, (size, masks) in STORES.items():
        print(f"\n{name}\n")
        print_row(
            "window",
            "block",
            "correlation",
            "spread",
            "same image",
            "parts",
            "images",
            "MB",
            "MB a window's cache",
        )
        print_row(*["---"] * 9)
        for shuffle in SHUFFLES:
            print_row(
                shuffle.window or "none",
                shuffle.block if shuffle.window else "",
                *quality(shuffle, size, masks),
            )
    print("\nMicroseconds\n")
    print_row("positions", "no window", "window")
    print_row(*["---"] * 3)
    for count in (8, 1000, 1_000_000):
        positions = np.arange(count)
        free = best(partial(permute, positions, 1_100_000_000, 5))
        print_row(
            count,
            *(
                f"{t * 1e6:,.0f}"
                for t in (free, best(partial(SHUFFLES[2].place, positions, 1_100_000_000, 5)))
            ),
        )


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
    parts = distinct(images // IMAGES_PER_PART)
    window = shuffle.window or size
    kept = min(window // shuffle.block * (1 + shuffle.block / masks), window, size / masks) * IMAGE_MB
    return [
        f"{correlation:.3f}",
        f"{spread:.1f}",
        f"{same:.1%}",
        f"{parts:.0f}",
        f"{distinct(images):.0f}",
        f"{distinct(images) * IMAGE_MB:,.0f}",
        f"{kept:,.0f}",
    ]


def distinct(runs: NDArray[np.int64]) -> float:
    return float(np.mean([len(np.unique(run)) for run in runs]))


def best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
