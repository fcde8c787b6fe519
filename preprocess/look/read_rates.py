"""How fast this machine reads a store, for each part of the path from the disk to a batch.

Everything is measured on one sample of the store, several times, and each figure says over how much.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from math import prod

import numpy as np

from ...loader import (
    BatchLoader,
    BatchOptions,
    CacheOptions,
    Order,
    OrderOptions,
    SampleIndex,
    Shuffle,
    Store,
)
from ...loader.format.errors import StoreError
from ...loader.readahead.free_memory import available_bytes, stay_in_memory
from ...loader.remote.protocol import shown
from ..errors import ConfigError
from .rates import RUNS, BenchOptions, Measured, Rates
from .row_reads import Row, RowReader, drop_from_memory, rows_of, take_from_files, take_from_memory

PARTS = 4
"""Parts whose rows are read as plain bytes."""

MOST_BYTES = 1 << 30
"""Of such rows: many times a processor's caches, and a second or two of most disks."""

STRETCH = 32
"""Rows that are read before it is asked whether there is time for more."""

STILL_THERE = 0.05
"""Share of pages that may stay in memory where reading counts as reading from the disk."""

DISK_THREADS = 2
"""Of each process that fills batches, as the loader has them."""


MOST_BATCHES = 64
"""That are filled again and again."""


def measure(path: str, options: BenchOptions, say: Callable[[str], object]) -> Rates:
    """Measure how fast a store is read.

    Args:
        path: the store, or its URL: then its first parts are fetched into a folder that is removed again.
        options: how to read.
        say: is told what begins.

    Raises:
        StoreError: the store is missing or damaged, can't be fetched, or the system refuses what reading it takes.
        ConfigError: it has no sample, or the batches don't fit into memory.
    """
    with _telling_refusals(path), ExitStack() as stack:
        store, network = _open(path, options, say, stack)
        _check_memory(store, options)
        number = min(options.ranks * max(options.workers, 1), _cores())
        rows, row_bytes, parts = _choose_rows(store, options.seed)
        # What this process has mapped can't be dropped.
        store.close_parts()
        files, largest = dict.fromkeys(row.path for row in rows), max(row.size for row in rows)
        say("rows from the disk")
        stayed = drop_from_memory(files)
        from_disk = RowReader(take_from_files(files, stack), largest, DISK_THREADS * number)
        cold = _read_once(from_disk, rows, row_bytes, options.seconds) if stayed <= STILL_THERE else None
        say("rows from memory")
        from_memory = RowReader(take_from_memory(files, huge_pages=store.stays_in_memory), largest, number)
        present = _read_before(from_memory, rows, options.seconds)
        warm = _repeat(partial(from_memory.read, present), options.seconds, row_bytes)
        del from_disk, from_memory
        batch_bytes = _batch_bytes(store, 1)
        say("batches, filled by one core")
        alone = together = _fill_rates(_loader(store, options, 0), 0, options.seconds)
        if options.workers:
            say(f"batches, filled by {options.who}")
            loader = _loader(store, options, options.workers)
            together = _fill_rates(loader, options.workers, options.seconds)
    return Rates(
        store=store.name,
        options=options,
        num_samples=len(store),
        num_bytes=store.num_bytes,
        row_bytes=row_bytes,
        batch_bytes=batch_bytes,
        cores=_cores(),
        free_bytes=available_bytes(),
        stays_in_memory=stay_in_memory(store.num_bytes),
        parts=parts,
        network=network,
        disk=cold and Measured(f"disk, {_threads(DISK_THREADS * number)}", *cold, row_bytes),
        why_no_disk="" if cold else f"{stayed:.0%} of the files stay in memory (tmpfs? in use?)",
        memory=Measured(f"memory, {_threads(number)}", *warm, row_bytes),
        one_core=Measured("batches, by one core", *alone, batch_bytes),
        batches=Measured(f"batches, by {options.who}", *together, batch_bytes),
    )


@contextmanager
def _telling_refusals(path: str) -> Iterator[None]:
    """Turn what the system refuses, and what a `BatchLoader` raises where it has no worker, into a `StoreError`."""
    try:
        yield
    except (OSError, RuntimeError) as err:
        raise StoreError(f"{shown(path)} can't be measured: {err}") from err


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(
    path: str, options: BenchOptions, say: Callable[[str], object], stack: ExitStack
) -> tuple[Store, Measured | None]:
    """Open a store; of one at a URL, time how its first parts are fetched."""
    if "://" not in path:
        store = Store(path)
        _check_samples(store)
        return store, None
    folder = CacheOptions().path().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="resizeonce-bench-", dir=folder))
    except OSError as err:
        raise ConfigError(
            f"parts can't be kept in {folder} while they are read ({err.strerror}): set XDG_CACHE_HOME to a folder with room"
        ) from err
    store = Store(path, cache=CacheOptions(folder=cache))
    _check_samples(store)
    rates, samples, fetched, started = [], 0, 0, time.perf_counter()
    for number, part in enumerate(store.attributes["parts"]):
        say(f"fetching {part['name']}, {part['bytes'] / 1e6:,.0f} MB, into {folder}")
        begun = time.perf_counter()
        store.part(number)
        if part["rows"]["samples"]:
            rates.append(part["rows"]["samples"] / (time.perf_counter() - begun))
        samples += part["rows"]["samples"]
        fetched += part["bytes"]
        if samples and (len(rates) == RUNS or time.perf_counter() - started > options.seconds):
            break
    return store, Measured("network, whole parts", tuple(rates), samples, fetched / samples)


def _check_samples(store: Store) -> None:
    if not len(store):
        raise ConfigError(f"{store.name} has no sample that could be read")


def _check_memory(store: Store, options: BenchOptions) -> None:
    needed = _batch_bytes(store, options.batch_size) * (2 * max(options.workers, 1) + 3)
    if needed > available_bytes() > 0:
        raise ConfigError(
            f"batches of {options.batch_size} for {options.workers} workers take {needed / 1e9:.1f} GB of memory, and "
            f"{available_bytes() / 1e9:.1f} GB are free: use a smaller batch size or fewer workers"
        )


def _batch_bytes(store: Store, batch_size: int) -> int:
    """Return how many bytes of a batch have a size that is known before: all but masks at their own."""
    layout = store.array_layout(batch_size, tuple(store.recipe.views))
    return sum(prod(shape) * np.dtype(dtype).itemsize for shape, dtype in layout.values())


def _loader(store: Store, options: BenchOptions, workers: int) -> BatchLoader:
    """Return a trainer's loader, in a trainer's order; of a store at a URL in one that stays in the first parts."""
    shuffle = Shuffle() if store.is_local else None
    order = Order([SampleIndex(store)], OrderOptions(seed=options.seed, shuffle=shuffle))
    batch_options = BatchOptions(tail="wrap", mode=options.mode)
    return BatchLoader(order, options.batch_size, workers, options=batch_options)


def _choose_rows(store: Store, seed: int) -> tuple[list[Row], float, int]:
    """Return rows of some samples of some parts, each once, shuffled; bytes that a sample is read from; how many parts."""
    chance = random.Random(seed)
    filled = [number for number in range(len(store.attributes["parts"])) if store.numbers_in(number)]
    # Of a store at a URL the first ones are here.
    parts = filled[:1] if not store.is_local else chance.sample(filled, min(PARTS, len(filled)))
    found: dict[Row, None] = {}
    num_bytes, samples = 0, 0
    for number in parts:
        numbers = store.numbers_in(number)
        of_part = 0
        for sample in chance.sample(numbers, min(len(numbers), 4096)):
            rows = list(rows_of(store, sample))
            found.update(dict.fromkeys(rows))
            of_part += sum(row.size for row in rows)
            samples += 1
            if of_part > min(MOST_BYTES, available_bytes() // 4 or MOST_BYTES) / len(parts):
                break
        num_bytes += of_part
    shuffled = list(found)
    chance.shuffle(shuffled)
    return shuffled, num_bytes / samples, len(parts)


def _read_before(reader: RowReader, rows: Sequence[Row], seconds: float) -> Sequence[Row]:
    """Read rows so that they are in memory, until the time is over; return which are."""
    started = time.perf_counter()
    for start in range(0, len(rows), STRETCH):
        reader.read(rows[start : start + STRETCH], seconds)
        if time.perf_counter() - started > seconds:
            return rows[: start + STRETCH]
    return rows


def _read_once(
    reader: RowReader, rows: Sequence[Row], row_bytes: float, seconds: float
) -> tuple[tuple[float, ...], float]:
    """Read rows in a few runs, none twice; return samples a second of each, and how many samples that was."""
    runs = [reader.read(rows[start::RUNS], seconds / RUNS) for start in range(min(RUNS, len(rows)))]
    rates = tuple(run.num_bytes / run.seconds / row_bytes for run in runs)
    return rates, sum(run.num_bytes for run in runs) / row_bytes


def _repeat(
    take: Callable[[float], tuple[float, float]], seconds: float, of_a_sample: float = 1
) -> tuple[tuple[float, ...], float]:
    """Take something again and again, in a few runs; return samples a second of each, and how many samples that was together.

    Args:
        take: is told how long a run still has; returns how much it took, and in how many seconds.
        seconds: of all runs.
        of_a_sample: how much of it a sample is.
    """
    rates, total = [], 0.0
    for _ in range(RUNS):
        amount, spent = 0.0, 0.0
        while spent < seconds / RUNS:
            more, took = take(seconds / RUNS - spent)
            amount += more
            spent += took
        rates.append(amount / spent / of_a_sample)
        total += amount / of_a_sample
    return tuple(rates), total


def _fill_rates(loader: BatchLoader, workers: int, seconds: float) -> tuple[tuple[float, ...], float]:
    """Fill the same batches again and again by a new loader, which is closed; as long is taken before, to read them at first."""
    try:
        count = _warm_up(loader, seconds, at_least=8 * max(workers, 1))
        batches = _steady(loader, count, ahead=2 * workers)
        return _repeat(lambda _: next(batches), seconds)
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
