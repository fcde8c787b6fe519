"""How fast this machine reads a store, for each part of the path from the disk to a batch.

Everything is measured on one sample of the store, several times, and each figure says over how much.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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

STILL_THERE = 0.05
"""Share of pages that may stay in memory where reading counts as reading from the disk."""

DISK_THREADS = 2
"""Of each process that fills batches, as the loader has them."""

MOST_BATCHES = 64
"""That are filled again and again."""


def measure(path: str, options: BenchOptions, say: Callable[[str], object]) -> Rates:
    """Measure how fast a store is read; of one at a URL, whose first parts are fetched into a folder that is removed again.

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
        stayed, cold, warm = _time_rows(store, rows, row_bytes, number, options.seconds, say)
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
        samples=len(store),
        bytes=store.num_bytes,
        row_bytes_per_sample=row_bytes,
        batch_bytes_per_sample=batch_bytes,
        cores=_cores(),
        free_bytes=available_bytes(),
        stays_in_memory=stay_in_memory(store.num_bytes),
        parts_read=parts,
        disk_not_measured="" if cold else f"{stayed:.0%} of the files stay in memory (tmpfs? in use?)",
        network=network,
        disk=cold and Measured(f"disk, {_threads(DISK_THREADS * number)}", *cold, row_bytes),
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
    folder, cache = CacheOptions().path().parent, None
    if "://" in path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            passing = tempfile.TemporaryDirectory(prefix="resizeonce-bench-", dir=folder)
        except OSError as err:
            raise ConfigError(
                f"parts can't be kept in {folder} while they are read ({err.strerror}): set XDG_CACHE_HOME to a folder with room"
            ) from err
        cache = CacheOptions(folder=stack.enter_context(passing))
    store = Store(path, cache=cache)
    if not len(store):
        raise ConfigError(f"{store.name} has no sample that could be read")
    if cache is None:
        return store, None
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


Timed = tuple[tuple[float, ...], float]
"""Samples a second of each run, and how many samples that was together."""


def _time_rows(
    store: Store,
    rows: Sequence[Row],
    row_bytes: float,
    threads: int,
    seconds: float,
    say: Callable[[str], object],
) -> tuple[float, Timed | None, Timed]:
    """Read rows from the disk, and then from memory.

    Returns:
        The share of their files that could not be dropped from memory; what the disk gave, None where that is too much; what
        memory gave.
    """
    files, largest = dict.fromkeys(row.path for row in rows), max(row.size for row in rows)
    say("rows from the disk")
    stayed, cold = drop_from_memory(files), None
    if stayed <= STILL_THERE:
        with ExitStack() as stack:
            reader = RowReader(take_from_files(files, stack), largest, DISK_THREADS * threads)
            cold = _read_once(reader, rows, row_bytes, seconds)
    say("rows from memory")
    reader = RowReader(take_from_memory(files, huge_pages=store.stays_in_memory), largest, threads)
    # They are in memory once they were read.
    present = rows[: reader.read(rows, seconds).num_rows]

    def read_again(left: float) -> tuple[float, float]:
        reads = reader.read(present, left)
        return reads.num_bytes, reads.seconds

    return stayed, cold, _repeat(read_again, seconds, row_bytes)


def _read_once(reader: RowReader, rows: Sequence[Row], row_bytes: float, seconds: float) -> Timed:
    """Read rows in a few runs, none twice."""
    runs = [reader.read(rows[start::RUNS], seconds / RUNS) for start in range(min(RUNS, len(rows)))]
    rates = tuple(run.num_bytes / run.seconds / row_bytes for run in runs)
    return rates, sum(run.num_bytes for run in runs) / row_bytes


def _repeat(take: Callable[[float], tuple[float, float]], seconds: float, of_a_sample: float = 1) -> Timed:
    """Take something again and again, in a few runs.

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


def _fill_rates(loader: BatchLoader, workers: int, seconds: float) -> Timed:
    """Fill the same batches again and again by a new loader, which is closed; as long is taken before, to read them at first."""
    at_least, count, started = 8 * max(workers, 1), 0, time.perf_counter()
    try:
        for _ in islice(loader, max(MOST_BATCHES, at_least)):
            count += 1
            if count >= at_least and time.perf_counter() - started > seconds:
                break
        batches = _steady(loader, count, ahead=2 * workers)
        return _repeat(lambda _: next(batches), seconds)
    finally:
        loader.close()


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
