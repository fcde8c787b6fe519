"""The parts of a run: begun in order, a few at a time, and settled in order."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from tqdm import tqdm

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.layout import part_name
from ..errors import WorkerError
from ..store.attempts import discard_part, discard_parts, sweep_parts
from ..store.part_writer import PartSummary, RejectedError
from ..store.root import read_part_summary
from .forecast import format_bytes
from .options import RunOptions
from .part_task import ShortageError, Tasks, write_part
from .processes import ProcessExecutor

_REFRESH_SECONDS = 0.2

_OF_ITS_SCENES = (RejectedError, SourceError, ShortageError, WorkerError)
"""What a part fails of because of the scenes that it reads: of those beyond a limit, none may end a run."""

_log = logging.getLogger("resizeonce")

ResultT = TypeVar("ResultT")

PublishPart: TypeAlias = Callable[[int], None]
"""Called with the number of each part that is there to stay, whoever wrote it."""


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """Run `function` and return its finished future; an exception is raised here."""
        future: Future[ResultT] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def convert_parts(
    tasks: Tasks,
    parts: range,
    run: RunOptions,
    executor: Executor,
    publish: PublishPart = lambda _: None,
) -> list[PartSummary]:
    """Write those of `parts` that are not there yet; return what each part holds, in order."""
    num_scenes = sum(len(tasks.plan.scenes_of(part)) for part in parts)
    with tqdm(
        total=num_scenes, unit="scene", disable=not run.progress, smoothing=0.05, dynamic_ncols=True
    ) as bar:
        schedule = _Schedule(tasks, run, executor, bar)
        try:
            return schedule.write(parts, publish)
        except BaseException:
            # On an executor that goes on after this run, nothing of it may be begun any more.
            schedule.cancel()
            with suppress(OSError, StoreError):
                sweep_parts(tasks.store, parts)
            raise


@dataclass(frozen=True, slots=True)
class _Started:
    """A part under way, or found."""

    part: int
    future: Future[PartSummary]
    asked: int | None
    """How many samples were missing when it was begun, as far as was known; None without a limit."""
    num_scenes: int
    """How many scenes to count when it is done."""


class _Schedule:
    """Writes parts on an executor, some at a time, and counts the scenes that are done on a progress bar."""

    def __init__(self, tasks: Tasks, run: RunOptions, executor: Executor, bar: Any) -> None:
        self._tasks = tasks
        self._limit = run.limit
        self._executor = executor
        self._bar = bar
        self._counted = self._num_rejects = 0
        self._submitted: list[Future[PartSummary]] = []
        # A task of this process is done when it is submitted; elsewhere the next one should be waiting already.
        self._depth = 1 if isinstance(executor, SerialExecutor) else 2 * run.workers

    def write(self, parts: range, publish: PublishPart) -> list[PartSummary]:
        """Write those of some parts that are not there yet, as far as the limit reaches; return what each holds."""
        summaries: list[PartSummary] = []
        num_samples = 0
        window: deque[_Started] = deque()
        waiting = iter(parts)
        while True:
            missing = None if self._limit is None else self._limit - num_samples
            while len(window) < self._depth and (part := next(waiting, None)) is not None:
                window.append(self._start(part, missing))
            if not window or (missing is not None and missing <= 0):
                break
            part = window[0].part
            summary = self._settle(window.popleft(), missing)
            publish(part)
            self._note(part, summary)
            summaries.append(summary)
            num_samples += summary.rows["samples"]
        for started in window:
            if not started.future.cancel():
                # What it fails of is nobody's matter: it is thrown away.
                with suppress(*_OF_ITS_SCENES):
                    self._result(started.future, 0)
        discard_parts(self._tasks.store, parts[len(summaries) :])
        return summaries

    def cancel(self) -> None:
        """Keep tasks that have not begun from beginning."""
        for future in self._submitted:
            future.cancel()

    def _start(self, part: int, missing: int | None) -> _Started:
        """Submit a part, unless it is there already."""
        num_scenes = len(self._tasks.plan.scenes_of(part))
        found = read_part_summary(self._tasks.store, part)
        if found is None:
            # What has the name and no metadata is what somebody's `rm -r` left.
            discard_part(self._tasks.store, part)
            return _Started(part, self._submit(part, missing), missing, num_scenes)
        self._counted += num_scenes
        if not self._bar.disable:
            # The rate is of this run's work.
            self._bar.initial += num_scenes
        self._refresh()
        future: Future[PartSummary] = Future()
        future.set_result(found)
        return _Started(part, future, None, 0)

    def _settle(self, started: _Started, missing: int | None) -> PartSummary:
        """Wait for a part; write it again where it was asked for more samples than were missing, and that mattered.

        Parts before it were not finished when it began, so it could not know how few were missing: it may have read, and
        rejected or failed of, what lies beyond the limit.
        """
        try:
            summary = self._result(started.future, started.num_scenes)
        except _OF_ITS_SCENES:
            if started.asked == missing:
                raise
        else:
            if missing is None or started.asked == missing or summary.rows["samples"] < missing:
                return summary
            discard_part(self._tasks.store, started.part)
        return self._result(self._submit(started.part, missing), 0)

    def _submit(self, part: int, missing: int | None) -> Future[PartSummary]:
        """Start the task that writes a part."""
        task = self._tasks.make(part, missing)
        if isinstance(self._executor, SerialExecutor):
            return self._executor.submit(write_part, task, self._count_one)
        self._submitted = [future for future in self._submitted if not future.done()]
        with _telling_loss():
            self._submitted.append(self._executor.submit(write_part, task))
        return self._submitted[-1]

    def _note(self, part: int, summary: PartSummary) -> None:
        """Say what a part that is there holds, and how many rejects the run has so far."""
        num_rejects = sum(summary.rejects.values())
        _log.info(
            "%s: %d scenes, %d images, %d samples, %d rejects, %s",
            part_name(part),
            len(self._tasks.plan.scenes_of(part)),
            summary.rows["images"],
            summary.rows["samples"],
            num_rejects,
            format_bytes(summary.bytes),
        )
        self._num_rejects += num_rejects
        self._bar.set_postfix_str(f"{self._num_rejects:,} rejects", refresh=False)

    def _result(self, future: Future[PartSummary], num_scenes: int) -> PartSummary:
        """Wait for a task of `num_scenes` scenes, keeping the progress bar alive."""
        while not wait([future], timeout=_REFRESH_SECONDS).done:
            self._refresh()
        with _telling_loss():
            result = future.result()
        if not isinstance(self._executor, ProcessExecutor | SerialExecutor):
            # Other processes, perhaps on other machines, can't count for this one.
            self._counted += num_scenes
        self._refresh()
        return result

    def _count_one(self) -> None:
        self._counted += 1
        self._refresh()

    def _refresh(self) -> None:
        ticks = self._executor.ticks if isinstance(self._executor, ProcessExecutor) else 0
        self._bar.update(self._counted + ticks - self._bar.n)


@contextmanager
def _telling_loss() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as err:
        raise WorkerError(
            f"the executor lost its workers ({err}): run the same command again to go on"
        ) from err
