"""Which pixel the nearest filters take: Pillow's the one under a cell's middle, torch's the one at its top left.

Both round: where a cell's point falls on the border of two pixels, or close to it, rounding decides, so the steps of
either are repeated as they are. On a mask view that differs from its image view in size the same steps are taken, with a
scale that need not be a ratio of whole numbers. Torch rounds to single precision, as for masks of that precision.
"""

from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageView, MaskFilter, MaskView
from .geometry import HALF, MaskPlacement, count_cells, place_mask


class Taken(NamedTuple):
    """The cells of one axis that show a mask, and the pixel that each of them takes."""

    size: int
    """Cells of the view."""
    start: int
    """The first of these; the cells before it, and after the last, lie beside the mask."""
    pixels: NDArray[np.int64]
    """int64, ascending, within the mask; read-only, for it is shared."""

    @property
    def cells(self) -> slice:
        """The cells."""
        return slice(self.start, self.start + len(self.pixels))


@lru_cache(maxsize=1024)
def take_nearest(
    view: MaskView, over: ImageView, mask_size: tuple[int, int], picture: tuple[int, int]
) -> tuple[Taken, Taken]:
    """Return the rows and the columns of a mask that a nearest filter takes; arguments as of `place_mask`."""
    rows, columns = place_mask(view, over, mask_size, picture)
    return _take(rows, view.filter), _take(columns, view.filter)


def _take(axis: MaskPlacement, mask_filter: MaskFilter) -> Taken:
    find, point = (_pillow_points, HALF) if mask_filter == "pillow-nearest" else (_torch_points, 0 * HALF)
    # Pixels of the canvas are those of the mask, moved by whole ones. At another resolution than the image's the mask need
    # not begin with one of the canvas's pixels: then the canvas begins a part of a pixel earlier.
    before = ceil(axis.before)
    moved = before - axis.before
    last = ceil(axis.canvas + moved) - 1
    pixels = np.minimum((find(axis) + float(moved)).astype(np.int64), last) - before
    pixels = pixels[: count_cells(axis, point)]
    start, stop = np.searchsorted(pixels, (0, axis.length))
    taken = pixels[start:stop]
    taken.setflags(write=False)
    return Taken(axis.size, int(start), taken)


def spread(sampled: NDArray[np.bool_], rows: Taken, columns: Taken) -> NDArray[np.bool_]:
    """Return the view that has `sampled` in the cells that show the mask, and 0 beside them, bool [height, width]."""
    if sampled.shape == (rows.size, columns.size):
        return sampled
    view = np.zeros((rows.size, columns.size), np.bool_)
    view[rows.cells, columns.cells] = sampled
    return view


def pillow_positions(length: int, size: int) -> NDArray[np.int64]:
    """Return the pixels that Pillow's NEAREST takes when it resizes `length` pixels to `size`, int64 [size]."""
    return np.minimum(_pillow_steps(length / size, 0.5, size).astype(np.int64), length - 1)


def _pillow_points(axis: MaskPlacement) -> NDArray[np.float64]:
    """Return where Pillow looks, in pixels of the canvas: it begins with the cells that are cut off."""
    skipped, phase = divmod(axis.skipped, 1)
    steps = _pillow_steps(float(axis.pixels_per_cell), 0.5 + float(phase), int(skipped) + axis.size)
    return steps[int(skipped) :]


def _pillow_steps(step: float, start: float, count: int) -> NDArray[np.float64]:
    """Return points a step apart, the first of them `start` steps from the edge, float64 [count].

    Pillow walks along a row by adding up length / size in double precision (ImagingScaleAffine in its Geometry.c).
    """
    steps = np.full(count, step)
    steps[0] = step * start
    return np.add.accumulate(steps)


def _torch_points(axis: MaskPlacement) -> NDArray[np.float64]:
    """Return where torch looks, in pixels of the canvas.

    It computes the scale and the product in single precision (nearest_neighbor_compute_source_index).
    """
    cells = np.arange(axis.size, dtype=np.float32) + np.float32(float(axis.skipped))
    return (cells * np.float32(float(axis.pixels_per_cell))).astype(np.float64)
