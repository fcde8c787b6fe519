"""How fast batches are filled of what is in memory, by `BatchLoader` as a trainer uses it."""

import time
from collections.abc import Iterator
from itertools import islice

from ...loader import BatchLoader
from .rates import RUNS

MOST_BATCHES = 64
"""Batches that are filled again and again."""


def fill_rates(loader: BatchLoader, workers: int, seconds: float) -> tuple[tuple[float, ...], float]:
    """Fill the same batches again and again; return samples a second of each run, and how many samples that was together.

    Args:
        loader: a new one; it is closed.
        workers: how many it has.
        seconds: of all runs; as long is taken before, to read the batches for the first time.
    """
    try:
        count = _warm_up(loader, seconds, at_least=8 * max(workers, 1))
        batches = _steady(loader, count, ahead=2 * workers)
        rates, total = [], 0
        for _ in range(RUNS):
            samples, spent = 0, 0.0
            while spent < seconds / RUNS:
                size, took = next(batches)
                samples += size
                spent += took
            rates.append(samples / spent)
            total += samples
        return tuple(rates), float(total)
    finally:
        loader.close()


def _warm_up(loader: BatchLoader, seconds: float, at_least: int) -> int:
    """Read batches of an epoch for the first time, until the time is over; return how many."""
    started = time.perf_counter()
    count = 0
    for _ in islice(loader, max(MOST_BATCHES, at_least)):
        count += 1
        if count >= at_least and time.perf_counter() - started > seconds:
            break
    return count


def _steady(loader: BatchLoader, count: int, ahead: int) -> Iterator[tuple[int, float]]:
    """Yield samples of a batch and the seconds it took, again and again of the first batches of an epoch, or of whole epochs.

    Where an epoch is broken off, the first batches of the next time through it are not counted: the workers begin anew.
    """
    is_whole = count == len(loader)
    while True:
        last = time.perf_counter()
        for number, batch in enumerate(islice(loader, count)):
            size = len(batch["key"])
            # Its memory is filled again while the next one is waited for.
            del batch
            now = time.perf_counter()
            if is_whole or number >= ahead:
                yield size, now - last
            last = now
