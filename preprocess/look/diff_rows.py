"""Rows of two stores that have the same keys, compared: pixels as they are stored, tables as numbers and texts."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.geometry import describe_size
from ...loader.format.layout import Table
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView, MaskView, shown_size
from ...loader.own_size import read_own_size
from ...loader.part import Part
from .differences import EXAMPLES, ColumnRows, MaskRows, PixelRows
from .matching import phrase_hashes, text_hashes

Rows: TypeAlias = NDArray[np.int64]
"""Of a table: int64 [N]."""


class ViewRows(NamedTuple):
    """The rows of a view, or the files of images, of both stores."""

    table: Table
    """What they belong to."""
    found: PixelRows | MaskRows | ColumnRows
    """What was counted so far."""
    read: tuple[Callable[[Part, int], Any], Callable[[Part, int], Any]]
    """Give a row of a part of A, and of B."""

    def compare(self, a: Part, b: Part, row_a: int, row_b: int) -> None:
        """Count a row of a part of A and the same thing's in one of B."""
        self.found.count(_key(self.table, a, row_a), self.read[0](a, row_a), self.read[1](b, row_b))


def _key(table: str, part: Part, row: int) -> str:
    """Return the key of a row: of an image, or of a mask."""
    return part.text("images/key", row) if table == "images" else part.key([row])


def open_rows(a: Store, b: Store) -> tuple[list[ViewRows], dict[str, str]]:
    """Return the rows that can be compared, and by the names of views why those of others can't."""
    found: list[ViewRows] = []
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
            forms = {view_a.stored == "float32", view_b.stored == "float32"}
            rows = PixelRows(name=name, unit="(normalised)" if forms == {True} else "levels")
            read = _pixels if len(forms) == 1 else _levels
            found.append(ViewRows("images", rows, (partial(read, name, view_a), partial(read, name, view_b))))
        elif isinstance(view_a, MaskView):
            reader = partial(_mask, name, view_a)
            found.append(ViewRows("masks", MaskRows(name=name), (reader, reader)))
    if "sources" in a.columns and "sources" in b.columns:
        found.append(ViewRows("images", ColumnRows(name="sources"), (_file, _file)))
    return found, uncompared


def _pixels(name: str, _: ImageView, part: Part, row: int) -> NDArray[Any]:
    return part.array(f"images/{name}").row(row)


def _levels(name: str, view: ImageView, part: Part, row: int) -> NDArray[np.uint8]:
    """Read a row as levels where one store has those and the other one normalised values; 0 beside a padded picture."""
    levels = _pixels(name, view, part, row)
    if levels.dtype == np.float32:
        levels = Norm.of(view).to_whole_levels(levels)
    if view.fit != "pad" or view.values != "normalized":
        return levels
    height, width = shown_size(view, *part.column("images/size")[row].tolist())
    shown = np.zeros_like(levels)
    shown[:, :height, :width] = levels[:, :height, :width]
    return shown


def _mask(name: str, view: MaskView, part: Part, row: int) -> NDArray[Any]:
    path = f"masks/{name}"
    if view.size == "own":
        return read_own_size(part, path, row).expand()
    if view.role == "prompt":
        return np.asarray(part.column(path)[row])
    return part.array(path).row(row)


def _file(part: Part, row: int) -> bytes:
    return part.bytes_of("images/source", row)


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

    def compare(self, part_a: Part, part_b: Part, rows: Mapping[str, tuple[Rows, Rows]]) -> None:
        """Compare, by the names of tables, rows of a part of A with those of the same things in one of B."""
        for path, read in self._readers.items():
            table, _, name = path.partition("/")
            rows_a, rows_b = rows[table]
            a, b = read(part_a, path)[rows_a], read(part_b, path)[rows_b]
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
                found.name_worst(_key(table, part_a, rows_a.item(place)), by.item(place))
