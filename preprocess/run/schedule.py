"""The parts of a run: begun in order, a few at a time, and settled in order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ...loader.format.errors import StoreError
from ..store.attempts import discard_part, sweep_parts
from ..store.part_writer import PartSummary, RejectedError
from ..store.root import read_part_summary
from .options import RunOptions
from .part_task import PartTask, Tasks, write_part
from .pool import Pool, open_pool

PartPool: TypeAlias = Pool[PartTask, PartSummary]
PublishPart: TypeAlias = Callable[[int], None]
"""Called with the number of each part that is there to stay, whoever wrote it."""


def convert_parts(
    tasks: Tasks,
    parts: range,
    out: Path,
    run: RunOptions,
    executor: Executor,
    publish: PublishPart | None = None,
) -> list[PartSummary]:
    """Write those of `parts` that are not there yet; return what each part holds, in order."""
    num_scenes = sum(len(tasks.plan.scenes_of(part)) for part in parts)
    with open_pool(executor, run.workers, write_part, num_scenes, progress=run.progress) as pool:
        try:
            return _write_parts(tasks, parts, out, run.limit, pool, publish)
        except BaseException:
            # On an executor that goes on after this run, nothing of it may be begun any more.
            pool.cancel()
            with suppress(OSError, StoreError):
                sweep_parts(out, parts)
            raise


def _write_parts(
    tasks: Tasks, parts: range, out: Path, limit: int | None, pool: PartPool, publish: PublishPart | None
) -> list[PartSummary]:
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
        if publish is not None:
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
