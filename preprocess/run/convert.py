"""Scenes to parts to a store: the run, over any `concurrent.futures.Executor`.

A part is a fixed run of scenes, whatever the number of workers, so the same input and config give the same bytes.
Parts that are there already are not touched: the same command run again finishes what a killed one left.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...loader.format.errors import StoreError
from ...loader.format.layout import part_name
from ...loader.format.metadata import read_attributes
from ..config import Config, load_config
from ..errors import ConfigError
from ..remote.path import local_path, open_root
from ..sources.base import Source
from ..sources.registry import open_dataset
from ..store.attempts import FORECAST, Attempt, have_died, sweep_attempts
from ..store.filesystem import writing
from ..store.lock import held, preparing
from ..store.part_writer import PartSummary, RejectedError
from ..store.plan import Plan, describe_job, read_plan
from ..store.removal import check_removable
from ..store.root import sum_summaries
from ..tensors.engine import describe_engine
from .destination import Destination
from .forecast import forecast
from .options import RunOptions
from .part_range import PartRange
from .part_task import Tasks
from .planning import plan_run
from .processes import ProcessExecutor
from .publish import open_destination
from .raw_data_guard import RawDataGuard
from .report import RangeReport, Report
from .schedule import SerialExecutor

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
    with _open_conversion(config, root, out, run) as conversion:
        destination = conversion.destination
        folder = destination.folder
        if run.overwrite and destination.store == folder:
            # Before there is a lock: in a folder of somebody else nothing is touched.
            with writing(folder):
                check_removable(folder)
        with held(folder):
            died = sweep_attempts(folder)
            plan, scenes = destination.plan(conversion.job, conversion.source, run)
            if plan is None:
                return _report(destination, destination.clean(), conversion.started, "", was_complete=True)
            try:
                summaries, engine = conversion.write_parts(plan, scenes, plan.parts, isolated=died)
            except BaseException:
                # On a full disk, what could not be finished must not stay in the way; one that is gone is left alone.
                with suppress(OSError, StoreError):
                    sweep_attempts(folder)
                raise
            attributes = destination.finish(plan, summaries)
        return _report(destination, attributes, conversion.started, engine, was_complete=False)


def convert_range(
    config: Config | Path | str,
    root: Path | str,
    out: Path | str,
    part_range: PartRange,
    run: RunOptions | None = None,
) -> RangeReport:
    """Write one of several equal shares of a store's parts, as `convert` would; `finish` makes the store of them.

    Any number of processes, on machines that share the file system or publish to the same URL, may do so for one store
    at once, in any order.
    """
    run = run or RunOptions()
    if run.limit is not None or run.overwrite:
        raise ConfigError(
            "--part-range goes neither with --limit, which needs the parts before it, nor with --overwrite, "
            "which would remove the others' work"
        )
    with _open_conversion(config, root, out, run) as conversion:
        destination = conversion.destination
        folder = destination.folder
        if (folder / "zarr.json").exists():
            # Looked at before there is a lock, whose file would stay in a store that is finished.
            plan, _ = plan_run(folder, conversion.job, conversion.source, overwrite=False, append=run.append)
            if plan is None:
                return _nothing_to_do(conversion)
        with held(folder, shared=True):
            with preparing(folder):
                plan, scenes = destination.plan(conversion.job, conversion.source, run)
            if plan is None:
                return _nothing_to_do(conversion)
            parts = part_range.of(plan.parts)
            died = have_died(folder, [FORECAST, *map(part_name, parts)])
            summaries, engine = conversion.write_parts(plan, scenes, parts, isolated=died)
            missing = destination.missing_parts(plan)
    totals, seconds = sum_summaries((), summaries), time.monotonic() - conversion.started
    prompt = conversion.config.recipe.prompt
    return RangeReport(destination.store, parts, totals, missing, seconds, engine, prompt)


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
    with held(out):
        plan, summaries = destination.written_parts()
        attributes = destination.clean() if plan is None else destination.finish(plan, summaries)
    return _report(destination, attributes, started, "", was_complete=plan is None)


def _report(
    destination: Destination, attributes: dict[str, Any], started: float, engine: str, *, was_complete: bool
) -> Report:
    seconds = time.monotonic() - started
    return Report(destination.store, destination.folder, attributes, seconds, engine, was_complete)


def _nothing_to_do(conversion: "_Conversion") -> RangeReport:
    """Report on a share of a finished store: a task of a job array that is submitted once more has not failed."""
    destination = conversion.destination
    totals = read_attributes(destination.folder)["totals"]
    seconds = time.monotonic() - conversion.started
    return RangeReport(
        destination.store, range(0), totals, (), seconds, "", conversion.config.recipe.prompt, True
    )


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What a command converts, opened, and where it goes."""

    config: Config
    source: Source
    raw_data: RawDataGuard
    job: dict[str, Any]
    destination: Destination
    run: RunOptions
    processes: ProcessExecutor | None
    """Where to run, if several are asked for; they began to start while the dataset was opened."""
    started: float

    def write_parts(
        self, plan: Plan, scenes: Source, parts: range, *, isolated: bool
    ) -> tuple[list[PartSummary], str]:
        """Write some parts of a plan; return what each holds, and what engine wrote them."""
        run, folder = self.run, self.destination.folder
        with self._executor(isolated=isolated) as executor:
            engine = _describe_engine(executor, run)
            with preparing(folder):
                if run.overwrite or read_plan(folder) is None:
                    # Before anything is written: a refused command may be given again with other options.
                    self._check_disk(scenes, len(plan.parts), executor)
                self.destination.start(plan, scenes, overwrite=run.overwrite)
            stop = run.on_error == "fail"
            tasks = Tasks(
                plan, scenes, self.config, folder, self.raw_data, run.engine_name, stop_on_reject=stop
            )
            return self.destination.write_parts(tasks, parts, run, executor), engine

    def _executor(self, *, isolated: bool) -> AbstractContextManager[Executor]:
        """Return where to run; `isolated` leaves this process out of it, because an earlier run died, perhaps of a scene."""
        if self.run.executor is not None:
            # It goes on after this run.
            return nullcontext(self.run.executor)
        if self.processes is None and isolated:
            return _start_processes(self.run)
        return self.processes or SerialExecutor()

    def _check_disk(self, source: Source, num_parts: int, executor: Executor) -> None:
        """Forecast what the store will take, and refuse to start where the disk can't hold it."""
        config, run, folder = self.config, self.run, self.destination.folder
        # A scene that kills whoever reads it must not kill each run at its start.
        with Attempt(folder, FORECAST, ""):
            elsewhere = executor if isinstance(executor, ProcessExecutor) else None
            expected = forecast(source, config, FORECAST_SCENES, run.limit, run.engine_name, elsewhere)
        if run.announce is not None:
            run.announce(expected)
        present = 0
        if run.overwrite:
            present = sum(path.stat().st_size for path in folder.glob("part-*/**/*") if path.is_file())
        shortage = self.destination.shortage(expected.store_bytes, num_parts, run.workers, present)
        if shortage is not None and not run.force:
            raise StoreError(shortage)


@contextmanager
def _open_conversion(
    config: Config | Path | str, root: Path | str, out: Path | str, run: RunOptions
) -> Iterator[_Conversion]:
    """Open what a command converts, while the processes that it needs begin to start."""
    started = time.monotonic()
    config = config if isinstance(config, Config) else load_config(config)
    root = _seen_by_all(root, run)
    destination = open_destination(_seen_by_all(out, run), run.scratch)
    with ExitStack() as stack:
        processes = None
        if run.executor is None and run.workers > 1:
            processes = stack.enter_context(_start_processes(run))
        source = open_source(config, root)
        if run.on_error == "fail" and source.rejects:
            first = source.rejects[0]
            raise RejectedError(f"{first.key} ({first.path}), stage {first.stage}: {first.reason}")
        raw_data, job = RawDataGuard.of(open_root(root)), describe_job(config, source, run.limit)
        yield _Conversion(config, source, raw_data, job, destination, run, processes, started)


def _start_processes(run: RunOptions) -> ProcessExecutor:
    """Start processes that get ready for a conversion while this one goes on."""
    return ProcessExecutor(run.workers, run.stall_seconds, partial(describe_engine, run.engine_name))


def _describe_engine(executor: Executor, run: RunOptions) -> str:
    """Return what does the work, where it is done; on a foreign executor the machine of this process speaks for the others."""
    if isinstance(executor, ProcessExecutor):
        return executor.submit(describe_engine, run.engine_name).result()
    return describe_engine(run.engine_name)


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
