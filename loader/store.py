"""A store: its parts, their tables, and the way from a sample's number to its rows. numpy only."""

import operator
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loader.arrays import MappedArray
from loader.tensors import TENSORS, TensorShapes, check_tensors
from preprocess.errors import StoreError
from preprocess.layout import (
    ArraySpec,
    Table,
    TensorSizes,
    array_specs,
    read_attributes,
    read_part_attributes,
)

MAX_OPEN_PARTS = 1024
"""How many parts stay mapped: a process may hold 65,530 maps, and reading batches needs about 12 of a part."""


class Part:
    """One part: its arrays by path, such as "images/pixel_values", mapped when they are first asked for.

    Raises:
        StoreError: the part is missing, or not the one that the store's root lists.
    """

    def __init__(
        self, folder: Path, specs: Mapping[str, ArraySpec], digest: str, *, check_rows: bool
    ) -> None:
        self._folder = folder
        self._specs = specs
        self._check_rows = check_rows
        try:
            attributes, found = read_part_attributes(folder)
        except FileNotFoundError as err:
            raise StoreError(f"{folder} is missing: convert again to make it") from err
        if found != digest:
            raise StoreError(
                f"{folder} is not the part that the store's root lists: it was changed or swapped; convert again"
            )
        self.rows: dict[Table, int] = attributes["rows"]
        self._files = attributes["files"]
        self._arrays: dict[str, MappedArray] = {}
        self._columns: dict[str, NDArray[Any]] = {}

    def array(self, path: str) -> MappedArray:
        """Return an array."""
        if path not in self._arrays:
            self._arrays[path] = self._open(self._specs[path])
        return self._arrays[path]

    def column(self, path: str) -> NDArray[Any]:
        """Return a whole array that is one chunk, as a read-only view."""
        if path not in self._columns:
            self._columns[path] = self.array(path).whole()
        return self._columns[path]

    def text(self, path: str, row: int) -> str:
        """Return one row of a text column, such as "images/key"."""
        start, end = self.column(f"{path}_offsets")[row : row + 2]
        return str(self.column(f"{path}_bytes")[start:end].tobytes(), "utf-8")

    def expressions(self, mask: int) -> list[str]:
        """Return the phrases that refer to a mask."""
        first, last = np.searchsorted(self.column("expressions/mask"), [mask, mask + 1])
        return [self.text("expressions/text", row) for row in range(first, last)]

    def key(self, masks: Sequence[int]) -> str:
        """Return the id of the sample that these rows of masks are, one for each frame."""
        images = self.column("masks/image")
        first, *others = (self.text("images/key", images[mask]) for mask in masks)
        # The frames of a pair differ in the last step of their keys: "sav/sav_000001/00000+00016/manual-0".
        frames = "+".join([first, *(key.rpartition("/")[2] for key in others)])
        return f"{frames}/{self.text('masks/object_id', masks[0])}"

    def sample_expressions(self, masks: Sequence[int]) -> list[str]:
        """Return the phrases of a sample: those of its first frame that has any."""
        if not self.rows["expressions"]:
            return []
        return next((found for mask in masks if (found := self.expressions(mask))), [])

    def _open(self, spec: ArraySpec) -> MappedArray:
        name = "/".join([spec.path, "c", *["0"] * (1 + len(spec.row_shape))])
        listed = self._files.get(name)
        path = self._folder / name
        if listed is None:
            return MappedArray(path, spec, 0)
        if not path.exists() or path.stat().st_size != listed["bytes"]:
            found = f"has {path.stat().st_size} bytes" if path.exists() else "is missing"
            raise StoreError(
                f"{path} {found}, expected {listed['bytes']} bytes: convert again to make the part anew"
            )
        return MappedArray(path, spec, self._length(spec), check_rows=self._check_rows)

    def _length(self, spec: ArraySpec) -> int:
        if spec.name.endswith("_offsets"):
            return self.rows[spec.table] + 1
        if spec.name.endswith("_bytes"):
            return int(self.column(spec.path.removesuffix("_bytes") + "_offsets")[-1])
        return self.rows[spec.table]


class Store:
    """A store, read by sample number.

    Opening reads one small file; parts are mapped when they are first read, in each process for itself.

    Args:
        path: the store's folder.
        check_rows: whether each row's checksum is compared whenever it is read (about 0.15 ms a sample).

    Raises:
        StoreError: the store is missing, unfinished or damaged.
        FormatVersionError: it is of a format version this one does not read.
    """

    def __init__(self, path: str | Path, *, check_rows: bool = False) -> None:
        # Absolute: workers, and whoever changes the working folder, mean the same store.
        self.path = Path(path).expanduser().absolute()
        self.attributes = read_attributes(self.path)
        self._check_rows = check_rows
        try:
            self._read_root(self.attributes)
        except (KeyError, TypeError, ValueError) as err:
            raise StoreError(f"{self.path / 'zarr.json'} is damaged: {err!r}; convert again") from err
        self._open_parts: OrderedDict[int, Part] = OrderedDict()

    def _read_root(self, attributes: Mapping[str, Any]) -> None:
        recipe = attributes["recipe"]
        sizes = TensorSizes(
            **{tensor: recipe[tensor]["size"] for tensor in TENSORS},
            pixel_values_dtype=recipe["pixel_values"]["stored"],
        )
        self.dataset_type: str = attributes["dataset_type"]
        self.paired: bool = attributes["paired"]
        """Whether samples are pairs of frames."""
        self.has_expressions: bool = attributes["totals"]["expressions"] > 0
        self.shapes = TensorShapes.of(sizes)
        self._specs = {spec.path: spec for spec in array_specs(sizes, 2 if self.paired else 1)}
        self._parts: list[tuple[str, str]] = [(part["name"], part["sha256"]) for part in attributes["parts"]]
        counts = [part["rows"]["samples"] for part in attributes["parts"]]
        self._sample_ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of samples."""
        return int(self._sample_ends[-1]) if len(self._sample_ends) else 0

    def __repr__(self) -> str:
        kind = "pairs" if self.paired else "samples"
        return (
            f"Store({str(self.path)!r}, {self.dataset_type}, {len(self):,} {kind}, {len(self._parts)} parts)"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Maps belong to a process: another one opens its own.
        return self.__dict__ | {"_open_parts": OrderedDict()}

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of tensors end with, one for each frame of a sample: "1" and "2" for pairs, else nothing."""
        return ("1", "2") if self.paired else ("",)

    def part(self, number: int) -> Part:
        """Return one part."""
        part = self._open_parts.get(number)
        if part is None:
            part = self._open_parts[number] = self.open_part(number)
            if len(self._open_parts) > MAX_OPEN_PARTS:
                self._open_parts.popitem(last=False)
        else:
            self._open_parts.move_to_end(number)
        return part

    def open_part(self, number: int) -> Part:
        """Return one part, opened anew and not kept: for going through all parts once."""
        name, digest = self._parts[number]
        return Part(self.path / name, self._specs, digest, check_rows=self._check_rows)

    def locate(self, sample: int) -> tuple[Part, NDArray[np.int64]]:
        """Return the part of a sample and the rows of its masks there, one for each frame.

        Raises:
            IndexError: there is no such sample.
            TypeError: it is no whole number.
        """
        sample = operator.index(sample)
        count = len(self)
        if not -count <= sample < count:
            raise IndexError(f"sample {sample} of a store of {count} samples")
        sample %= count
        number = int(np.searchsorted(self._sample_ends, sample, side="right"))
        first = int(self._sample_ends[number - 1]) if number else 0
        part = self.part(number)
        return part, part.column("samples/mask")[sample - first]

    def key(self, sample: int) -> str:
        """Return a sample's stable, human-readable id, such as "refcoco/581857/1719310"."""
        part, masks = self.locate(sample)
        return part.key(masks.tolist())

    def expressions(self, sample: int) -> list[str]:
        """Return the phrases that refer to a sample's object."""
        part, masks = self.locate(sample)
        return part.sample_expressions(masks.tolist())

    def __getitem__(self, sample: int) -> dict[str, Any]:
        """Return one sample as numpy arrays, with the keys, dtypes and values of the batch.

        Raises:
            IndexError: there is no such sample.
            SampleError: it can't be read.
        """
        batch = self.batch([sample])
        return {
            key: value if key in ("dataset_type", "has_paired_frame") else value[0]
            for key, value in batch.items()
        }

    def batch(self, samples: Sequence[int], tensors: Sequence[str] = TENSORS) -> dict[str, Any]:
        """Return samples as one batch of new numpy arrays.

        Args:
            samples: their numbers.
            tensors: which of the four to read.

        Raises:
            IndexError: there is no such sample.
            SampleError: one can't be read.
        """
        from loader.filling import fill_batch

        check_tensors(tensors)
        if not len(samples):
            raise IndexError("a batch has at least one sample")
        layout = self.array_layout(len(samples), tensors)
        arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in layout.items()}
        return arrays | fill_batch([(self, sample) for sample in samples], arrays)

    def array_layout(
        self, num_samples: int, tensors: Sequence[str], *, compact: bool = False
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape and dtype of each array of a batch, by its name with suffix."""
        if compact:
            stored = self.attributes["recipe"]["pixel_values"]["stored"]
            forms = {tensor: self.shapes.compact(tensor, stored) for tensor in tensors}
        else:
            forms = {tensor: (self.shapes[tensor], self.shapes.dtype(tensor)) for tensor in tensors}
        return {
            f"{tensor}{suffix}": ((num_samples, *shape), dtype)
            for suffix in self.suffixes
            for tensor, (shape, dtype) in forms.items()
        }
