"""Where a store goes: a folder. `preprocess.run.publish` has those that go on from there to a URL."""

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ...loader.format.errors import StoreError
from ...loader.format.layout import JOB_FILE, part_name
from ...loader.format.metadata import read_attributes
from ..sources.base import Source
from ..store.filesystem import write_whole, writing
from ..store.part_writer import PartSummary, encode_rejects
from ..store.plan import Plan, plan_as_json, read_plan
from ..store.removal import remove_store
from ..store.root import INDEX_REJECTS_FILE, finish_store, read_part_summary, tidy
from .forecast import format_bytes
from .options import RunOptions
from .part_range import describe_numbers
from .part_task import Tasks
from .planning import is_finished, plan_run
from .schedule import convert_parts


class Destination:
    """A store's folder, in which it is written and stays.

    Each of the methods that write raises `StoreError` where the file system refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where the store is written."""
        self.store: Path | str = folder
        """What the user calls the store: its folder or its URL."""

    def plan(self, job: dict[str, Any], source: Source, run: RunOptions) -> tuple[Plan | None, Source]:
        """Find out what a command has to write, as `plan_run` does."""
        return plan_run(self.folder, job, source, overwrite=run.overwrite, append=run.append)

    def start(self, plan: Plan, scenes: Source, *, overwrite: bool) -> None:
        """Make the store an unfinished one of a plan, if it is not one yet; with `overwrite` it is removed first."""
        with writing(self.folder):
            if overwrite:
                remove_store(self.folder)
            if read_plan(self.folder) != plan:
                # The plan comes last: what it needs is there as soon as it is.
                write_whole(self.folder / INDEX_REJECTS_FILE, encode_rejects(scenes.rejects))
                write_whole(self.folder / JOB_FILE, plan_as_json(plan))
            if plan.first_part == 0:
                # Of a store that lost a part, which is made again.
                (self.folder / "zarr.json").unlink(missing_ok=True)

    def write_parts(
        self, tasks: Tasks, parts: range, run: RunOptions, executor: Executor
    ) -> list[PartSummary]:
        """Write those of `parts` that are not there yet; return what each part holds, in order."""
        return convert_parts(tasks, parts, run, executor)

    def missing_parts(self, plan: Plan) -> list[int]:
        """Return which parts of a plan are not there yet."""
        return [part for part in plan.parts if not (self.folder / part_name(part)).exists()]

    def written_parts(self) -> tuple[Plan | None, list[PartSummary]]:
        """Return the plan of an unfinished store, None where it is finished, and what each of its parts holds.

        Raises:
            StoreError: some of the parts are missing.
        """
        plan = read_plan(self.folder)
        if plan is None or is_finished(self.folder, plan):
            # Perhaps by a run that was killed just after that.
            return None, []
        if plan.job["limit"] is not None:
            raise StoreError(
                f"{self.folder} is being made with --limit: run that `resizeonce convert` again to finish it"
            )
        found = [read_part_summary(self.folder, part) for part in plan.parts]
        missing = [part for part, summary in zip(plan.parts, found, strict=True) if summary is None]
        if missing:
            raise StoreError(
                f"{len(missing)} of {len(found)} parts of {self.folder} are missing: {describe_numbers(missing)}; "
                "run `resizeonce convert` for them, with --part-range or without"
            )
        return plan, [summary for summary in found if summary is not None]

    def finish(self, plan: Plan, summaries: Sequence[PartSummary]) -> dict[str, Any]:
        """Make a store of the parts, as `finish_store` does, and return its attributes."""
        return finish_store(self.folder, plan, summaries)

    def clean(self) -> dict[str, Any]:
        """Remove what a run left beside a finished store, and return its attributes."""
        attributes = read_attributes(self.folder)
        tidy(self.folder)
        return attributes

    def shortage(self, store_bytes: int, num_parts: int, workers: int, present: int) -> str | None:
        """Return what to say of a disk that is too small for a store of so many bytes and parts, None where it is not.

        `workers` parts are written at a time; `present` bytes are removed before.
        """
        needed, use, advice = self._demand(store_bytes, num_parts, workers)
        free = shutil.disk_usage(self.folder).free
        if needed <= free + present:
            return None
        return (
            f"{use} about {format_bytes(needed)}, and the disk of {self.folder} has {format_bytes(free)} free: {advice}, or go "
            "on with --force"
        )

    def _demand(self, store_bytes: int, num_parts: int, workers: int) -> tuple[int, str, str]:
        """Return how many bytes the folder has to hold at a time, of what, and how there could be fewer."""
        return store_bytes, "the store will take", "choose another --out, a --limit"
