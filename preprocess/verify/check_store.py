"""Checks every promise a store makes, in three depths: its structure, its values, and its rows against the raw files.

`verify_store(path)` is the command `resizeonce verify` as a function. docs/verify.md says which depth finds what.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import Root
from ...loader.format.recipe import Arithmetic, Recipe
from ...loader.remote.protocol import shown
from ..decode.images import OnDamage
from ..remote.path import local_path, open_root
from ..safe_path import starting_processes
from .findings import Finding, VerifyReport
from .kept_files import KeptTask, compare_kept_scenes
from .part import PartTask, Tick, read_part
from .rederive import RemakeTask, choose_scenes, compare_scenes, open_same_source
from .remake import INSTALLED, PILLOW, arithmetic_of
from .repeated_keys import find_repeated, hash_of
from .root import check_root, read_recipe, read_root
from .scenes import find_scenes, group_by_part
from .store_values import check_statistics
from .totals import check_totals
from .values import Statistics, check_values

__all__ = ["Finding", "VerifyOptions", "VerifyReport", "verify_store"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

SCENES_PER_TASK = 16

_OF_THE_JOB = ("root-digest", "fingerprint", "job")
"""Findings after which the job in the root can't be relied on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How deep to look."""

    values: bool = False
    """Whether to look at every pixel."""
    source: Path | str | None = None
    """The raw dataset's folder or URL; given, scenes are made anew and compared bit for bit. Or the store itself, if it keeps the
    files of its images: then these are made anew."""
    sample: int | None = 64
    """How many scenes to make anew, evenly spread; None for all."""
    workers: int = 1
    """Processes; 1 checks in this one."""
    progress: bool = False
    """Whether to show a progress bar on stderr."""

    @property
    def depth(self) -> str:
        """Name of the depth."""
        deep = [name for name, asked in (("values", self.values), ("source", self.source)) if asked]
        return "+".join(deep) or "structure"


@dataclass(slots=True)
class _PartResult:
    findings: list[Finding]
    attributes: dict[str, Any]
    num_files: int
    keys: Any
    """uint64 [I], a hash of each image's key."""
    statistics: Statistics


def verify_store(store: Path | str, options: VerifyOptions | None = None) -> VerifyReport:
    """Check a store and return what was found; damage is a finding, never an exception.

    Raises:
        StoreError: there is no finished store at `store`.
        FormatVersionError: it is of another format version.
        SourceError: the raw dataset can't be opened, or is not the one the store was made from.
        WorkerError: processes can't be started.
    """
    options = options or VerifyOptions()
    started = time.monotonic()
    folder = local_path(store)
    if folder is None:
        raise StoreError(
            f"{shown(str(store))} can't be checked where it is: copy the store to a disk, and verify that"
        )
    if not folder.is_dir():
        raise StoreError(f"{folder} is no store: there is no such folder")
    report = VerifyReport(store=str(folder), depth=options.depth)
    root, report.findings = read_root(folder)
    if root is not None:
        _verify_parts(folder, root, report, options)
    report.seconds = time.monotonic() - started
    return report


def _verify_parts(store: Path, root: Root, report: VerifyReport, options: VerifyOptions) -> None:
    report.findings += check_root(store, root)
    recipe, faults = read_recipe(root)
    report.findings += faults
    if recipe is None:
        return
    tasks = _part_tasks(store, root, recipe, options)
    remakes: Sequence[RemakeTask | KeptTask] = []
    if options.source is not None:
        if _is_same_folder(options.source, store):
            remakes = _kept_tasks(root, tasks, options, report)
        elif any(finding.check in _OF_THE_JOB for finding in report.findings):
            text = "the job is damaged, so the raw dataset can't be opened as it says; nothing was made anew"
            report.findings.append(Finding(check="source-unchecked", array="zarr.json", found=text))
        else:
            # A dataset that is not the store's is an error, so it is opened before the long work.
            remakes = _remake_tasks(root, tasks, options, report)
    if tasks and (remakes or (options.values and "sources" in root.columns)):
        report.findings += _arithmetic_note(tasks[0].arithmetic)
    with_bytes = sum(task.entry.bytes for task in tasks)
    results = list(_run(_check_part, tasks, with_bytes, "B", options))
    for result in results:
        report.findings += result.findings
    if len(results) == len(root.parts) and all(result.attributes for result in results):
        report.findings += check_totals(store, root, [result.attributes for result in results])
    report.findings += _repeated_keys(results, tasks)
    if options.values:
        statistics = Statistics()
        for result in results:
            statistics += result.statistics
        report.findings += check_statistics(statistics, root, recipe)
    num_scenes = sum(len(task.scenes) for task in remakes)
    known = set(report.findings)
    for findings in _run(_compare_scenes, remakes, num_scenes, "scene", options):
        # Of a store that keeps its files, what every pixel tells is partly the same.
        report.findings += [finding for finding in findings if finding not in known]
    report.counts = {
        "parts": len(results),
        "files": sum(result.num_files for result in results),
        "bytes": with_bytes,
        "images": sum(task.entry.rows.images for task in tasks),
        "masks": sum(task.entry.rows.masks for task in tasks),
    }
    if options.source is not None:
        report.counts["scenes made anew"] = num_scenes


def _part_tasks(store: Path, root: Root, recipe: Recipe, options: VerifyOptions) -> list[PartTask]:
    arithmetic = recipe.arithmetic or arithmetic_of(root.versions.get("pillow", PILLOW))
    return [
        PartTask(
            store,
            number,
            entry,
            recipe,
            tuple(root.columns),
            root.paired,
            root.empty_frames,
            root.scenes_of(number),
            arithmetic,
            options.values,
        )
        for number, entry in enumerate(root.parts)
        if (store / entry.name).is_dir()
    ]


def _remake_tasks(
    root: Root, tasks: Sequence[PartTask], options: VerifyOptions, report: VerifyReport
) -> list[RemakeTask]:
    assert options.source is not None
    folder = open_root(options.source)
    source = open_same_source(root, folder)
    damaged: OnDamage = root.job["source"].get("damaged", "reject")
    parts = [(task.store / task.entry.name, task.scenes) for task in tasks]
    numbers, indices, unknown = find_scenes(root, parts, source)
    if unknown:
        text = f"{unknown} scenes are not in {options.source}: check them against the dataset they came from"
        report.findings.append(Finding(check="source-unchecked", level="note", found=text))
    chosen = {numbers[place]: indices[place] for place in choose_scenes(len(numbers), options.sample)}
    remakes = []
    for task, of_part in zip(tasks, group_by_part(chosen, [task.scenes for task in tasks]), strict=True):
        is_last = root.job.get("limit") is not None and task.number == len(root.parts) - 1
        for first in range(0, len(of_part), SCENES_PER_TASK):
            scenes = tuple(
                (number, source[chosen[number]]) for number in of_part[first : first + SCENES_PER_TASK]
            )
            remakes.append(RemakeTask(task, folder, scenes, damaged, is_last))
    return remakes


def _is_same_folder(source: Path | str, store: Path) -> bool:
    folder = local_path(source)
    return folder is not None and folder.exists() and folder.samefile(store)


def _kept_tasks(
    root: Root, tasks: Sequence[PartTask], options: VerifyOptions, report: VerifyReport
) -> list[KeptTask]:
    """Return the tasks that make images anew from the files that the store itself keeps.

    Raises:
        SourceError: it keeps none.
    """
    if "sources" not in root.columns:
        raise SourceError(
            f"{report.store} does not keep the files of its images (store.keep_source): give the folder that "
            "`resizeonce convert --root` was given"
        )
    text = "images are made anew from the files that the store keeps; masks and texts are not compared with the raw dataset"
    report.findings.append(Finding(check="source-unchecked", level="note", found=text))
    ends = list(accumulate((len(task.scenes[: task.entry.rows.scenes]) for task in tasks), initial=0))
    places = [range(start, end) for start, end in pairwise(ends)]
    chosen = group_by_part(choose_scenes(ends[-1], options.sample), places)
    return [
        KeptTask(
            task,
            tuple(task.scenes[place - of_part.start] for place in found[first : first + SCENES_PER_TASK]),
        )
        for task, of_part, found in zip(tasks, places, chosen, strict=True)
        for first in range(0, len(found), SCENES_PER_TASK)
    ]


def _arithmetic_note(arithmetic: Arithmetic) -> list[Finding]:
    if arithmetic == INSTALLED:
        return []
    text = f"images are made anew in the order of {arithmetic}, as the store says; Pillow {PILLOW} has {INSTALLED}"
    return [Finding(check="arithmetic", level="note", found=text)]


def _check_part(task: PartTask, tick: Tick) -> _PartResult:
    part = read_part(task, tick)
    statistics = check_values(part) if task.values else Statistics()
    keys = np.array([hash_of(key) for key in part.texts.get("images/key", ())], np.uint64)
    return _PartResult(part.findings, part.attributes, part.num_files, keys, statistics)


def _compare_scenes(task: RemakeTask | KeptTask, tick: Tick) -> list[Finding]:
    return compare_kept_scenes(task, tick) if isinstance(task, KeptTask) else compare_scenes(task, tick)


def _repeated_keys(results: Sequence[_PartResult], tasks: Sequence[PartTask]) -> Iterator[Finding]:
    text = "an earlier part has an image of the same key"
    for part, row in find_repeated([result.keys for result in results]):
        yield Finding(check="unique", part=tasks[part].entry.name, array="images/key", row=row, found=text)


def _run(
    function: Callable[[TaskT, Tick], ResultT],
    tasks: Sequence[TaskT],
    total: int,
    unit: str,
    options: VerifyOptions,
) -> Iterator[ResultT]:
    """Yield what `function` returns for each task, in order."""
    if not tasks:
        return
    with tqdm(
        total=total, unit=unit, unit_scale=unit == "B", disable=not options.progress, dynamic_ncols=True
    ) as bar:
        if options.workers <= 1:
            for task in tasks:
                yield function(task, bar.update)
            return
        with ExitStack() as stack:
            try:
                others = multiprocessing.active_children()
                with starting_processes():
                    context = multiprocessing.get_context("spawn")
                    executor = stack.enter_context(ProcessPoolExecutor(options.workers, context))
                    results = executor.map(partial(_run_counted, function), tasks)
                started = [child for child in multiprocessing.active_children() if child not in others]
                stack.push(partial(_end_at_once, [child.kill for child in started]))
                for result, count in results:
                    bar.update(count)
                    yield result
            except BrokenProcessPool as err:
                raise StoreError(
                    "a process that checked the store was killed, for memory perhaps: give fewer --workers"
                ) from err


def _end_at_once(kills: Sequence[Callable[[], None]], error: type[BaseException] | None, *_: object) -> None:
    """End processes where an exception ends the check: what they are at may take minutes."""
    if error is not None:
        for kill in kills:
            kill()


def _run_counted(function: Callable[[TaskT, Tick], ResultT], task: TaskT) -> tuple[ResultT, int]:
    """Run a task in a worker, and count what it would have ticked."""
    counts: list[int] = []
    return function(task, counts.append), sum(counts)
