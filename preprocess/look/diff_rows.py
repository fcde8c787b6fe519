"""Rows of two stores that have the same keys, compared: pixels as they are stored, tables as numbers and texts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.geometry import describe_size
from ...loader.format.layout import Table, view_path
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView, MaskView, View, shown_size
from ...loader.own_size import read_own_size
from ...loader.part import Part
from .differences import EXAMPLES, ColumnRows, MaskRows, PixelRows
from .matching import phrase_hashes, text_hashes

RowPairs = Iterable[tuple[int, int]]
"""Rows of a table in one part and of the same things in another one."""


Rows: TypeAlias = NDArray[np.int64]
"""Of a table: int64 [N]."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A part of each store."""

    a: Part
    b: Part

    def key(self, table: Table, row: int) -> str:
        """Return the key of a row of A: of an image, or of a mask."""
        return self.a.text("images/key", row) if table == "images" else self.a.key([row])


def why_not(a: View | None, b: View | None) -> str | None:
    """Return why the rows of two views of one name can't be compared, None where they can."""
    if a is None or b is None:
        return f"only {'B' if a is None else 'A'} has it"
    if type(a) is not type(b):
        return f"{_kind(a)} in A, {_kind(b)} in B"
    if a.size != b.size:
        return " in A, ".join(describe_size(view, "its own size") for view in (a, b)) + " in B"
    return None


def _kind(view: View) -> str:
    return "an image" if isinstance(view, ImageView) else "a mask"


class ViewRows:
    """Compares the rows of a view of two recipes, between which `why_not` finds nothing.

    Args:
        name: of the view.
        a: the view in one recipe.
        b: the same in the other one.
    """

    def __init__(self, name: str, a: View, b: View) -> None:
        self._views = a, b
        self._path = view_path(name, a)
        self.table: Table = "images" if isinstance(a, ImageView) else "masks"
        """What its rows belong to."""
        self.found: PixelRows | MaskRows
        """What was counted so far."""
        if isinstance(a, ImageView):
            both = [view.stored for view in self._views if isinstance(view, ImageView)]
            self.found = PixelRows(name=name, unit="(normalised)" if both == ["float32"] * 2 else "levels")
        else:
            self.found = MaskRows(name=name)

    def compare(self, parts: Parts, rows: RowPairs) -> None:
        """Compare rows of the view's table."""
        for row_a, row_b in rows:
            if isinstance(self.found, PixelRows):
                self._compare_pixels(self.found, parts, row_a, row_b)
            else:
                self._compare_masks(self.found, parts, row_a, row_b)

    def _compare_pixels(self, found: PixelRows, parts: Parts, row_a: int, row_b: int) -> None:
        view = self._views[0]
        assert isinstance(view, ImageView)
        found.compared += 1
        found.values += 3 * view.size[0] * view.size[1]
        a, b = parts.a.array(self._path).row(row_a), parts.b.array(self._path).row(row_b)
        if a.dtype != b.dtype:
            a, b = self._levels(0, parts.a, a, row_a), self._levels(1, parts.b, b, row_b)
        if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            return
        with np.errstate(invalid="ignore"):
            # What is no number in one of them is as far from the other as can be.
            difference = np.nan_to_num(np.maximum(a, b) - np.minimum(a, b), nan=np.inf)
        largest = float(difference.max())
        found.changed += int(np.count_nonzero(difference))
        found.total += float(difference.sum(dtype=np.float64))
        found.largest = max(found.largest, largest)
        found.add(parts.key("images", row_a), largest)

    def _levels(self, side: int, part: Part, row: NDArray[Any], number: int) -> NDArray[np.uint8]:
        """Return a row as levels where one store has those and the other one normalised values; 0 beside a padded picture."""
        view = self._views[side]
        assert isinstance(view, ImageView)
        if row.dtype == np.float32:
            row = Norm.of(view).to_whole_levels(row)
        if view.fit != "pad" or view.values != "normalized":
            return row
        height, width = shown_size(view, *part.column("images/size")[number].tolist())
        shown = np.zeros_like(row)
        shown[:, :height, :width] = row[:, :height, :width]
        return shown

    def _compare_masks(self, found: MaskRows, parts: Parts, row_a: int, row_b: int) -> None:
        view = self._views[0]
        assert isinstance(view, MaskView)
        found.compared += 1
        a, b = _mask(parts.a, self._path, view, row_a), _mask(parts.b, self._path, view, row_b)
        if a.shape != b.shape:
            found.other_sizes += 1
            found.add(parts.key("masks", row_a), 1.0)
            return
        found.pixels += a.size
        changed = int(np.count_nonzero(a != b))
        if not changed:
            return
        overlap = int(np.count_nonzero(a & b)) / int(np.count_nonzero(a | b))
        found.changed += changed
        found.overlaps += overlap
        found.add(parts.key("masks", row_a), 1.0 - overlap)


def _mask(part: Part, path: str, view: MaskView, row: int) -> NDArray[np.bool_]:
    if view.size == "own":
        return read_own_size(part, path, row).expand()
    mask: NDArray[np.bool_] = part.column(path)[row] if view.role == "prompt" else part.array(path).row(row)
    return mask


class ColumnSet:
    """Compares what the tables of two stores say of images and masks.

    Args:
        a: one store.
        b: the other.
    """

    def __init__(self, a: Store, b: Store) -> None:
        self._has_boxes = "boxes" in a.columns and "boxes" in b.columns
        self._has_prompt = a.recipe.prompt is not None and b.recipe.prompt is not None
        self._has_phrases = a.has_expressions or b.has_expressions
        self.found: dict[str, ColumnRows] = {}
        """What was counted so far, by the names of the columns."""

    def compare_images(self, parts: Parts, rows_a: Rows, rows_b: Rows) -> None:
        """Compare rows of the images: those of the same images in both."""
        self._numbers(("size", "time"), "images", parts, rows_a, rows_b)
        paths = [text_hashes(part, "images/path") for part in (parts.a, parts.b)]
        self._texts("path", "images", parts, rows_a, rows_b, paths)

    def compare_masks(self, parts: Parts, rows_a: Rows, rows_b: Rows) -> None:
        """Compare rows of the masks, likewise."""
        asked = {"area": True, "prompt_cells": self._has_prompt, "box": self._has_boxes}
        self._numbers([name for name, is_there in asked.items() if is_there], "masks", parts, rows_a, rows_b)
        categories = [text_hashes(part, "masks/category") for part in (parts.a, parts.b)]
        self._texts("category", "masks", parts, rows_a, rows_b, categories)
        if self._has_phrases:
            phrases = [phrase_hashes(part) for part in (parts.a, parts.b)]
            self._texts("expressions", "masks", parts, rows_a, rows_b, phrases)

    def _numbers(self, names: Sequence[str], table: Table, parts: Parts, rows_a: Rows, rows_b: Rows) -> None:
        for name in names:
            a = parts.a.column(f"{table}/{name}")[rows_a]
            b = parts.b.column(f"{table}/{name}")[rows_b]
            with np.errstate(invalid="ignore"):
                values = np.nan_to_num(np.abs(a.astype(np.float64) - b.astype(np.float64)), nan=np.inf)
            by = np.where(a == b, 0.0, values).max(axis=tuple(range(1, a.ndim)), initial=0)
            found = self._add(name, by, lambda place: parts.key(table, rows_a.item(place)))
            found.largest = max(found.largest or 0.0, float(by.max(initial=0)))

    def _texts(
        self,
        name: str,
        table: Table,
        parts: Parts,
        rows_a: Rows,
        rows_b: Rows,
        hashes: list[NDArray[np.uint64]],
    ) -> None:
        differs = (hashes[0][rows_a] != hashes[1][rows_b]).astype(np.float64)
        self._add(name, differs, lambda place: parts.key(table, rows_a.item(place)))

    def _add(self, name: str, by: NDArray[np.float64], key_of: Callable[[int], str]) -> ColumnRows:
        found = self.found.setdefault(name, ColumnRows(name=name))
        places = np.flatnonzero(by)
        found.compared += len(by)
        found.differing += len(places)
        for place in places[np.argsort(-by[places], kind="stable")[:EXAMPLES]].tolist():
            found.name_worst(key_of(place), by.item(place))
        return found
