"""One part of a store: its arrays, and what its tables say of a sample. numpy only."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .array import MappedArray
from .format.errors import DamageError, StoreError
from .format.layout import ArraySpec, Table
from .format.limits import describe_limit
from .format.metadata import MAX_METADATA_BYTES, parse_part_attributes
from .format.regular_files import TooLargeError, open_binary, open_regular, read_document
from .format.shard import shard_path

if TYPE_CHECKING:
    from .cache.part_cache import PartCache

NOT_READ_WITH_A_SAMPLE = frozenset(
    {
        "images/pixel_sha256",
        "images/path_offsets",
        "images/path_bytes",
        "masks/area",
        "masks/category_offsets",
        "masks/category_bytes",
        "scenes/key_offsets",
        "scenes/key_bytes",
    }
)
"""Tables that reading a sample does without, a drawn one as well."""

_JOINS: dict[str, Table] = {"samples/mask": "masks", "masks/image": "images", "expressions/mask": "masks"}
"""Columns of row numbers, and the table of those rows."""

INDEX_BYTES = 1 << 16
"""At the end of a file of rows: in them is the index, of up to 4,095 rows at least."""

COPIED_BYTES = 1 << 16
"""Tables up to this size are read instead of mapped, that is all of a usual part but its prompt masks: what is read can't
vanish with the file, takes no descriptor, and need not be looked at before each batch."""

MOST_BYTES = 1 << 22
"""Of a table that is read as a whole. Of a larger one, the prompt masks of many masks, a sample needs a small part."""


def expect_tables(folder: Path, specs: Mapping[str, ArraySpec]) -> None:
    """Have the system read all of a part but its rows, whichever of it there is; wait for folders at most, not for files.

    One after the other, a dozen small files that are not in memory would wait a dozen times for a disk that is busy with
    rows.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    _expect(folder / "zarr.json")
    for spec in specs.values():
        if not spec.is_whole:
            _expect(folder / shard_path(spec), at_end=INDEX_BYTES)
        elif spec.path not in NOT_READ_WITH_A_SAMPLE:
            _expect(folder / shard_path(spec))


def _expect(path: Path, at_end: int | None = None) -> None:
    """Have the last bytes of a file read, or all of it where it is not too large."""
    # Opening the part meets the same fault, and says what it means.
    with suppress(OSError):
        descriptor = open_regular(path)
        try:
            size = os.fstat(descriptor).st_size
            if at_end is not None:
                os.posix_fadvise(descriptor, max(size - at_end, 0), at_end, os.POSIX_FADV_WILLNEED)
            elif size <= MOST_BYTES:
                os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


class Part:
    """One part: its arrays by path, such as "images/pixel_values", mapped when they are first asked for.

    Args:
        folder: where it is.
        specs: what the layout says of each array, by its path.
        digest: of its attributes, as the store's root lists it.
        check_rows: whether each row's checksum is compared whenever it is read, and that of a table when it is opened.
        huge_pages: whether rows stay in memory once they are read, and are worth huge pages.

    Raises:
        DamageError: the part is missing, or not the one that the store's root lists.
        StoreError: it can't be read.
    """

    def __init__(
        self,
        folder: Path,
        specs: Mapping[str, ArraySpec],
        digest: str,
        *,
        check_rows: bool = True,
        huge_pages: bool = False,
    ) -> None:
        self._folder = folder
        self._specs = specs
        self._check_rows = check_rows
        self._huge_pages = huge_pages
        attributes = self._read_attributes(digest)
        self.rows: dict[Table, int] = attributes["rows"]
        self.files: dict[str, dict[str, Any]] = attributes["files"]
        """Each file below it but its own attributes, with its size in bytes and its digest, as docs/format.md lists them."""
        self._arrays: dict[str, MappedArray] = {}
        self._mapped: list[MappedArray] = []
        self._columns: dict[str, NDArray[Any]] = {}

    def array(self, path: str) -> MappedArray:
        """Return an array."""
        if path not in self._arrays:
            array = self._arrays[path] = self._open(self._specs[path])
            if array.is_mapped:
                self._mapped.append(array)
        return self._arrays[path]

    def map_all(self) -> None:
        """Map every array now: what is mapped can be read also after its files are removed."""
        for path in self._specs:
            self.array(path)

    def check_lengths(self) -> None:
        """Raise `DamageError` where a mapped file is shorter by now: one system call for each."""
        for array in self._mapped:
            array.check_length()

    def column(self, path: str) -> NDArray[Any]:
        """Return a whole array that is one chunk, as a read-only view."""
        if path not in self._columns:
            column = self.array(path).whole()
            self._check_column(path, column)
            self._columns[path] = column
        return self._columns[path]

    def text(self, path: str, row: int) -> str:
        """Return one row of a text column, such as "images/key"."""
        start, end = self.column(f"{path}_offsets")[row : row + 2].tolist()
        encoded = self.column(f"{path}_bytes")[start:end].tobytes()
        try:
            return str(encoded, "utf-8")
        except UnicodeDecodeError as err:
            raise DamageError(
                f"{self._folder}/{path}_bytes is damaged: row {row} is no text ({err})"
            ) from err

    def expressions(self, mask: int) -> list[str]:
        """Return the phrases that refer to a mask."""
        first, last = np.searchsorted(self.column("expressions/mask"), [mask, mask + 1])
        return [self.text("expressions/text", row) for row in range(first, last)]

    def bytes_of(self, path: str, row: int) -> bytes:
        """Return one row of a column of bytes, such as "images/source"."""
        start, end = self.column(f"{path}_offsets")[row : row + 2].tolist()
        return self.array(f"{path}_bytes").slice(start, end).tobytes()

    def advise_pieces(self, path: str, kind: str, row: int) -> bool:
        """Ask the system to read a row of "bytes" or "runs" ahead of its use; return whether it is known to be in memory."""
        start, end = self.column(f"{path}_offsets")[row : row + 2].tolist()
        return self.array(f"{path}_{kind}").advise_slice(start, end)

    def damage(self, path: str, row: int, reason: str) -> DamageError:
        """Return the error that says of a row of an array what is wrong with it."""
        return DamageError(f"{self._folder}/{path} is damaged: row {row}: {reason}")

    def key(self, masks: Sequence[int]) -> str:
        """Return the id of the sample that these rows of masks are, one for each frame."""
        images = self.column("masks/image")
        frames = self.image_keys([images.item(mask) for mask in masks])
        return f"{frames}/{self.text('masks/object_id', masks[0])}"

    def image_keys(self, images: Sequence[int]) -> str:
        """Return the keys of the frames of a sample as one: they differ in the last step, "sav/sav_000001/00000+00016"."""
        first, *others = (self.text("images/key", image) for image in images)
        return "+".join([first, *(key.rpartition("/")[2] for key in others)])

    def sample_expressions(self, masks: Sequence[int]) -> list[str]:
        """Return the phrases of a sample: those of its first frame that has any."""
        if not self.rows["expressions"]:
            return []
        return next((found for mask in masks if (found := self.expressions(mask))), [])

    def _read_attributes(self, digest: str) -> dict[str, Any]:
        try:
            encoded = read_document(self._folder / "zarr.json", MAX_METADATA_BYTES)
        except FileNotFoundError as err:
            raise DamageError(f"{self._folder} is missing") from err
        except TooLargeError as err:
            raise DamageError(f"{self._folder}/zarr.json is damaged ({err.strerror})") from err
        except OSError as err:
            raise StoreError(f"can't read {self._folder}: {describe_limit(err) or err}") from err
        if sha256(encoded).hexdigest() != digest:
            raise DamageError(
                f"{self._folder} is not the part that the store's root lists: it was changed or swapped"
            )
        return parse_part_attributes(encoded, str(self._folder))

    def _open(self, spec: ArraySpec) -> MappedArray:
        name = shard_path(spec)
        path, listed, length = self._folder / name, self.files.get(name), self._length(spec)
        if not length:
            return MappedArray(path, spec, 0)
        if listed is None:
            raise DamageError(f"{path} is not listed by its part, expected {length} rows")
        content = self._read_file(path, spec, listed)
        return MappedArray(
            path,
            spec,
            length,
            check_rows=self._check_rows,
            # Tables are read once, and as a whole.
            huge_pages=self._huge_pages and not spec.is_whole,
            content=content,
        )

    def _read_file(self, path: Path, spec: ArraySpec, listed: Mapping[str, Any]) -> bytes | None:
        """Return the bytes of a file that is to be read rather than mapped, None where it is to be mapped."""
        expected: int = listed["bytes"]
        content = None
        try:
            if spec.is_whole and expected <= COPIED_BYTES:
                with open_binary(path) as file:
                    content = file.read(expected + 1)
            found = path.stat().st_size if content is None else len(content)
        except FileNotFoundError as err:
            raise DamageError(f"{path} is missing, expected {expected} bytes") from err
        except OSError as err:
            raise StoreError(f"can't read {path}: {describe_limit(err) or err}") from err
        if found != expected:
            raise DamageError(f"{path} has {found} bytes, expected {expected} bytes")
        return content

    def _check_column(self, path: str, column: NDArray[Any]) -> None:
        """Raise `DamageError` where numbers of a column lead out of what they point into."""
        if path.endswith("_offsets"):
            fault = bool(column[0] != 0 or (column[1:] < column[:-1]).any())
            wanted = "numbers that ascend from 0"
        elif path in _JOINS:
            length = self.rows[_JOINS[path]]
            fault = len(column) > 0 and not 0 <= int(column.min()) <= int(column.max()) < length
            wanted = f"rows 0 to {length - 1} of {_JOINS[path]}"
        elif path == "images/size":
            fault, wanted = bool((column < 1).any()), "sides of 1 pixel and more"
        else:
            return
        if fault:
            raise DamageError(f"{self._folder}/{path} is damaged: it holds other numbers than {wanted}")

    def _length(self, spec: ArraySpec) -> int:
        if spec.name.endswith("_offsets"):
            return self.rows[spec.table] + 1
        for ending in ("_bytes", "_runs"):
            if spec.name.endswith(ending):
                return int(self.column(spec.path.removesuffix(ending) + "_offsets")[-1])
        return self.rows[spec.table]


class RemoteTables(Part):
    """The columns of a part at a URL, each fetched when it is first asked for and kept in memory only.

    For orders and filters, which read a small column of every part: fetching whole parts for it would be fetching the
    store. Arguments and errors are those of `Part`, with the cache that knows the URL.
    """

    def __init__(self, cache: "PartCache", name: str, specs: Mapping[str, ArraySpec], digest: str) -> None:
        self._cache = cache
        self._name = name
        super().__init__(cache.folder / name, specs, digest)

    def _read_attributes(self, digest: str) -> dict[str, Any]:
        return parse_part_attributes(self._cache.read_metadata(self._name, digest), self._name)

    def _read_file(self, path: Path, spec: ArraySpec, listed: Mapping[str, Any]) -> bytes | None:
        file = path.relative_to(self._folder).as_posix()
        return self._cache.read_file(self._name, file, listed, self.rows)
