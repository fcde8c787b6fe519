"""Scenes to parts to a store: the run, over any `concurrent.futures.Executor`.

A part is a fixed run of scenes, whatever the number of workers, so the same input and config give the same bytes.
Parts that are there already are not touched: the same command run again finishes what a killed one left.
"""

import fcntl
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from preprocess.config import Config, load_config
from preprocess.engine import EngineName, default_engine, open_engine
from preprocess.errors import StoreError
from preprocess.forecast import Forecast, forecast, format_bytes
from preprocess.layout import part_name, read_attributes
from preprocess.manifest import (
    LOCK_FILE,
    describe_job,
    finish_store,
    prepare_store,
    read_part_summary,
)
from preprocess.pool import Pool, open_pool
from preprocess.recipe import Recipe
from preprocess.remote.path import open_root
from preprocess.sources import SOURCES
from preprocess.sources.base import Scene, Source
from preprocess.writer import PartSummary, PartWriter, RejectedError

FORECAST_SCENES = 4
"""How many scenes are read for the forecast before a conversion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a conversion; nothing here but `limit` changes what is written."""

    workers: int = 1
    """Processes; 1 converts in this one."""
    limit: int | None = None
    """How many samples to write at most, in the order of the dataset."""
    overwrite: bool = False
    """Whether a store that is there already is removed first."""
    on_error: Literal["record", "fail"] = "record"
    """Whether a bad record is listed and left out, or stops the run."""
    engine: EngineName | None = None
    """What does the work, to the same bytes; by default the fast one where it is installed."""
    progress: bool = False
    """Whether to show a progress bar on stderr."""
    force: bool = False
    """Whether to start although the disk seems too small."""
    announce: Callable[[Forecast], None] | None = None
    """Called with what the store will take, before anything is converted."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did."""

    store: Path
    attributes: dict[str, Any]
    """The store's root attributes; "totals" has the counts."""
    seconds: float
    engine: str
    """What did the work, and why not the fastest where that is so."""
    was_complete: bool
    """Whether the store was there already, made by the same command."""

    @property
    def num_rejects(self) -> int:
        """How many records could not be converted."""
        return sum(self.attributes["totals"]["rejects"].values())


@dataclass(frozen=True, slots=True)
class PartTask:
    """All that a process needs to write one part; small and picklable."""

    store: Path
    part: int
    first_scene: int
    scenes: tuple[Scene, ...]
    recipe: Recipe
    paired: bool
    max_samples: int | None
    stop_on_reject: bool
    engine: EngineName


def convert(
    config: Config | Path | str, root: Path | str, out: Path | str, run: RunOptions | None = None
) -> Report:
    """Convert a raw dataset into a store.

    Args:
        config: what to build, or the TOML file that says so.
        root: the raw dataset's folder, or the URL of one.
        out: the store's folder; made, resumed if it is unfinished, left alone if it is complete.
        run: how to run it.

    Raises:
        PreprocessError: the config, the dataset or the store can't be used; or the first reject, if that is asked for.
    """
    run = run or RunOptions()
    started = time.monotonic()
    out = Path(out)
    # Opened here first: its loops are compiled before there are workers, which then only load them.
    engine = open_engine(run.engine or default_engine()).description
    config = config if isinstance(config, Config) else load_config(Path(config))
    source = open_source(config, root)
    job = describe_job(config, source, run.limit)
    _stop_on_reject(source, run)
    with _locked(out):
        if run.overwrite or not (out / "zarr.json").exists():
            # Before anything is written: a refused command may be given again with other options.
            _check_disk(source, config, out, run)
        if prepare_store(out, job, overwrite=run.overwrite):
            return Report(out, read_attributes(out), time.monotonic() - started, engine, was_complete=True)
        tasks = Tasks(config, source, out, run)
        with open_pool(run.workers, tasks.num_scenes, write_part, progress=run.progress) as pool:
            summaries = _write_parts(tasks, out, run, pool)
        attributes = finish_store(out, job, source, summaries)
    return Report(out, attributes, time.monotonic() - started, engine, was_complete=False)


def open_source(config: Config, root: Path | str) -> Source:
    """Open the raw dataset that a config names.

    Raises:
        SourceError: it can't be opened.
    """
    return SOURCES[config.source].open(open_root(root), config.options)


def _check_disk(source: Source, config: Config, out: Path, run: RunOptions) -> None:
    """Forecast what the store will take, and refuse to start where the disk can't hold it.

    Raises:
        StoreError: the disk is too small, and `force` is not given.
    """
    expected = forecast(source, config.recipe, FORECAST_SCENES, run.limit)
    if run.announce is not None:
        run.announce(expected)
    present = sum(path.stat().st_size for path in out.glob("part-*/**/*") if path.is_file())
    free = shutil.disk_usage(out).free
    if expected.store_bytes > free + present and not run.force:
        raise StoreError(
            f"the store will take about {format_bytes(expected.store_bytes)}, and the disk of {out} has "
            f"{format_bytes(free)} free: choose another --out, a --limit, or go on with --force"
        )


def _stop_on_reject(source: Source, run: RunOptions) -> None:
    if run.on_error == "fail" and source.rejects:
        first = source.rejects[0]
        raise RejectedError(f"{first.key} ({first.path}), stage {first.stage}: {first.reason}")


def write_part(task: PartTask, tick: Callable[[], None]) -> PartSummary:
    """Write one part and return what it holds; `tick` is called after each scene."""
    engine = open_engine(task.engine)
    with PartWriter(
        task.store,
        task.part,
        task.recipe,
        paired=task.paired,
        engine=engine,
        max_samples=task.max_samples,
        stop_on_reject=task.stop_on_reject,
    ) as writer:
        for number, scene in enumerate(task.scenes, start=task.first_scene):
            if writer.is_full:
                break
            writer.start_scene(number, scene.key)
            for record in scene.read(engine.decode_image):
                writer.add(record)
            tick()
        return writer.commit()


class Tasks:
    """The parts of a job, as tasks; scenes are taken from the source only when a task is made."""

    def __init__(self, config: Config, source: Source, out: Path, run: RunOptions) -> None:
        self._config = config
        self._source = source
        self._out = out
        self._run = run
        self.num_scenes = len(source)
        self.scenes_per_part = config.store.scenes_per_part
        self.num_parts = -(-self.num_scenes // self.scenes_per_part)

    def make(self, part: int, max_samples: int | None) -> PartTask:
        """Return the task that writes a part."""
        return PartTask(
            store=self._out,
            part=part,
            first_scene=part * self.scenes_per_part,
            scenes=tuple(self._source[number] for number in self.scene_numbers(part)),
            recipe=self._config.recipe,
            paired=self._source.paired,
            max_samples=max_samples,
            stop_on_reject=self._run.on_error == "fail",
            engine=self._run.engine or default_engine(),
        )

    def scene_numbers(self, part: int) -> range:
        """Return which scenes a part holds."""
        first = part * self.scenes_per_part
        return range(first, min(first + self.scenes_per_part, self.num_scenes))


def _write_parts(tasks: Tasks, out: Path, run: RunOptions, pool: Pool) -> list[PartSummary]:
    """Write the parts that are not there yet; return what each part holds, in order."""
    summaries: list[PartSummary] = []
    num_samples = 0
    window: deque[tuple[Future[PartSummary], int | None]] = deque()
    next_part = 0
    while True:
        while next_part < tasks.num_parts and len(window) < pool.depth:
            missing = None if run.limit is None else run.limit - num_samples
            window.append(_start_part(tasks, out, next_part, missing, pool))
            next_part += 1
        if not window or (run.limit is not None and num_samples >= run.limit):
            break
        part = len(summaries)
        missing = None if run.limit is None else run.limit - num_samples
        summary = _settle_part(tasks, out, part, missing, pool, *window.popleft())
        summaries.append(summary)
        num_samples += summary.rows["samples"]
    for future, _ in window:
        if not future.cancel():
            with suppress(RejectedError):
                pool.result(future)
    for part in range(len(summaries), tasks.num_parts):
        shutil.rmtree(out / part_name(part), ignore_errors=True)
    return summaries


def _settle_part(
    tasks: Tasks,
    out: Path,
    part: int,
    missing: int | None,
    pool: Pool,
    future: Future[PartSummary],
    asked: int | None,
) -> PartSummary:
    """Wait for a part; write it again where it was asked for more samples than were missing, and that mattered.

    Parts before it were not finished when it began, so it could not know how few were missing: it may have read, and
    rejected, what lies beyond the limit.
    """
    try:
        summary = pool.result(future)
    except RejectedError:
        if asked == missing:
            raise
    else:
        if missing is None or asked == missing or summary.rows["samples"] < missing:
            return summary
        shutil.rmtree(out / part_name(part))
    again: Future[PartSummary] = pool.submit(tasks.make(part, missing))
    return pool.result(again)


def _start_part(
    tasks: Tasks, out: Path, part: int, max_samples: int | None, pool: Pool
) -> tuple[Future[PartSummary], int | None]:
    """Return the future of a part: done already where the part is there, otherwise submitted."""
    found = read_part_summary(out, part)
    if found is None:
        return pool.submit(tasks.make(part, max_samples)), max_samples
    pool.skip(len(tasks.scene_numbers(part)))
    future: Future[PartSummary] = Future()
    future.set_result(found)
    return future, None


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the store for this run; a lock of a dead run is gone with its process.

    Raises:
        StoreError: another run holds it, or the folder can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                raise StoreError(
                    f"another run is writing {out}: wait for it, or choose another --out"
                ) from err
            if os.fstat(lock.fileno()).st_nlink == 0:
                raise StoreError(f"another run was just writing {out}: give the command again")
            try:
                yield
            finally:
                (out / LOCK_FILE).unlink(missing_ok=True)
    except OSError as err:
        raise StoreError(f"can't write {out}: {err}") from err
