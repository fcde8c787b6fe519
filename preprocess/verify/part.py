"""One part: its files against its lists, its arrays against the layout, its rows against their checksums."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from ...loader.format.layout import REJECTS_FILE, TABLES, ArraySpec, Column, array_specs
from ...loader.format.metadata import (
    MAX_METADATA_BYTES,
    ListedFile,
    PartAttributes,
    PartEntry,
    decode_metadata,
)
from ...loader.format.recipe import Arithmetic, Recipe
from ...loader.format.regular_files import open_binary, read_document
from ...loader.format.shard import shard_path
from ..store.columns import storable
from ..store.part_writer import PartSummary
from .files import MAX_BYTES, file_fault, stop_where_refused
from .findings import REDO_STORE, Finding, part_fault
from .metadata import array_metadata, attributes_of, group_metadata, metadata_differences
from .shard_file import ShardFile
from .tables import TEXTS, check_counts, check_tables, decode_texts


@dataclass(frozen=True, slots=True)
class PartTask:
    """All that a process needs to check one part."""

    store: Path
    number: int
    entry: PartEntry
    scenes: range
    """Which scenes the part may hold."""
    recipe: Recipe
    columns: tuple[Column, ...]
    paired: bool
    empty_frames: bool
    """Whether images may be without a mask."""
    arithmetic: Arithmetic
    """Whose of Pillow's versions resized the images."""

    @property
    def folder(self) -> Path:
        """The part's folder."""
        return self.store / self.entry.name

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """Every array of the part."""
        return array_specs(self.recipe, 2 if self.paired else 1, self.columns)


@dataclass(slots=True)
class Part:
    """A part as far as it can be read; what is damaged is left out."""

    task: PartTask
    attributes: dict[str, Any] = field(default_factory=dict)
    shards: dict[str, ShardFile] = field(default_factory=dict)
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    num_files: int = 0
    has_sound_tables: bool = False
    """Whether every table can be read and breaks no rule, so that rows can be looked at."""

    def row(self, array: str, row: int) -> NDArray[Any] | None:
        """Return a row of a view; None where its file is damaged, or where it does not decode, which is a finding."""
        if array in self.columns:
            values: NDArray[Any] = self.columns[array][row]
            return values
        shard = self.shards.get(array)
        if shard is None or not shard.is_sound(row):
            return None
        try:
            return shard.row(row)
        except ValueError as err:
            self.add([part_fault("row-decode", array, str(err), row)])
            return None

    def piece(self, path: str, ending: str, row: int) -> NDArray[Any] | None:
        """Return a row of an array in pieces, `path` and `ending` its name; None where its file is damaged."""
        start, stop = self.columns[f"{path}_offsets"][row : row + 2].tolist()
        shard = self.shards.get(f"{path}_{ending}")
        try:
            return None if shard is None else shard.slice(start, stop)
        except ValueError:
            # Damage of the file itself is told by the check of the structure.
            return None

    def picture_size(self, mask: int) -> tuple[int, int]:
        """Return the size (height, width) of a mask's picture."""
        height, width = self.columns["images/size"][self.columns["masks/image"][mask]].tolist()
        return height, width

    def add(self, findings: Iterable[Finding]) -> None:
        """Take findings; the part, the key and the raw file are filled in."""
        for finding in findings:
            key, path = self._names(finding)
            named = msgspec.structs.replace(finding, part=self.task.entry.name, key=key, path=path)
            self.findings.append(named)

    def _names(self, finding: Finding) -> tuple[str, str]:
        """Return the key and the raw file of the row that a finding is about, "" where they are not known."""
        table, row = finding.array.partition("/")[0], finding.row
        if row is None or table not in TABLES:
            return "", ""
        try:
            if table == "images":
                return self.texts["images/key"][row], self.texts["images/path"][row]
            if table == "samples":
                row = int(self.columns["samples/mask"][row, 0])
            elif table == "expressions":
                row = int(self.columns["expressions/mask"][row])
            image = int(self.columns["masks/image"][row])
            key = f"{self.texts['images/key'][image]}/{self.texts['masks/object_id'][row]}"
            return key, self.texts["images/path"][image]
        except (KeyError, IndexError):
            return "", ""


def read_part(task: PartTask) -> Part:
    """Check a part's structure and return what can be read of it."""
    part = Part(task)
    faults: list[Finding] = []
    files = _read_attributes(part, faults)
    if files is not None:
        faults.extend(_check_listing(part, files))
        faults.extend(_check_arrays(part, files))
        part.texts, broken = decode_texts(part.columns)
        is_there = all(spec.path in part.columns for spec in task.specs if spec.is_whole)
        if is_there and all(path in part.texts for path in TEXTS):
            rules = {"paired": task.paired, "empty_frames": task.empty_frames}
            broken += check_tables(part.columns, part.texts, task.scenes, **rules)
            part.has_sound_tables = not broken
        faults.extend(broken)
        faults.extend(check_counts(part.columns, part.attributes))
    part.add(faults)
    return part


def _read_attributes(part: Part, faults: list[Finding]) -> dict[str, ListedFile] | None:
    """Read the part's own zarr.json; return the files it lists, None where that can't be read."""

    def tell(check: str, found: str, expected: str = "") -> None:
        faults.append(part_fault(check, "zarr.json", found, expected=expected))

    try:
        content = read_document(part.task.folder / "zarr.json", MAX_METADATA_BYTES)
        decoded = decode_metadata(content)
    except (OSError, ValueError) as err:
        stop_where_refused(err, part.task.folder / "zarr.json")
        tell("part-metadata", f"can't be read: {err}")
        return None
    if hashlib.sha256(content).hexdigest() != part.task.entry.sha256:
        tell("part-digest", "it is not the file that the root lists: changed, or swapped")
    attributes, wrong = attributes_of(decoded)
    for text in wrong:
        tell("part-metadata", text)
    if attributes is None:
        return None
    try:
        typed = msgspec.convert(attributes, PartAttributes)
        summary = msgspec.convert(attributes, PartSummary)
    except msgspec.ValidationError as err:
        tell("part-attributes", str(err))
        return None
    entry = part.task.entry
    known = {*PartAttributes.__struct_fields__, *PartSummary.__struct_fields__} - {"digest"}
    if unknown := sorted(attributes.keys() - known):
        text = f"unknown attributes, as of a newer version: {', '.join(unknown):.200}"
        faults.append(Finding(check="part-attributes", level="note", array="zarr.json", found=text))
    total = sum(listed.bytes for listed in typed.files.values())
    for name, found, wanted in (
        ("part", typed.part, part.task.number),
        ("rows", typed.rows, entry.rows),
        ("bytes", summary.bytes, entry.bytes),
        ("the sum of the files' bytes", total, entry.bytes),
    ):
        if found != wanted:
            tell("part-attributes", f"{name}: {found}", str(wanted))
    part.attributes = attributes
    return typed.files


def _check_listing(part: Part, files: Mapping[str, ListedFile]) -> Iterator[Finding]:
    """Yield files that are missing or not listed, and metadata files whose bytes changed."""
    found = set()
    for folder, _, names in os.walk(part.task.folder, onerror=_stop_where_unlisted):
        found |= {storable(str((Path(folder) / name).relative_to(part.task.folder))) for name in names}
    part.num_files = len(found)
    for name in sorted(set(files) - found):
        yield part_fault("missing-file", name, "the file is missing")
    for name in sorted(found - set(files) - {"zarr.json"}):
        yield part_fault("extra-file", name, "the part does not list this file")
    specs = part.task.specs
    wanted = {f"{table}/zarr.json" for table in TABLES} | {f"{spec.path}/zarr.json" for spec in specs}
    data = {shard_path(spec) for spec in specs}
    for name in sorted(wanted - set(files)):
        yield part_fault("layout", name, "the layout asks for this file, and the part does not list it")
    for name in sorted(set(files) - wanted - data - {REJECTS_FILE}):
        yield part_fault("layout", name, "the part lists this file, and the layout has none of that name")
    for name, listed in files.items():
        if name not in data and name in found and (text := file_fault(part.task.folder / name, listed)):
            yield part_fault("file-digest", name, text)
    for table in TABLES:
        yield from _check_metadata(part, f"{table}/zarr.json", group_metadata())
    count = sum(part.attributes.get("rejects", {}).values())
    lines = _count_lines(part.task.folder / REJECTS_FILE)
    if lines != count:
        expected = f"{count}, as the attributes count"
        yield part_fault("rejects", REJECTS_FILE, f"{lines} lines", expected=expected)


def _stop_where_unlisted(error: OSError) -> None:
    """Raise `StoreError` where a folder may not be listed; of any other, files are missing."""
    stop_where_refused(error, Path(error.filename))


def _count_lines(path: Path) -> int:
    """Return how many lines a list has, as far as it can be read; 0 where there is none."""
    try:
        with open_binary(path) as file:
            if os.fstat(file.fileno()).st_size <= MAX_BYTES:
                return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    except OSError as err:
        stop_where_refused(err, path)
    return 0


def _check_arrays(part: Part, files: Mapping[str, ListedFile]) -> Iterator[Finding]:
    """Check each array's metadata and file; put what is sound into `part`."""
    for spec in part.task.specs:
        length: int = getattr(part.task.entry.rows, spec.table)
        if spec.path.endswith("_offsets"):
            length += 1
        elif spec.path.endswith(("_bytes", "_runs")):
            offsets = part.columns.get(spec.path.rpartition("_")[0] + "_offsets")
            if offsets is None:
                continue
            length = max(int(offsets[-1]), 0)
        yield from _check_metadata(part, f"{spec.path}/zarr.json", array_metadata(spec, length))
        yield from _check_shard(part, spec, length, files.get(shard_path(spec)))


def _check_shard(part: Part, spec: ArraySpec, length: int, listed: ListedFile | None) -> Iterator[Finding]:
    path = part.task.folder / shard_path(spec)
    if (listed is not None) != (length > 0):
        text = f"{length} rows, and the part lists {'a' if listed else 'no'} file for them"
        yield part_fault("layout", spec.path, text)
        return
    shard = ShardFile(path, spec, length)
    if listed is not None:
        # Of a link that leads nowhere, reading says so.
        if not os.path.lexists(path):
            return
        yield from shard.check(listed)
        if spec.is_whole and not shard.is_sound(0):
            return
    if not spec.is_whole:
        part.shards[spec.path] = shard
        return
    try:
        part.columns[spec.path] = shard.whole()
    except ValueError as err:
        yield part_fault("row-decode", spec.path, str(err))


def _check_metadata(part: Part, name: str, wanted: dict[str, Any]) -> Iterator[Finding]:
    try:
        found = decode_metadata(read_document(part.task.folder / name, MAX_METADATA_BYTES))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as err:
        stop_where_refused(err, part.task.folder / name)
        yield part_fault("array-metadata", name, f"can't be read: {err}")
        return
    for text in metadata_differences(found, wanted):
        yield Finding(check="array-metadata", array=name, found=text, advice=REDO_STORE)
