"""Masks made from run lengths directly: sampled or averaged on a grid, without a bitmap of their full size.

Every function gives exactly what its plain counterpart in `preprocess.decode.segmentation` and `preprocess.tensors.transforms` gives;
those remain the definition, and tests compare the two. Runs go down the columns, background first, and fill the mask
(cocodataset/cocoapi, common/maskApi.c); that is checked where runs are parsed, not here.

The result is stored by rows while runs go by columns. So 16 columns at a time are filled, each as a few long stretches,
and only the part of them that holds any coverage is transposed: most masks cover little of their image.

This module needs numba. It is imported only where the fast engine was asked for.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE_COLUMNS = 16
"""Columns that are filled before they are transposed: 16 bytes of each row are written at once."""

_U = np.uintp
_COLUMNS = np.uintp(TILE_COLUMNS)


class Grid(NamedTuple):
    """Pixels to sample, checked and prepared by `make_grid`."""

    height: int
    """Rows of the mask."""
    first_sample: NDArray[np.int64]
    """int64 [height + 1]: the first sample at or after each row of the mask."""
    columns: NDArray[np.int64]
    """int64 [N], ascending, within the mask."""


def make_grid(height: int, width: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Grid:
    """Return the grid of `rows` and `columns` of a mask of `height` x `width`; both ascending, both may repeat.

    Raises:
        ValueError: a position is outside of the mask, or they are not ascending.
    """
    for positions, length in ((rows, height), (columns, width)):
        # Compiled code would write outside of its arrays for such positions, without a word.
        if positions.size and not (
            positions[0] >= 0 and positions[-1] < length and bool((np.diff(positions) >= 0).all())
        ):
            raise ValueError(f"positions must be ascending within 0..{length - 1}")
    # Row r of the mask comes first at sample row first_sample[r]: a stretch of rows is a stretch of samples.
    return Grid(height, np.searchsorted(rows, np.arange(height + 1)), _read_only(columns))


def sample_grid(runs: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """Return the mask at a grid of pixels, as `Rle.sample` does; grids are worth keeping, images have few sizes.

    Args:
        runs: int64 [R], each >= 0, together as many as the grid's mask has pixels.
        grid: M rows and N columns of it.

    Returns:
        bool [M, N].
    """
    sampled = np.zeros((int(grid.first_sample[-1]), grid.columns.size), np.bool_)
    _sample(_read_only(runs), grid.height, grid.first_sample, grid.columns, sampled.view(np.uint8))
    return sampled


def cover_runs(
    runs: NDArray[np.int64],
    height: int,
    width: int,
    size: int,
) -> NDArray[np.bool_]:
    """Return the cells of which at least half is covered, or else the most covered one, if any is.

    Everything is counted in units of 1 / size of a pixel, in whole numbers: a cell has height x width of them.

    Args:
        runs: int64 [R], each >= 0, together height x width.
        height: rows of the mask.
        width: columns of the mask.
        size: cells along each side.

    Returns:
        bool [size, size].
    """
    cells = np.zeros((size, size), np.bool_)
    _cover(_read_only(runs), height, width, cells.view(np.uint8))
    return cells


def _read_only(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a contiguous view that numba sees as one type, whether the caller's array is writeable or not."""
    view = np.ascontiguousarray(array, np.int64).view()
    view.setflags(write=False)
    return view


@njit(cache=True, nogil=True)
def _sample(
    runs: NDArray[np.int64],
    height: int,
    first_sample: NDArray[np.int64],
    columns: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    num_rows, num_columns = out.shape
    tile = np.zeros(TILE_COLUMNS * num_rows, np.uint8)
    # The pair of runs (background, foreground) that reaches into the current column, and the pixel it starts at.
    pair, start = 0, 0
    for left in range(0, num_columns, TILE_COLUMNS):
        top, bottom = num_rows, 0
        for x in range(left, min(left + TILE_COLUMNS, num_columns)):
            head = columns[x] * height
            while pair + 1 < runs.size and start + runs[pair] + runs[pair + 1] <= head:
                start += runs[pair] + runs[pair + 1]
                pair += 2
            at, covered_from = pair, start
            while at + 1 < runs.size:
                covered_from += runs[at]
                if covered_from >= head + height:
                    break
                covered_to = covered_from + runs[at + 1]
                first = first_sample[max(covered_from - head, 0)]
                stop = first_sample[min(covered_to - head, height)]
                if first < stop:
                    line = (x - left) * num_rows
                    tile[line + first : line + stop] = 1
                    top, bottom = min(top, first), max(bottom, stop)
                at, covered_from = at + 2, covered_to
        if top < bottom:
            _transpose_tile(tile, _U(num_rows), _U(top), _U(bottom), _U(left), out)


@njit(cache=True, nogil=True)
def _cover(runs: NDArray[np.int64], height: int, width: int, out: NDArray[np.uint8]) -> None:
    size = out.shape[0]
    tile = np.zeros(TILE_COLUMNS * size, np.uint8)
    covered = np.empty(size, np.int64)
    most, most_row, most_column = 0, 0, 0
    pair, start = 0, 0
    for left in range(0, size, TILE_COLUMNS):
        top, bottom = size, 0
        for x in range(left, min(left + TILE_COLUMNS, size)):
            covered[:] = 0
            column = x * width // size
            while column * size < (x + 1) * width:
                head = column * height
                while pair + 1 < runs.size and start + runs[pair] + runs[pair + 1] <= head:
                    start += runs[pair] + runs[pair + 1]
                    pair += 2
                share = min((x + 1) * width, (column + 1) * size) - max(x * width, column * size)
                _cover_column(runs, pair, start, head, height, share, covered)
                column += 1
            for y in range(size):
                if covered[y] > most or (covered[y] == most and most > 0 and y < most_row):
                    most, most_row, most_column = covered[y], y, x
                if 2 * covered[y] >= height * width:
                    tile[(x - left) * size + y] = 1
                    top, bottom = min(top, y), max(bottom, y + 1)
        if top < bottom:
            _transpose_tile(tile, _U(size), _U(top), _U(bottom), _U(left), out)
    if most > 0 and 2 * most < height * width:
        out[most_row, most_column] = 1


@njit(cache=True, nogil=True)
def _cover_column(
    runs: NDArray[np.int64],
    at: int,
    start: int,
    head: int,
    height: int,
    share: int,
    covered: NDArray[np.int64],
) -> None:
    """Add what one column of the mask covers of each cell in a column of cells.

    Args:
        runs: int64 [R].
        at: the pair of runs that reaches into the column, which begins at pixel `start`.
        start: see `at`.
        head: the column's first pixel.
        height: the column's length.
        share: how much of the column's width lies in the cells, in units of 1 / size of a pixel.
        covered: int64 [size], to add to.
    """
    size = covered.size
    while at + 1 < runs.size and start + runs[at] < head + height:
        start += runs[at]
        first = max(start - head, 0) * size
        stop = min(start + runs[at + 1] - head, height) * size
        y = first // height
        while y * height < stop:
            covered[y] += share * (min(stop, (y + 1) * height) - max(first, y * height))
            y += 1
        start += runs[at + 1]
        at += 2


@njit(cache=True, nogil=True)
def _transpose_tile(
    tile: NDArray[np.uint8], num_rows: Any, top: Any, bottom: Any, left: Any, out: NDArray[np.uint8]
) -> None:
    """Move rows `top` to `bottom` of a tile, stored by columns, to `out` from column `left` on; clear the tile."""
    flat = out.reshape(-1)
    stride = _U(out.shape[1])
    if left + _COLUMNS <= stride:
        for y in range(top, bottom):
            for x in range(_COLUMNS):
                flat[y * stride + left + x] = tile[x * num_rows + y]
    else:
        for y in range(top, bottom):
            for x in range(stride - left):
                flat[y * stride + left + x] = tile[x * num_rows + y]
    for x in range(_COLUMNS):
        for y in range(top, bottom):
            tile[x * num_rows + y] = 0
