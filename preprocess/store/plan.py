"""The job of a store: all that decides what it holds, and the plan by which an unfinished store is being written."""

import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from PIL import features

from ... import __version__
from ...loader.format.errors import FormatVersionError, StoreError
from ...loader.format.layout import FORMAT_VERSIONS, JOB_FILE, DatasetType, format_version_of
from ...loader.format.limits import describe_refused_read
from ...loader.format.metadata import (
    MAX_PARTS,
    MAX_ROOT_BYTES,
    Count,
    PartNumber,
    has_empty_frames,
    scenes_per_part,
)
from ...loader.format.regular_files import read_document
from ..config import Config
from ..sources.base import Source


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run writes into a store: the whole of it, or what is appended to it."""

    job: dict[str, Any]
    versions: dict[str, str]
    """Of the libraries that stored bytes depend on."""
    dataset_type: DatasetType
    paired: bool
    num_scenes: Count
    """How many scenes to convert."""
    first_part: PartNumber = 0
    """Number of the first part to write; above 0 the parts before it are those of the store that is appended to."""
    first_scene: Count = 0
    """Number of the first scene, likewise."""

    @property
    def scenes_per_part(self) -> int:
        """How many scenes a part holds; the last one may hold fewer."""
        step: int = self.job["store"]["scenes_per_part"]
        return step

    @property
    def parts(self) -> range:
        """Numbers of the parts to write; also without a scene there is one, which counts what the index leaves out."""
        return range(self.first_part, self.first_part + max(1, -(-self.num_scenes // self.scenes_per_part)))

    def scenes_of(self, part: int) -> range:
        """Return which of the `num_scenes` a part holds."""
        first = (part - self.first_part) * self.scenes_per_part
        return range(first, min(first + self.scenes_per_part, self.num_scenes))


def describe_job(config: Config, source: Source, limit: int | None) -> dict[str, Any]:
    """Return everything that decides what a store holds, as JSON values."""
    attributes = config.attributes()
    empty_frames = has_empty_frames(attributes["source"])
    job = {
        "format_version": format_version_of(config.recipe, config.store.columns, empty_frames=empty_frames),
        **attributes,
        "files": source.fingerprint(),
        "limit": limit,
    }
    # As it will be read back: JSON has no tuples.
    described: dict[str, Any] = json.loads(json.dumps(job))
    return described


def library_versions() -> dict[str, str]:
    """Return the versions that stored bytes depend on."""
    packages = ("numpy", "pillow", "pycocotools", "numcodecs", "zarr")
    versions = {"resizeonce": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in packages}
    return versions | {"libjpeg": features.version("jpg") or "unknown"}


def read_plan(store: Path) -> Plan | None:
    """Return the plan of an unfinished store, None where there is none.

    Raises:
        StoreError: it is damaged.
        FormatVersionError: it is of a format that this version does not write.
    """
    path = store / JOB_FILE
    try:
        plan = msgspec.json.decode(read_document(path, MAX_ROOT_BYTES), type=Plan)
        # Somebody else may have written it.
        scenes_per_part(plan.job)
        if plan.parts.stop > MAX_PARTS:
            raise msgspec.ValidationError(f"it has {plan.parts.stop:,} parts, and {MAX_PARTS:,} is the most")
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        if reason := describe_refused_read(err):
            raise StoreError(f"can't read {path}: {reason}") from err
        raise StoreError(
            f"{path} is damaged, or not of this project ({err}): give --overwrite to make the store anew, or choose another "
            "--out"
        ) from err
    if plan.job["format_version"] not in FORMAT_VERSIONS:
        raise FormatVersionError(
            f"{store} is being written in format version {plan.job['format_version']}, which this version of resizeonce does "
            "not know: finish it with the version that began it"
        )
    return plan


def check_same(
    store: Path,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    advice: str = "Choose another --out, or give --overwrite to make it anew.",
) -> None:
    """Raise `StoreError` unless what a store was made from is what a command would make it from; it says in what they differ."""
    differences = list(_differences(found, wanted))
    if differences:
        raise StoreError(
            f"{store} was made by another command, and a store is never a mix. It differs in: "
            + "; ".join(differences)
            + f". {advice}"
        )


def plan_as_json(plan: Plan) -> bytes:
    """Return a plan as it stands in its file."""
    return json.dumps(msgspec.to_builtins(plan), indent=1).encode()


def _differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    by_name = _by_name(found), _by_name(wanted)
    if by_name[0] != by_name[1]:
        # Else they are the same but for their order.
        found, wanted = by_name
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in sorted(found.keys() | wanted.keys()):
            yield from _differences(found.get(key), wanted.get(key), f"{place}.{key}" if place else key)
    elif found != wanted:
        yield f"{place} was {found!r}, is now {wanted!r}"


def _by_name(value: Any) -> Any:
    """Return a list of named tables, as a recipe's views are, as a table of them: what differs is then told alone."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
        return {str(one["name"]): one for one in value}
    return value
