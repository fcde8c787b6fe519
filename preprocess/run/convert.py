"""Scenes to parts to a store: the run, over any `concurrent.futures.Executor`.

A part is a fixed run of scenes, whatever the number of workers, so the same input and config give the same bytes.
Parts that are there already are not touched: the same command run again finishes what a killed one left.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...loader.format.errors import StoreError
from ...loader.format.layout import part_name
from ...loader.format.metadata import read_attributes
from ..config import Config, load_config
from ..decode.images import OnDamage
from ..errors import ConfigError
from ..remote.path import local_path, open_root
from ..sources.base import Scene, Source
from ..sources.registry import open_dataset
from ..store.attempts import FORECAST, Attempt, have_died, sweep_attempts
from ..store.filesystem import writing
from ..store.lock import locked, preparing
from ..store.part_writer import PartSummary, RejectedError
from ..store.plan import Plan, describe_job, read_plan
from ..store.removal import check_removable
from ..store.root import finish_store, read_part_summary, sum_summaries
from ..tensors.engine import EngineName, default_engine
from ..tensors.recipe import Recipe
from .destination import Destination, open_destination
from .executors import early_executor, engine_of, run_executor
from .forecast import SceneSize, forecast, measure_scene, measure_scenes
from .options import RunOptions
from .part_range import PartRange, describe_numbers
from .part_task import Tasks
from .planning import clean_finished, is_finished, missing_parts, plan_run, start_store
from .processes import DeadWorkerError, ProcessExecutor
from .raw_data_guard import Presence
from .report import RangeReport, Report
from .schedule import convert_parts

__all__ = ["RangeReport", "Report", "RunOptions", "convert", "convert_range", "finish", "open_source"]

FORECAST_SCENES = 4
"""How many scenes are read for the forecast before a conversion."""


def convert(
    config: Config | Path | str, root: Path | str, out: Path | str, run: RunOptions | None = None
) -> Report:
    """Convert a raw dataset into a store.

    Args:
        config: what to build; or the name of a shipped config, or the TOML file, that says so.
        root: the raw dataset's folder, or the URL of one.
        out: the store's folder or URL; made, resumed if it is unfinished, left alone if it is complete.
        run: how to run it.

    Raises:
        PreprocessError: the config, the dataset or the store can't be used; or the first reject, if that is asked for.
    """
    run = run or RunOptions()
    if run.append and run.overwrite:
        raise ConfigError("--append adds to a store, and --overwrite removes it first: give one of them")
    started = time.monotonic()
    config = config if isinstance(config, Config) else load_config(config)
    root, out = _seen_by_all(root, run), _seen_by_all(out, run)
    destination = open_destination(out, run.scratch)
    out = destination.folder
    with early_executor(run) as early:
        job = _open_job(config, root, run)
        if run.overwrite and destination.store == out:
            # Before there is a lock: in a folder of somebody else nothing is touched.
            with writing(out):
                check_removable(out)
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
                return _report(destination, read_attributes(out), started, "", was_complete=True)
            try:
                with run_executor(early, run, isolated=died) as executor:
                    engine = engine_of(executor, run)
                    if run.overwrite or read_plan(out) is None:
                        # Before anything is written: a refused command may be given again with other options.
                        _check_disk(scenes, len(plan.parts), config, destination, run, executor)
                    start_store(out, plan, scenes, overwrite=run.overwrite)
                    destination.start(overwrite=run.overwrite)
                    tasks = job.tasks(plan, scenes, out, run)
                    summaries = convert_parts(tasks, plan.parts, destination, run, executor)
            except BaseException:
                # On a full disk, what could not be finished must not stay in the way; one that is gone is left alone.
                with suppress(OSError, StoreError):
                    sweep_attempts(out)
                raise
            attributes = finish_store(out, plan, summaries)
            destination.finish()
    return _report(destination, attributes, started, engine, was_complete=False)


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
        config: what to build; or the name of a shipped config, or the TOML file, that says so.
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
    config = config if isinstance(config, Config) else load_config(config)
    root, out = _seen_by_all(root, run), _seen_by_all(out, run)
    destination = open_destination(out, run.scratch)
    out = destination.folder
    with ExitStack() as stack:
        early = stack.enter_context(early_executor(run))
        job = _open_job(config, root, run)
        if (out / "zarr.json").exists():
            # Looked at before there is a lock, whose file would stay in a store that is finished.
            plan, _ = plan_run(out, job.description, job.source, overwrite=False, append=run.append)
            if plan is None:
                return _nothing_to_do(destination, started)
        stack.enter_context(locked(out, shared=True))
        with preparing(out), destination.naming():
            destination.pull(append=run.append)
            plan, scenes = plan_run(out, job.description, job.source, overwrite=False, append=run.append)
            if plan is None:
                return _nothing_to_do(destination, started)
        parts = part_range.of(plan.parts)
        died = have_died(out, [FORECAST, *map(part_name, parts)])
        with run_executor(early, run, isolated=died) as executor:
            engine = engine_of(executor, run)
            with preparing(out):
                if read_plan(out) is None:
                    _check_disk(scenes, len(plan.parts), config, destination, run, executor)
                start_store(out, plan, scenes, overwrite=False)
                destination.start(overwrite=False)
            summaries = convert_parts(job.tasks(plan, scenes, out, run), parts, destination, run, executor)
        destination.pull_parts(map(part_name, missing_parts(out, plan)))
        missing = missing_parts(out, plan)
    seconds = time.monotonic() - started
    return RangeReport(destination.store, parts, sum_summaries((), summaries), missing, seconds, engine)


def _nothing_to_do(destination: Destination, started: float) -> RangeReport:
    """Report on a share of a finished store: a task of a job array that is submitted once more has not failed."""
    totals, seconds = read_attributes(destination.folder)["totals"], time.monotonic() - started
    return RangeReport(destination.store, range(0), totals, (), seconds, "", was_complete=True)


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

    def tasks(self, plan: Plan, scenes: Source, out: Path, run: RunOptions) -> Tasks:
        """Return a plan's parts as tasks; of the source, `scenes` are to be converted."""
        engine, stop = run.engine or default_engine(), run.on_error == "fail"
        return Tasks(plan, scenes, self.config, out, self.presence, engine, stop_on_reject=stop)


def _open_job(config: Config, root: Path | str, run: RunOptions) -> _Job:
    source = open_source(config, root)
    if run.on_error == "fail" and source.rejects:
        first = source.rejects[0]
        raise RejectedError(f"{first.key} ({first.path}), stage {first.stage}: {first.reason}")
    return _Job(config, source, Presence.of(open_root(root)), describe_job(config, source, run.limit))


def _seen_by_all(path: Path | str, run: RunOptions) -> Path | str:
    """Return a path as processes with another working directory can use it; a URL as it is."""
    local = local_path(path)
    return path if run.executor is None or local is None else local.absolute()


def open_source(config: Config, root: Path | str) -> Source:
    """Open the raw dataset that a config names.

    Raises:
        SourceError: it can't be opened.
    """
    return open_dataset(config.source, open_root(root), config.options)


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
        engine = run.engine or default_engine()
        if isinstance(executor, ProcessExecutor):
            measure = partial(_measure_elsewhere, executor, engine, config.options.damaged)
        else:
            measure = partial(measure_scenes, engine_name=engine, damaged=config.options.damaged)
        expected = forecast(source, config.recipe, FORECAST_SCENES, run.limit, measure)
    if run.announce is not None:
        run.announce(expected)
    present = 0
    if run.overwrite:
        present = sum(path.stat().st_size for path in out.glob("part-*/**/*") if path.is_file())
    shortage = destination.shortage(expected.store_bytes, num_parts, run.workers, present)
    if shortage is not None and not run.force:
        raise StoreError(shortage)


def _measure_elsewhere(
    executor: ProcessExecutor,
    engine: EngineName,
    damaged: OnDamage,
    scenes: Sequence[Scene],
    recipe: Recipe,
) -> list[SceneSize]:
    """Measure scenes in worker processes; the forecast goes without what dies of one, or runs out of memory."""
    sizes = []
    for future in [executor.submit_once(measure_scene, scene, recipe, engine, damaged) for scene in scenes]:
        with suppress(DeadWorkerError, MemoryError):
            sizes.append(future.result())
    return sizes
