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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import Root
from ...loader.remote.protocol import shown
from ..decode.images import OnDamage
from ..remote.path import local_path, open_root
from ..safe_path import starting_processes
from ..sources.base import Scene
from ..sources.files.raw_files import RawPath
from .findings import Finding, VerifyReport
from .part import PartTask, read_part
from .rederive import compare_scenes, open_same_source
from .remake import INSTALLED, PILLOW, arithmetic_of
from .root import check_root, read_recipe, read_root
from .scenes import Anew, choose_scenes, find_scenes, group_by_part
from .store_values import check_statistics
from .totals import check_totals, find_repeated, hash_of
from .values import Statistics, ViewSums, add_up, check_values

__all__ = ["Finding", "VerifyOptions", "VerifyReport", "verify_store"]

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
    keys: NDArray[np.uint64]
    """[I], a hash of each image's key."""
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
    arithmetic = recipe.arithmetic or arithmetic_of(root.versions.get("pillow", PILLOW))
    store_wide = recipe, tuple(root.columns), root.paired, root.empty_frames, arithmetic
    tasks = [
        PartTask(store, number, entry, root.scenes_of(number), *store_wide)
        for number, entry in enumerate(root.parts)
        if (store / entry.name).is_dir()
    ]
    # A dataset that is not the store's is an error, so it is opened before the long work.
    anew = [Anew()] * len(tasks) if options.source is None else _choose_anew(root, tasks, report, options)
    num_anew = sum(len(one.scenes) for one in anew)
    makes_images = num_anew or (options.values and "sources" in root.columns)
    if tasks and makes_images and arithmetic != INSTALLED:
        text = f"images are made anew in the order of {arithmetic}, as the store says; Pillow {PILLOW} has {INSTALLED}"
        report.findings.append(Finding(check="arithmetic", level="note", found=text))
    results = list(_check_parts(tasks, anew, options))
    for result in results:
        report.findings += result.findings
    if len(results) == len(root.parts) and all(result.attributes for result in results):
        report.findings += check_totals(store, root, [result.attributes for result in results])
    for part, row in find_repeated([result.keys for result in results]):
        name, text = tasks[part].entry.name, "an earlier part has an image of the same key"
        report.findings.append(Finding(check="unique", part=name, array="images/key", row=row, found=text))
    if options.values:
        statistics = add_up(result.statistics for result in results)
        report.findings += check_statistics(statistics, recipe)
    report.counts = {
        "parts": len(results),
        "files": sum(result.num_files for result in results),
        "bytes": sum(task.entry.bytes for task in tasks),
        "images": sum(task.entry.rows.images for task in tasks),
        "masks": sum(task.entry.rows.masks for task in tasks),
    }
    if options.source is not None:
        report.counts["scenes made anew"] = num_anew


def _choose_anew(
    root: Root, tasks: Sequence[PartTask], report: VerifyReport, options: VerifyOptions
) -> list[Anew]:
    """Return which scenes of each part are made anew of the raw dataset, or of the files that the store itself keeps.

    Raises:
        SourceError: there is no such dataset, or the store keeps no files.
    """
    assert options.source is not None
    local = local_path(options.source)
    folder: RawPath | None = None
    damaged: OnDamage = "reject"
    chosen: dict[int, Scene | None] = {}
    if local is not None and local.exists() and local.samefile(report.store):
        if "sources" not in root.columns:
            raise SourceError(
                f"{report.store} does not keep the files of its images (store.keep_source): give the folder that "
                "`resizeonce convert --root` was given"
            )
        text = "images are made anew from the files that the store keeps; masks and texts are not compared with the raw dataset"
        report.findings.append(Finding(check="source-unchecked", level="note", found=text))
        held = [number for task in tasks for number in task.scenes[: task.entry.rows.scenes]]
        chosen = {held[place]: None for place in choose_scenes(len(held), options.sample)}
    elif any(finding.check in _OF_THE_JOB for finding in report.findings):
        text = "the job is damaged, so the raw dataset can't be opened as it says; nothing was made anew"
        report.findings.append(Finding(check="source-unchecked", array="zarr.json", found=text))
    else:
        folder = open_root(options.source)
        source = open_same_source(root, folder)
        numbers, indices, unknown = find_scenes(root, tasks, source)
        if unknown:
            text = (
                f"{unknown} scenes are not in {options.source}: check them against the dataset they came from"
            )
            report.findings.append(Finding(check="source-unchecked", level="note", found=text))
        places = choose_scenes(len(numbers), options.sample)
        chosen = {numbers[place]: source[indices[place]] for place in places}
        damaged = root.job["source"].get("damaged", "reject")
    is_limited = root.job.get("limit") is not None
    return [
        Anew(
            tuple((number, chosen[number]) for number in of_part),
            folder,
            damaged,
            may_be_cut=is_limited and task.number == len(root.parts) - 1,
        )
        for task, of_part in zip(tasks, group_by_part(chosen, [task.scenes for task in tasks]), strict=True)
    ]


def _check_parts(
    tasks: Sequence[PartTask], anew: Sequence[Anew], options: VerifyOptions
) -> Iterator[_PartResult]:
    """Yield what was found in each part, in order.

    Raises:
        StoreError: a worker process was killed.
    """
    check = partial(_check_part, values=options.values)
    bar = partial(tqdm, total=len(tasks), unit="part", disable=not options.progress, dynamic_ncols=True)
    if options.workers <= 1 or not tasks:
        yield from bar(map(check, tasks, anew))
        return
    with ExitStack() as stack:
        try:
            others = multiprocessing.active_children()
            with starting_processes():
                context = multiprocessing.get_context("spawn")
                executor = stack.enter_context(ProcessPoolExecutor(options.workers, context))
                results = executor.map(check, tasks, anew)
                started = [child for child in multiprocessing.active_children() if child not in others]
                # Before Ctrl-C is let through again, or the executor would wait for all parts.
                stack.push(partial(_end_at_once, [child.kill for child in started]))
            yield from bar(results)
        except BrokenProcessPool as err:
            raise StoreError(
                "a process that checked the store was killed, for memory perhaps: give fewer --workers"
            ) from err


def _end_at_once(kills: Sequence[Callable[[], None]], error: type[BaseException] | None, *_: object) -> None:
    """End processes where an exception ends the check: what they are at may take minutes."""
    if error is not None:
        for kill in kills:
            kill()


def _check_part(task: PartTask, anew: Anew, *, values: bool) -> _PartResult:
    part = read_part(task)
    statistics = Statistics(ViewSums)
    if part.has_sound_tables:
        if values:
            statistics = check_values(part)
        if anew.root is not None or not values:
            # Of the files that the store keeps, their values tell the same of every row.
            compare_scenes(part, anew)
    else:
        for depth, is_asked in (("values", values), ("source", anew.scenes)):
            if is_asked:
                text = "its tables are damaged, so its rows were looked at no deeper"
                part.add([Finding(check=f"{depth}-unchecked", level="note", found=text)])
    keys = np.array([hash_of(key) for key in part.texts.get("images/key", ())], np.uint64)
    # Values and the raw dataset may tell the same of a file that the store keeps.
    findings = list(dict.fromkeys(part.findings))
    return _PartResult(findings, part.attributes, part.num_files, keys, statistics)
