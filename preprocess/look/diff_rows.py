"""Rows of two stores that have the same keys, compared: pixels as they are stored, tables as numbers and texts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.geometry import describe_size
from ...loader.format.layout import Table, view_path
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView, MaskView, shown_size
from ...loader.own_size import read_own_size
from ...loader.part import Part
from .differences import EXAMPLES, ColumnRows, MaskRows, PixelRows
from .matching import phrase_hashes, text_hashes

Rows: TypeAlias = NDArray[np.int64]
"""Of a table: int64 [N]."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A part of each store."""

    a: Part
    b: Part


class PixelsOf:
    """Compares rows of an image view that two recipes have in one size."""

    table: Table = "images"

    def __init__(self, name: str, a: ImageView, b: ImageView) -> None:
        self._views = a, b
        self._path = view_path(name, a)
        unit = "(normalised)" if a.stored == b.stored == "float32" else "levels"
        self.found = PixelRows(name=name, unit=unit)

    def compare(self, parts: Parts, row_a: int, row_b: int) -> None:
        """Compare a row of A with one of B."""
        found, (view_a, view_b) = self.found, self._views
        a, b = parts.a.array(self._path).row(row_a), parts.b.array(self._path).row(row_b)
        found.compared += 1
        found.values += a.size
        if a.dtype != b.dtype:
            a, b = _levels(view_a, parts.a, a, row_a), _levels(view_b, parts.b, b, row_b)
        if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            return
        with np.errstate(invalid="ignore"):
            # What is no number in one of them is as far from the other as can be.
            difference = np.nan_to_num(np.maximum(a, b) - np.minimum(a, b), nan=np.inf)
        largest = float(difference.max())
        found.changed += int(np.count_nonzero(difference))
        found.total += float(difference.sum(dtype=np.float64))
        found.largest = max(found.largest, largest)
        found.add(parts.a.text("images/key", row_a), largest)


def _levels(view: ImageView, part: Part, row: NDArray[Any], number: int) -> NDArray[np.uint8]:
    """Return a row as levels where one store has those and the other one normalised values; 0 beside a padded picture."""
    if row.dtype == np.float32:
        row = Norm.of(view).to_whole_levels(row)
    if view.fit != "pad" or view.values != "normalized":
        return row
    height, width = shown_size(view, *part.column("images/size")[number].tolist())
    shown = np.zeros_like(row)
    shown[:, :height, :width] = row[:, :height, :width]
    return shown


class MasksOf:
    """Compares rows of a mask view that two recipes have in one size, or each mask in its own."""

    table: Table = "masks"

    def __init__(self, name: str, view: MaskView) -> None:
        self._view = view
        self._path = view_path(name, view)
        self.found = MaskRows(name=name)

    def compare(self, parts: Parts, row_a: int, row_b: int) -> None:
        """Compare a row of A with one of B."""
        found, a, b = self.found, self._read(parts.a, row_a), self._read(parts.b, row_b)
        found.compared += 1
        if a.shape != b.shape:
            found.other_sizes += 1
            found.add(parts.a.key([row_a]), 1.0)
            return
        found.pixels += a.size
        changed = int(np.count_nonzero(a != b))
        if not changed:
            return
        overlap = int(np.count_nonzero(a & b)) / int(np.count_nonzero(a | b))
        found.changed += changed
        found.overlaps += overlap
        found.add(parts.a.key([row_a]), 1.0 - overlap)

    def _read(self, part: Part, row: int) -> NDArray[np.bool_]:
        if self._view.size == "own":
            return read_own_size(part, self._path, row).expand()
        if self._view.role == "prompt":
            return np.asarray(part.column(self._path)[row])
        return part.array(self._path).row(row)


class KeptFiles:
    """Compares the files that two stores keep of their images."""

    table: Table = "images"

    def __init__(self) -> None:
        self.found = ColumnRows(name="sources")

    def compare(self, parts: Parts, row_a: int, row_b: int) -> None:
        """Compare the file of an image of A with that of one of B."""
        self.found.compared += 1
        if parts.a.bytes_of("images/source", row_a) != parts.b.bytes_of("images/source", row_b):
            self.found.add(parts.a.text("images/key", row_a), 1.0)


def open_rows(a: Store, b: Store) -> tuple[list[PixelsOf | MasksOf | KeptFiles], dict[str, str]]:
    """Return what compares rows of two stores; and by the names of views why those of others can't be compared."""
    found: list[PixelsOf | MasksOf | KeptFiles] = []
    uncompared = {}
    for name in a.recipe.views | b.recipe.views:
        views = view_a, view_b = a.recipe.views.get(name), b.recipe.views.get(name)
        if view_a is None or view_b is None:
            uncompared[name] = f"only {'B' if view_a is None else 'A'} has it"
        elif type(view_a) is not type(view_b):
            kinds = ["an image" if isinstance(view, ImageView) else "a mask" for view in views]
            uncompared[name] = f"{kinds[0]} in A, {kinds[1]} in B"
        elif view_a.size != view_b.size:
            sizes = [describe_size(view, "its own size") for view in (view_a, view_b)]
            uncompared[name] = f"{sizes[0]} in A, {sizes[1]} in B"
        elif isinstance(view_a, ImageView) and isinstance(view_b, ImageView):
            found.append(PixelsOf(name, view_a, view_b))
        elif isinstance(view_a, MaskView):
            found.append(MasksOf(name, view_a))
    if "sources" in a.columns and "sources" in b.columns:
        found.append(KeptFiles())
    return found, uncompared


def _phrases(part: Part, _: str) -> NDArray[np.uint64]:
    return phrase_hashes(part)


class ColumnSet:
    """Compares what the tables of two stores say of images and masks."""

    def __init__(self, a: Store, b: Store) -> None:
        readers: dict[str, Callable[[Part, str], NDArray[Any]] | None] = {
            "images/size": Part.column,
            "images/time": Part.column,
            "images/path": text_hashes,
            "masks/area": Part.column,
            "masks/prompt_cells": Part.column if a.recipe.prompt and b.recipe.prompt else None,
            "masks/box": Part.column if "boxes" in a.columns and "boxes" in b.columns else None,
            "masks/category": text_hashes,
            "masks/expressions": _phrases if a.has_expressions or b.has_expressions else None,
        }
        self._readers = {path: read for path, read in readers.items() if read is not None}
        self.found: dict[str, ColumnRows] = {}
        """What was counted so far, by the names of the columns."""

    def compare(self, parts: Parts, rows: Mapping[str, tuple[Rows, Rows]]) -> None:
        """Compare, by the names of tables, rows of A with the rows of the same things in B."""
        for path, read in self._readers.items():
            table, _, name = path.partition("/")
            rows_a, rows_b = rows[table]
            a, b = read(parts.a, path)[rows_a], read(parts.b, path)[rows_b]
            found = self.found.setdefault(name, ColumnRows(name=name))
            by = (a != b).astype(np.float64)
            if read is Part.column:
                with np.errstate(invalid="ignore"):
                    far = np.nan_to_num(np.abs(a.astype(np.float64) - b.astype(np.float64)), nan=np.inf)
                by = np.where(a == b, 0.0, far).max(axis=tuple(range(1, a.ndim)), initial=0)
                found.largest = max(found.largest or 0.0, float(by.max(initial=0)))
            places = np.flatnonzero(by)
            found.compared += len(by)
            found.differing += len(places)
            for place in places[np.argsort(-by[places], kind="stable")[:EXAMPLES]].tolist():
                row = rows_a.item(place)
                key = parts.a.text("images/key", row) if table == "images" else parts.a.key([row])
                found.name_worst(key, by.item(place))
