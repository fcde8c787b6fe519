"""The start of a run: whether a folder is the store of this very job, what is missing in it, and what to write."""

from pathlib import Path
from typing import Any

from ...loader.format.errors import StoreError
from ...loader.format.layout import JOB_FILE, part_name
from ...loader.format.metadata import MAX_PARTS, read_attributes
from ..errors import ConfigError
from ..sources.base import Source
from ..store.plan import Plan, check_same, library_versions, read_plan
from ..store.removal import REMOVING_FILE, check_removable, is_working_file
from .append import NewScenes

_APPEND_ADVICE = (
    "Choose another --out, give --append to add the scenes it lacks, or give --overwrite to make it anew."
)


def plan_run(
    out: Path, job: dict[str, Any], source: Source, *, overwrite: bool, append: bool
) -> tuple[Plan | None, Source]:
    """Find out what a command has to write, by the job that it asks for; nothing is written here.

    With `overwrite` what is in the folder `out` does not count; `append` adds those scenes that a finished store lacks.

    Returns:
        The plan, None where the store is there with all that the command asks for; and the scenes to convert.

    Raises:
        StoreError: `out` holds something else, or a store of another job.
    """
    if overwrite:
        check_removable(out)
        return _plan(job, source), source
    if (out / REMOVING_FILE).exists():
        raise StoreError(f"a run that was to remove {out} was stopped: give --overwrite again")
    if (out / "zarr.json").exists():
        return _plan_for_store(out, job, source, append=append)
    plan = read_plan(out)
    wanted = _plan(job, source)
    if plan is not None:
        # Parts of one store are made by the same libraries, too: Pillow 13 resizes to other bytes than Pillow 12.
        check_same(out, _told(plan), _told(wanted))
    elif out.exists() and any(not is_working_file(path.name) for path in out.iterdir()):
        raise StoreError(f"{out} exists and is no store: choose another --out, or empty it yourself")
    return wanted, source


def is_finished(out: Path, plan: Plan) -> bool:
    """Whether a store's root lists the parts of a plan already, and all of its parts are there."""
    if not (out / "zarr.json").exists():
        return False
    listed = [part["name"] for part in read_attributes(out)["parts"]]
    return len(listed) > plan.first_part and all((out / name).exists() for name in listed)


def _plan_for_store(
    out: Path, job: dict[str, Any], source: Source, *, append: bool
) -> tuple[Plan | None, Source]:
    """Plan a run on a finished store: nothing to do, a lost part to make again, or scenes to append."""
    attributes = read_attributes(out)
    lost = [part["name"] for part in attributes["parts"] if not (out / part["name"]).exists()]
    under_way = read_plan(out)
    if under_way is not None and under_way.first_part == len(attributes["parts"]) and not append:
        raise StoreError(
            f"scenes are being appended to {out}: run the command with --append again to finish that"
        )
    if append:
        return _plan_append(out, attributes, job, source, lost)
    if attributes["appended"]:
        check_same(out, {"appended": True}, {"appended": False}, _APPEND_ADVICE)
    check_same(out, attributes["job"], job, _APPEND_ADVICE)
    if not lost:
        return None, source
    # A damaged part is mended by removing it: the store becomes an unfinished one again.
    check_same(out, {"versions": attributes["versions"]}, {"versions": library_versions()})
    return _plan(job, source), source


def _plan_append(
    out: Path, attributes: dict[str, Any], job: dict[str, Any], source: Source, lost: list[str]
) -> tuple[Plan | None, Source]:
    if lost and attributes["appended"]:
        raise StoreError(
            f"{lost[0]} of {out} is missing, and a store that was appended to can't be mended part by part: restore it "
            "from a copy, or give --overwrite to make the store anew"
        )
    if lost:
        raise StoreError(
            f"{lost[0]} of {out} is missing: convert without --append first, which makes it again"
        )
    if job["limit"] is not None or attributes["job"]["limit"] is not None:
        raise StoreError(f"--limit and --append do not go together: {out} would have a gap in the middle")
    # Everything must be the same but the files: new ones have come.
    found = {name: value for name, value in attributes["job"].items() if name != "files"}
    check_same(out, found, {name: value for name, value in job.items() if name != "files"})
    check_same(out, {"versions": attributes["versions"]}, {"versions": library_versions()})
    new = NewScenes(source, out, [part["name"] for part in attributes["parts"]])
    if not len(new):
        return None, source
    plan = _plan(job, new, len(attributes["parts"]), attributes["totals"]["scenes"])
    under_way = read_plan(out)
    if under_way is not None and under_way.first_part == plan.first_part:
        # The store as it was before is whole: nobody should make that anew for the sake of what is being added.
        advice = (
            "That is of scenes that are being appended to it: finish it with the dataset as it was; or, to begin it anew, "
            f"remove {JOB_FILE}, {part_name(plan.first_part)} and all parts after that from {out}, none before."
        )
        check_same(out, _told(under_way), _told(plan), advice)
    return plan, new


def _plan(job: dict[str, Any], source: Source, first_part: int = 0, first_scene: int = 0) -> Plan:
    plan = Plan(
        job=job,
        versions=library_versions(),
        dataset_type=source.dataset_type,
        paired=source.paired,
        num_scenes=len(source),
        first_part=first_part,
        first_scene=first_scene,
    )
    if plan.parts.stop > MAX_PARTS:
        raise ConfigError(
            f"the store would have {plan.parts.stop:,} parts, and {MAX_PARTS:,} is the most: raise store.scenes_per_part, "
            f"which is {plan.scenes_per_part}"
        )
    return plan


def _told(plan: Plan) -> dict[str, Any]:
    """Return what a user may have given otherwise."""
    return plan.job | {"versions": plan.versions}
