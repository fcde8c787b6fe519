"""Mask rules that look at all of a cell: by how much of it is covered, or by a filter's weights."""

from functools import lru_cache
from math import ceil, lcm
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageView, MaskView
from ..kernels.core import Cells
from .geometry import HALF, MaskPlacement, count_cells, place_mask
from .resample_weights import weigh


def cover(
    mask: NDArray[np.bool_], view: MaskView, over: ImageView, picture: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the cells of which at least half is covered, or else the most covered one, bool [height, width]."""
    rows, columns = measure_cells(view, over, mask.shape, picture)
    covered = _measure(mask, rows, columns)
    cells: NDArray[np.bool_] = 2 * covered >= rows.cell * columns.cell
    if not cells.any() and covered.any():
        cells.flat[int(covered.argmax())] = True
    return cells


def touch(
    mask: NDArray[np.bool_], view: MaskView, over: ImageView, picture: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the cells of which anything is covered, bool [height, width]."""
    return _measure(mask, *measure_cells(view, over, mask.shape, picture)) > 0


def half(
    mask: NDArray[np.bool_], view: MaskView, over: ImageView, picture: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the cells over one half under torch's antialiased bilinear filter, bool [height, width].

    The steps are those of torch's CPU kernels in double precision (UpSampleKernel.cpp, separable_upsample_generic_Nd): of
    a mask's values 0 and 1 first the width is resized, then the height, each sum one product after the other.
    """
    rows, columns = place_mask(view, over, mask.shape, picture)
    above = _find_windows(rows, np.flatnonzero(mask.any(axis=1)))
    beside = _find_windows(columns, np.flatnonzero(mask.any(axis=0)))
    cells = np.zeros((rows.size, columns.size), np.bool_)
    if above is not None and beside is not None:
        covered = mask[above.pixels, beside.pixels]
        narrow = _weigh_lines(np.ascontiguousarray(covered.T), beside)
        cells[above.cells, beside.cells] = _weigh_lines(np.ascontiguousarray(narrow.T), above) > 0.5
    return cells


@lru_cache(maxsize=1024)
def measure_cells(
    view: MaskView, over: ImageView, mask_size: tuple[int, int], picture: tuple[int, int]
) -> tuple[Cells, Cells]:
    """Return rows and columns of cells in the coarsest units, so that areas are exact; arguments as of `place_mask`.

    Areas stay below 2**53: the mask has at most 2**28 pixels, views have 2**24 each, and a canvas has 2**28.
    """
    rows, columns = place_mask(view, over, mask_size, picture)
    return _measure_axis(rows), _measure_axis(columns)


def _measure_axis(axis: MaskPlacement) -> Cells:
    scale, start = axis.pixels_per_cell, axis.start
    pixel = lcm(scale.denominator, start.denominator)
    return Cells(axis.length, axis.size, pixel, int(scale * pixel), int(start * pixel))


def _measure(mask: NDArray[np.bool_], rows: Cells, columns: Cells) -> NDArray[np.int64]:
    """Return how much of each cell is covered, in units of both axes, int64 [rows, columns]."""
    tall = _measure_lines(mask.astype(np.int64), rows)
    covered: NDArray[np.int64] = _measure_lines(np.ascontiguousarray(tall.T), columns).T
    return covered


def _measure_lines(lines: NDArray[np.int64], axis: Cells) -> NDArray[np.int64]:
    """Return the sums of lines over cells, by the share that a cell has of each, int64 [cells, N].

    From the sums of all before each border of two cells. They may wrap around; their differences don't.
    """
    borders = np.clip(axis.start + axis.cell * np.arange(axis.size + 1), 0, axis.pixel * axis.length)
    whole, part = borders // axis.pixel, borders % axis.pixel
    sums = np.zeros((axis.length + 1, lines.shape[1]), np.int64)
    np.cumsum(lines, axis=0, out=sums[1:])
    before: NDArray[np.int64] = axis.pixel * sums[whole]
    before += part[:, None] * lines[np.minimum(whole, axis.length - 1)]
    return np.diff(before, axis=0)


class _Windows(NamedTuple):
    """The cells of one axis whose windows reach a stretch of pixels, and what these weigh there."""

    cells: slice
    pixels: slice
    places: NDArray[np.int64]
    """int64 [cells, taps]: the pixels of each window, counted from the stretch's first."""
    weights: NDArray[np.float64]
    """float64 [cells, taps]; 0 beside the stretch, where nothing is covered."""


def _find_windows(axis: MaskPlacement, covered: NDArray[np.int64]) -> _Windows | None:
    """Return the windows of cells that reach the first to the last covered pixel; None where there is none."""
    shown = count_cells(axis, HALF)
    if not covered.size or not shown:
        return None
    begin, end = int(covered[0]), int(covered[-1]) + 1
    # As in `preprocess.tensors.nearest`: at another resolution than the image's the canvas begins a part of a pixel earlier.
    before = ceil(axis.before)
    moved = before - axis.before
    scale = float(axis.pixels_per_cell)
    center = scale * (np.arange(shown) + float(axis.skipped) + 0.5) + float(moved)
    first, weights = weigh(ceil(axis.canvas + moved), center, scale, "bilinear")
    first = first - before
    taps = weights.shape[1]
    start, stop = np.searchsorted(first, (begin - taps + 1, end))
    pixels = first[start:stop, None] + np.arange(taps) - begin
    inside = (pixels >= 0) & (pixels < end - begin)
    return _Windows(
        slice(int(start), int(stop)),
        slice(begin, end),
        np.clip(pixels, 0, end - begin - 1),
        np.where(inside, weights[start:stop], 0.0),
    )


def _weigh_lines(lines: NDArray[Any], windows: _Windows) -> NDArray[np.float64]:
    """Return the weighted sum of each window's lines, float64 [cells, N]."""
    sums = np.zeros((len(windows.places), lines.shape[1]))
    # To the same memory for each tap: new memory of such a size costs as much as the products.
    products = np.empty_like(sums)
    for place, weight in zip(windows.places.T, windows.weights.T, strict=True):
        np.multiply(lines[place], weight[:, None], out=products)
        sums += products
    return sums
