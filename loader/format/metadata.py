"""The attributes of a store and of its parts: read once, with their types and ranges, and believed only then.

Loader, writer and `verify` read them here. What a newer writer of the same format version adds is passed over. numpy and
msgspec only: the loader imports this module at training time.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from .errors import FormatVersionError, StoreError
from .layout import (
    ATTRIBUTES_KEY,
    COLUMNS,
    FORMAT_VERSIONS,
    JOB_FILE,
    PART_NAME,
    Column,
    DatasetType,
)
from .recipe import read_recipe
from .regular_files import TooLargeError, read_document

MAX_ROOT_BYTES = 32 << 20
"""Of the root's `zarr.json`: 100,000 parts take 27 MB. JSON takes up to twenty times its size in memory."""

MAX_METADATA_BYTES = 4 << 20
"""Of a part's `zarr.json`, and of each below it: a part takes 6 kB."""

MAX_REJECTS_BYTES = 1 << 30
"""Of a `rejects.jsonl` that is fetched: some millions of lines."""

MAX_PARTS = 100_000
"""Of a store: as many as have names of five digits."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
PartNumber = Annotated[int, msgspec.Meta(ge=0, lt=MAX_PARTS)]
Rows = Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]
"""Of one table of one part."""
Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]

_FILE_NAME = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
"""Bare: it leads to no other folder."""
_FILE_PATH = re.compile(r"[a-z0-9_]+(?:[./][a-z0-9_]+)*")
"""Below its part: no step of it is empty or begins with a dot."""


class ListedFile(msgspec.Struct, frozen=True):
    """A file as an attribute lists it."""

    bytes: Bytes
    sha256: Sha256


class TableRows(msgspec.Struct, frozen=True):
    """How many rows each table of a part has."""

    images: Rows
    masks: Rows
    expressions: Rows
    samples: Rows
    scenes: Rows = 0


class PartEntry(msgspec.Struct, frozen=True):
    """A part as the root lists it."""

    name: str
    rows: TableRows
    bytes: Bytes
    sha256: Sha256

    def __post_init__(self) -> None:
        if not PART_NAME.fullmatch(self.name):
            raise ValueError(f"it lists a part {self.name!r:.100}, expected a name such as 'part-00000'")


class Appended(msgspec.Struct, frozen=True):
    """Parts that were added to a finished store."""

    job: dict[str, Any]
    first_part: PartNumber
    first_scene: Count

    def __post_init__(self) -> None:
        scenes_per_part(self.job)


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What reading samples takes of the root attributes."""

    format_version: int
    dataset_type: DatasetType
    paired: bool
    recipe: dict[str, Any]
    parts: Annotated[list[PartEntry], msgspec.Meta(max_length=MAX_PARTS)]
    totals: dict[str, Count | dict[str, Count]]
    fingerprint: Sha256
    columns: list[Column] = []
    """Those that not every store has; of format version 3."""
    empty_frames: bool = False
    """Whether images may be without a mask; of format version 3."""

    def __post_init__(self) -> None:
        read_recipe(self.recipe)
        if self.columns != [column for column in COLUMNS if column in self.columns]:
            raise ValueError(
                f"its columns are {self.columns}, expected each once, in the order of {', '.join(COLUMNS)}"
            )
        if not isinstance(self.totals.get("expressions"), int):
            raise ValueError("the total of expressions is missing")
        if not self.paired and any(part.rows.samples != part.rows.masks for part in self.parts):
            raise ValueError("samples are single frames, so each mask is one, and the numbers of both differ")


class Root(Content, frozen=True, kw_only=True):
    """The root attributes, as docs/format.md lists them."""

    dataset: str
    job: dict[str, Any]
    appended: list[Appended]
    files: dict[str, ListedFile]
    versions: dict[str, str]
    sha256: Sha256

    def __post_init__(self) -> None:
        super().__post_init__()
        scenes_per_part(self.job)
        msgspec.convert(self.totals, _Totals)
        for name in self.files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"it lists a file {name!r:.100}, expected a bare name")

    def scenes_of(self, part: int) -> range:
        """Return which scenes a part may hold."""
        step = scenes_per_part(self.job)
        first_part, first_scene, last = 0, 0, 1 << 62
        for appended in self.appended:
            if appended.first_part > part:
                last = appended.first_scene
                break
            first_part, first_scene = appended.first_part, appended.first_scene
        first = first_scene + (part - first_part) * step
        return range(first, min(first + step, last))

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that wrote the parts, the first one first."""
        return [self.job, *(appended.job for appended in self.appended)]


class PartAttributes(msgspec.Struct, frozen=True):
    """What a part says of itself, besides what only `preprocess.store.part_writer.PartSummary` counts."""

    part: PartNumber
    rows: TableRows
    files: dict[str, ListedFile]
    bytes: Bytes = 0

    def __post_init__(self) -> None:
        for path in self.files:
            if not _FILE_PATH.fullmatch(path):
                raise ValueError(f"it lists {path!r:.100}, outside of the part")


class _Totals(msgspec.Struct, frozen=True):
    """Those that are counts, and those that are counts by name."""

    images: Count
    masks: Count
    expressions: Count
    samples: Count
    scenes: Count
    empty_prompts: Count
    small_prompts: Count
    unsure_turns: Count
    bytes: Count
    rejects: dict[str, Count]
    skips: dict[str, Count]


class _StoreOptions(msgspec.Struct, frozen=True):
    scenes_per_part: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
    boxes: bool = False
    keep_source: bool = False
    hashes: bool = False


class _SourceOptions(msgspec.Struct, frozen=True):
    name: str


class _Job(msgspec.Struct, frozen=True):
    format_version: int
    store: _StoreOptions
    source: _SourceOptions
    recipe: dict[str, Any]
    files: dict[str, str]
    limit: Count | None


def scenes_per_part(job: Mapping[str, Any]) -> int:
    """Return how many scenes a part of a job holds.

    Raises:
        msgspec.ValidationError: it is no job.
    """
    return msgspec.convert(job, _Job).store.scenes_per_part


def columns_of(options: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return which columns the store options of a job ask for, beside those of each store, in their order in the attributes."""
    names: dict[Column, str] = {"boxes": "boxes", "sources": "keep_source", "hashes": "hashes"}
    return tuple(column for column in COLUMNS if options.get(names[column], False))


def has_empty_frames(source: Mapping[str, Any]) -> bool:
    """Whether the source options of a job ask for frames without masks: those of videos whose frames are taken one by one do."""
    return bool(source.get("take", "pairs") != "pairs")


def decode_metadata(encoded: bytes) -> Any:
    """Return a `zarr.json` as JSON values.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return msgspec.json.decode(encoded)
    except RecursionError:
        raise ValueError("it is nested too deep to be read") from None


def read_attributes(store: Path, kind: type[Content] = Root) -> dict[str, Any]:
    """Return the root attributes of a complete store, of the types and in the ranges of `kind`.

    Raises:
        StoreError: there is no complete store.
        FormatVersionError: it is of another format version.
    """
    try:
        encoded = read_document(store / "zarr.json", MAX_ROOT_BYTES)
    except FileNotFoundError as err:
        if (store / JOB_FILE).exists():
            raise StoreError(
                f"{store} is not finished: run the same `resizeonce convert` again to finish it"
            ) from err
        raise StoreError(f"{store} is no store: {store / 'zarr.json'} is missing") from err
    except OSError as err:
        raise StoreError(f"can't read {store / 'zarr.json'}: {err.strerror or err}") from err
    return parse_attributes(encoded, str(store), kind)


def parse_attributes(encoded: bytes, store: str, kind: type[Content] = Root) -> dict[str, Any]:
    """Return the root attributes in the `zarr.json` of a complete store, of the types and in the ranges of `kind`.

    Messages call the store by its path or URL.

    Raises:
        StoreError: they are damaged.
        FormatVersionError: they are of another format version.
    """
    path = f"{store}/zarr.json"
    attributes = own_attributes(encoded, path, "or not of this project")
    version = attributes.get("format_version")
    if version is None and "part" in attributes:
        raise StoreError(f"{store} is a part of a store: give the folder that it lies in")
    if version not in FORMAT_VERSIONS:
        known = " and ".join(map(str, FORMAT_VERSIONS))
        raise FormatVersionError(
            f"{store} has format version {version!r:.100}, this version of resizeonce reads {known}: "
            "read it with the version that wrote it, or convert again"
        )
    if not is_whole(attributes):
        raise StoreError(
            f"{path} is damaged: its attributes are not those that were written; run `resizeonce verify {store}`"
        )
    try:
        msgspec.convert(attributes, kind)
    except msgspec.ValidationError as err:
        raise StoreError(f"{path} is damaged: {err}; convert again") from err
    return attributes


def is_whole(attributes: Mapping[str, Any]) -> bool:
    """Whether root attributes agree with their own digest."""
    others = {name: value for name, value in attributes.items() if name != "sha256"}
    found = attributes.get("sha256")
    try:
        # Mostly the same text, ten times as fast; not where it holds characters beyond ASCII.
        quick = hashlib.sha256(msgspec.json.encode(others, order="sorted")).hexdigest()
        return found == quick or found == attributes_digest(attributes)
    except (OverflowError, RecursionError):
        # Numbers and depths that this project never writes.
        return False


def attributes_digest(attributes: Mapping[str, Any]) -> str:
    """Return what `sha256` in the root attributes is: the SHA-256 of all the others as compact JSON, keys sorted."""
    others = {name: value for name, value in attributes.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_part_attributes(part: Path) -> tuple[dict[str, Any], str]:
    """Return a part's attributes and the SHA-256 of the file they are in.

    Raises:
        FileNotFoundError: there is no such part.
        OSError: it can't be read.
        StoreError: its metadata is damaged.
    """
    try:
        encoded = read_document(part / "zarr.json", MAX_METADATA_BYTES)
    except TooLargeError as err:
        raise StoreError(
            f"{part}/zarr.json is damaged ({err.strerror}): remove {part} and convert again"
        ) from err
    return parse_part_attributes(encoded, str(part)), hashlib.sha256(encoded).hexdigest()


def parse_part_attributes(encoded: bytes, part: str) -> dict[str, Any]:
    """Return the attributes in the `zarr.json` of a part, of the types and in the ranges of `PartAttributes`.

    Messages call the part by its path or URL.

    Raises:
        StoreError: they are damaged.
    """
    attributes = own_attributes(encoded, f"{part}/zarr.json", f"remove {part} and convert again")
    try:
        msgspec.convert(attributes, PartAttributes)
    except msgspec.ValidationError as err:
        raise StoreError(f"{part}/zarr.json is damaged ({err}): remove {part} and convert again") from err
    return attributes


def own_attributes(encoded: bytes, path: str, advice: str) -> dict[str, Any]:
    """Return what stands under the project's key in a `zarr.json`.

    Raises:
        StoreError: nothing does, or it is no JSON; the message names `path` and has the advice.
    """
    try:
        content = decode_metadata(encoded)
    except ValueError as err:
        raise StoreError(f"{path} is damaged, {advice}: {err}") from err
    group = content.get("attributes") if isinstance(content, dict) else None
    attributes = group.get(ATTRIBUTES_KEY) if isinstance(group, dict) else None
    if not isinstance(attributes, dict):
        raise StoreError(f"{path} is damaged, {advice}: it has no attributes under {ATTRIBUTES_KEY!r}")
    return attributes
