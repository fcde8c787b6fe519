"""Scenes to parts to a store: the run, over any `concurrent.futures.Executor`.

A part is a fixed run of scenes, whatever the number of workers, so the same input and config give the same bytes.
Parts that are there already are not touched: the same command run again finishes what a killed one left.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from preprocess.attempts import (
    FORECAST,
    Attempt,
    discard_part,
    have_died,
    sweep_attempts,
    sweep_parts,
)
from preprocess.config import Config, load_config
from preprocess.destination import Destination, PublishPart, open_destination
from preprocess.engine import EngineName, default_engine, open_engine
from preprocess.errors import ConfigError, StoreError
from preprocess.forecast import Forecast, SceneSize, forecast, measure_scene
from preprocess.job import Plan, describe_job, read_plan
from preprocess.layout import part_name, read_attributes
from preprocess.lock import locked, preparing
from preprocess.manifest import finish_store, read_part_summary, sum_summaries
from preprocess.pool import Pool, local_executor, open_pool
from preprocess.prepare import clean_finished, is_finished, missing_parts, plan_run, start_store
from preprocess.presence import Presence
from preprocess.processes import DeadWorkerError, ProcessExecutor
from preprocess.ranges import PartRange, describe_numbers
from preprocess.recipe import Recipe
from preprocess.remote.path import open_root
from preprocess.sources import SOURCES
from preprocess.sources.base import Scene, Source
from preprocess.tasks import PartTask, Tasks, write_part
from preprocess.writer import PartSummary, RejectedError

FORECAST_SCENES = 4
"""How many scenes are read for the forecast before a conversion."""

STALL_SECONDS = 3600.0

PartPool: TypeAlias = Pool[PartTask, PartSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a conversion; nothing here but `limit` and `append` changes what is written."""

    workers: int = 1
    """Processes; 1 converts in this one. With an executor: how many tasks it runs at a time."""
    executor: Executor | None = None
    """Where the parts are written, by processes that see the same files; by default, processes of this machine."""
    limit: int | None = None
    """How many samples to write at most, in the order of the dataset."""
    append: bool = False
    """Whether to add to a finished store those scenes that it lacks."""
    overwrite: bool = False
    """Whether a store that is there already is removed first."""
    on_error: Literal["record", "fail"] = "record"
    """Whether a bad record is listed and left out, or stops the run."""
    engine: EngineName | None = None
    """What does the work, to the same bytes; by default the fast one where it is installed."""
    stall_seconds: float = STALL_SECONDS
    """How long a scene may take before the worker process is taken for dead."""
    progress: bool = False
    """Whether to show a progress bar on stderr."""
    scratch: Path | str | None = None
    """Where the parts of a store with a URL are written before they are published; by default in a cache folder."""
    force: bool = False
    """Whether to start although the disk seems too small."""
    announce: Callable[[Forecast], None] | None = None
    """Called with what the store will take, before anything is converted."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did."""

    store: Path | str
    """Its folder or URL."""
    root: Path
    """The folder that has the root's files: the store's own or, of one with a URL, where it was staged."""
    attributes: dict[str, Any]
    """The store's root attributes; "totals" has the counts."""
    seconds: float
    engine: str
    """What did the work, and why not the fastest where that is so; "" where none was done."""
    was_complete: bool
    """Whether the store was there already, made by the same command."""

    @property
    def num_rejects(self) -> int:
        """How many records could not be converted."""
        return sum(self.attributes["totals"]["rejects"].values())


@dataclass(frozen=True, slots=True)
class RangeReport:
    """What the conversion of a range of parts did."""

    store: Path | str
    """Its folder or URL."""
    parts: range
    """The numbers of the parts in the range; all are there."""
    totals: dict[str, Any]
    """Counts of these parts, by the names in the root attributes."""
    missing: Sequence[int]
    """Which parts of the whole store are not there yet."""
    seconds: float
    engine: str
    """What did the work."""

    @property
    def num_rejects(self) -> int:
        """How many records of these parts could not be converted."""
        return sum(self.totals["rejects"].values())


def convert(
    config: Config | Path | str, root: Path | str, out: Path | str, run: RunOptions | None = None
) -> Report:
    """Convert a raw dataset into a store.

    Args:
        config: what to build, or the TOML file that says so.
        root: the raw dataset's folder, or the URL of one.
        out: the store's folder or URL; made, resumed if it is unfinished, left alone if it is complete.
        run: how to run it.

    Raises:
        PreprocessError: the config, the dataset or the store can't be used; or the first reject, if that is asked for.
    """
    run = run or RunOptions()
    started = time.monotonic()
    destination = open_destination(out, run.scratch)
    out = destination.folder
    job = _open_job(config, root, run)
    with locked(out):
        died = sweep_attempts(out)
        destination.pull(append=run.append, overwrite=run.overwrite)
        with destination.naming():
            plan, scenes = plan_run(
                out, job.description, job.source, overwrite=run.overwrite, append=run.append
            )
        if plan is None:
            clean_finished(out)
            destination.finish()
            return _report(destination, read_attributes(out), started, job.engine, was_complete=True)
        try:
            with _executor(run, isolated=died) as executor:
                if run.overwrite or read_plan(out) is None:
                    # Before anything is written: a refused command may be given again with other options.
                    _check_disk(scenes, len(plan.parts), job.config, destination, run, executor)
                start_store(out, plan, scenes, overwrite=run.overwrite)
                destination.start(overwrite=run.overwrite)
                summaries = _convert_parts(job, plan, scenes, plan.parts, destination, run, executor)
        except BaseException:
            # On a full disk, what could not be finished must not stay in the way; one that is gone is left alone.
            with suppress(OSError, StoreError):
                sweep_attempts(out)
            raise
        attributes = finish_store(out, plan, summaries)
        destination.finish()
    return _report(destination, attributes, started, job.engine, was_complete=False)


def convert_range(
    config: Config | Path | str,
    root: Path | str,
    out: Path | str,
    part_range: PartRange,
    run: RunOptions | None = None,
) -> RangeReport:
    """Write one of several equal shares of a store's parts; `finish` makes the store of them.

    Any number of processes, on machines that share the file system or publish to the same URL, may do so for one store
    at once, in any order.

    Args:
        config: what to build, or the TOML file that says so.
        root: the raw dataset's folder.
        out: the store's folder or URL.
        part_range: which share.
        run: how to run it.

    Raises:
        PreprocessError: the config, the dataset or the store can't be used; or the first reject, if that is asked for.
    """
    run = run or RunOptions()
    if run.limit is not None or run.overwrite:
        raise ConfigError(
            "--part-range goes neither with --limit, which needs the parts before it, nor with --overwrite, "
            "which would remove the others' work"
        )
    started = time.monotonic()
    destination = open_destination(out, run.scratch)
    out = destination.folder
    job = _open_job(config, root, run)
    with locked(out, shared=True):
        with preparing(out), destination.naming():
            destination.pull(append=run.append)
            plan, scenes = plan_run(out, job.description, job.source, overwrite=False, append=run.append)
            if plan is None:
                raise StoreError(f"{out} is complete already: there is nothing to do for --part-range")
        parts = part_range.of(plan.parts)
        with _executor(run, isolated=have_died(out, [FORECAST, *map(part_name, parts)])) as executor:
            with preparing(out):
                if read_plan(out) is None:
                    _check_disk(scenes, len(plan.parts), job.config, destination, run, executor)
                start_store(out, plan, scenes, overwrite=False)
                destination.start(overwrite=False)
            summaries = _convert_parts(job, plan, scenes, parts, destination, run, executor)
        destination.pull_parts(map(part_name, missing_parts(out, plan)))
        missing = missing_parts(out, plan)
    seconds = time.monotonic() - started
    return RangeReport(destination.store, parts, sum_summaries((), summaries), missing, seconds, job.engine)


def finish(out: Path | str, scratch: Path | str | None = None) -> Report:
    """Make a store of the parts that `convert_range` wrote.

    Args:
        out: the store's folder or URL.
        scratch: where one with a URL is staged, as in `RunOptions`.

    Raises:
        StoreError: parts are missing, or are still being written.
    """
    started = time.monotonic()
    destination = open_destination(out, scratch)
    out = destination.folder
    if destination.store == out and not out.is_dir():
        raise StoreError(f"{out} is no store: there is no such folder")
    with locked(out):
        destination.pull()
        with destination.naming():
            plan = read_plan(out)
            if plan is None or is_finished(out, plan):
                # Perhaps by a run that was killed just after that.
                plan = None
                attributes = read_attributes(out)
                clean_finished(out)
            else:
                summaries = _summaries_of_all(out, plan)
        if plan is not None:
            attributes = finish_store(out, plan, summaries)
        destination.finish()
    return _report(destination, attributes, started, "", was_complete=plan is None)


def _summaries_of_all(out: Path, plan: Plan) -> list[PartSummary]:
    """Return what each part of a plan holds.

    Raises:
        StoreError: some are missing.
    """
    if plan.job["limit"] is not None:
        raise StoreError(
            f"{out} is being made with --limit: run that `resizeonce convert` again to finish it"
        )
    summaries = [read_part_summary(out, part) for part in plan.parts]
    found = [summary for summary in summaries if summary is not None]
    if len(found) < len(summaries):
        missing = [part for part, summary in zip(plan.parts, summaries, strict=True) if summary is None]
        raise StoreError(
            f"{len(missing)} of {len(summaries)} parts of {out} are missing: {describe_numbers(missing)}; "
            "run `resizeonce convert` for them, with --part-range or without"
        )
    return found


def _report(
    destination: Destination, attributes: dict[str, Any], started: float, engine: str, *, was_complete: bool
) -> Report:
    seconds = time.monotonic() - started
    return Report(
        destination.store, destination.folder, attributes, seconds, engine, was_complete=was_complete
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """A command's input, opened."""

    config: Config
    source: Source
    presence: Presence
    description: dict[str, Any]
    engine: str


def _open_job(config: Config | Path | str, root: Path | str, run: RunOptions) -> _Job:
    # Opened here first: its loops are compiled before there are workers, which then only load them.
    engine = open_engine(run.engine or default_engine()).description
    config = config if isinstance(config, Config) else load_config(Path(config))
    source = open_source(config, root)
    if run.on_error == "fail" and source.rejects:
        first = source.rejects[0]
        raise RejectedError(f"{first.key} ({first.path}), stage {first.stage}: {first.reason}")
    presence = Presence.of(open_root(root))
    return _Job(config, source, presence, describe_job(config, source, run.limit), engine)


def open_source(config: Config, root: Path | str) -> Source:
    """Open the raw dataset that a config names.

    Raises:
        SourceError: it can't be opened.
    """
    return SOURCES[config.source].open(open_root(root), config.options)


def _check_disk(
    source: Source,
    num_parts: int,
    config: Config,
    destination: Destination,
    run: RunOptions,
    executor: Executor,
) -> None:
    """Forecast what the store will take, and refuse to start where the disk can't hold it.

    Raises:
        StoreError: the disk is too small, and `force` is not given.
    """
    out = destination.folder
    # A scene that kills whoever reads it must not kill each run at its start.
    with Attempt(out, FORECAST, ""):
        measure = (
            partial(_measure_elsewhere, executor) if isinstance(executor, ProcessExecutor) else measure_scene
        )
        expected = forecast(source, config.recipe, FORECAST_SCENES, run.limit, measure)
    if run.announce is not None:
        run.announce(expected)
    present = 0
    if run.overwrite:
        present = sum(path.stat().st_size for path in out.glob("part-*/**/*") if path.is_file())
    shortage = destination.shortage(expected.store_bytes, num_parts, run.workers, present)
    if shortage is not None and not run.force:
        raise StoreError(shortage)


def _measure_elsewhere(executor: ProcessExecutor, scene: Scene, recipe: Recipe) -> SceneSize | None:
    """Measure a scene in a worker process; None where that died, which is said already."""
    future = executor.submit_once(measure_scene, scene, recipe)
    try:
        return future.result()
    except DeadWorkerError:
        return None


def _convert_parts(
    job: _Job,
    plan: Plan,
    scenes: Source,
    parts: range,
    destination: Destination,
    run: RunOptions,
    executor: Executor,
) -> list[PartSummary]:
    """Write those of `parts` that are not there yet; return what each part holds, in order."""
    tasks = Tasks(
        plan,
        scenes,
        job.config,
        destination.folder,
        job.presence,
        run.engine or default_engine(),
        stop_on_reject=run.on_error == "fail",
    )
    num_scenes = sum(len(plan.scenes_of(part)) for part in parts)
    with (
        open_pool(executor, run.workers, write_part, num_scenes, progress=run.progress) as pool,
        destination.publishing() as publish,
    ):
        try:
            return _write_parts(tasks, parts, destination.folder, run.limit, pool, publish)
        except BaseException:
            # On an executor that goes on after this run, nothing of it may be begun any more.
            pool.cancel()
            with suppress(OSError, StoreError):
                sweep_parts(destination.folder, parts)
            raise


@contextmanager
def _executor(run: RunOptions, *, isolated: bool) -> Iterator[Executor]:
    """Yield where to run; `isolated` leaves this process out of it, because an earlier run died, perhaps of a scene."""
    if run.executor is not None:
        yield run.executor
        return
    in_process = run.workers <= 1 and not isolated
    with local_executor(run.workers, run.stall_seconds, in_process=in_process) as executor:
        yield executor


def _write_parts(
    tasks: Tasks, parts: range, out: Path, limit: int | None, pool: PartPool, publish: PublishPart
) -> list[PartSummary]:
    """Write the parts that are not there yet; return what each part holds, in order.

    `publish` is called with the number of each part that is there to stay, whoever wrote it.
    """
    summaries: list[PartSummary] = []
    num_samples = 0
    window: deque[_Started] = deque()
    waiting = iter(parts)
    while True:
        missing = None if limit is None else limit - num_samples
        while len(window) < pool.depth and (part := next(waiting, None)) is not None:
            window.append(_start_part(tasks, out, part, missing, pool))
        if not window or (limit is not None and num_samples >= limit):
            break
        part = window[0].part
        summary = _settle_part(tasks, out, window.popleft(), missing, pool)
        publish(part)
        summaries.append(summary)
        num_samples += summary.rows["samples"]
    for started in window:
        if not started.future.cancel():
            with suppress(RejectedError):
                pool.result(started.future, 0)
    for part in parts[len(summaries) :]:
        discard_part(out, part)
    return summaries


@dataclass(frozen=True, slots=True)
class _Started:
    """A part under way, or found."""

    part: int
    future: Future[PartSummary]
    asked: int | None
    """How many samples were missing when it was begun, as far as was known; None without a limit."""
    num_scenes: int
    """How many scenes to count when it is done."""


def _start_part(tasks: Tasks, out: Path, part: int, missing: int | None, pool: PartPool) -> _Started:
    """Submit a part, unless it is there already."""
    num_scenes = len(tasks.plan.scenes_of(part))
    found = read_part_summary(out, part)
    if found is None:
        # What has the name and no metadata is what somebody's `rm -r` left.
        discard_part(out, part)
        return _Started(part, pool.submit(tasks.make(part, missing)), missing, num_scenes)
    pool.skip(num_scenes)
    future: Future[PartSummary] = Future()
    future.set_result(found)
    return _Started(part, future, None, 0)


def _settle_part(
    tasks: Tasks, out: Path, started: _Started, missing: int | None, pool: PartPool
) -> PartSummary:
    """Wait for a part; write it again where it was asked for more samples than were missing, and that mattered.

    Parts before it were not finished when it began, so it could not know how few were missing: it may have read, and
    rejected, what lies beyond the limit.
    """
    try:
        summary = pool.result(started.future, started.num_scenes)
    except RejectedError:
        if started.asked == missing:
            raise
    else:
        if missing is None or started.asked == missing or summary.rows["samples"] < missing:
            return summary
        discard_part(out, started.part)
    return pool.result(pool.submit(tasks.make(started.part, missing)), 0)
