"""What lies over a picture of a view: outlines of masks and cells of prompts, as pixels. numpy only.

A mask is laid over a view by what both show of the original picture, so that one that lies wrong is seen to.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from .format.geometry import Axes

COLOURS = (
    (60, 220, 255),
    (255, 176, 0),
    (240, 228, 66),
    (0, 190, 140),
    (230, 110, 40),
    (220, 140, 190),
    (60, 140, 230),
)
"""Of objects, in their order: told apart by the colour-blind, as those of Okabe and Ito are, and none of them dark. The first is rare in pictures."""

EDGE = (16, 16, 16)
"""Of the line around an outline, by which it is seen on bright pictures, too."""

CELL_SHARE = 0.45
"""How much of a prompt's cell is colour, and not picture."""

LEAST_CELL = 5
"""Pixels along a cell from which on neighbours are drawn apart."""


def lay_over(mask: NDArray[np.bool_], seen: Axes, of_mask: Axes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask, bool [H, W], as it lies over a view, which is drawn in a size: height and width in pixels.

    A pixel is set where any of what it covers is, so that the smallest object is seen. `seen` is what the view shows of the
    original picture, `of_mask` what the mask shows of it.
    """
    laid = mask
    # The mask's longer side first: it shrinks, where the shorter one may grow beside a line of millions of pixels.
    for axis in sorted((0, 1), key=lambda axis: -mask.shape[axis]):
        of_view, own, length = seen[axis], of_mask[axis], size[axis]
        # Where in the mask the borders of the drawn pixels lie.
        first, last = own.place(of_view.start), own.place(of_view.start + of_view.size * of_view.step)
        edges = np.linspace(float(first), float(last), length + 1)
        # What was computed may miss a whole number by a rounding.
        starts = np.floor(edges[:-1] + 1e-6).astype(np.int64)
        stop = min(max(ceil(edges[-1] - 1e-6), 0), mask.shape[axis])
        is_inside = (starts >= 0) & (starts < stop)
        shape = list(laid.shape)
        shape[axis] = length
        spread = np.zeros(shape, np.bool_)
        if is_inside.any():
            along = (slice(None),) * axis
            covered = laid[(*along, slice(stop))]
            spread[(*along, is_inside)] = np.logical_or.reduceat(covered, starts[is_inside], axis)
        laid = spread
    return laid


def fill_cells(pixels: NDArray[np.uint8], cells: Sequence[NDArray[np.bool_]], grid: tuple[int, int]) -> None:
    """Colour a prompt's cells in a picture, uint8 [H, W, 3], which shows through, and between them.

    Cells are those of each object, as it lies over the picture, bool [H, W]; the grid says how many there are, down and across.
    """
    is_gap = np.zeros(pixels.shape[:2], np.bool_)
    for axis, count in enumerate(grid):
        length = pixels.shape[axis]
        if length >= LEAST_CELL * count:
            borders = np.arange(1, count) * length // count
            is_gap[(slice(None),) * axis + (borders,)] = True
    for number, laid in enumerate(cells):
        filled = laid & ~is_gap
        colour = np.array(COLOURS[number % len(COLOURS)])
        pixels[filled] = np.rint((1 - CELL_SHARE) * pixels[filled] + CELL_SHARE * colour)


def draw_outlines(pixels: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> None:
    """Draw a line in each object's colour just inside of its mask, and a dark one just outside, into a picture, uint8 [H, W, 3]."""
    by = max(1, round(min(pixels.shape[:2]) / 200))
    for mask in masks:
        pixels[_grown(mask, by) & ~mask] = EDGE
    for number, mask in enumerate(masks):
        pixels[mask & _grown(~mask, by, beyond=True)] = COLOURS[number % len(COLOURS)]


def _grown(mask: NDArray[np.bool_], by: int, *, beyond: bool = False) -> NDArray[np.bool_]:
    """Return what lies within some pixels of a mask; `beyond` is whether what is beside the picture belongs to it."""
    grown: NDArray[np.bool_] = np.pad(mask, by, constant_values=beyond)
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(grown, 2 * by + 1, axis)
        grown = np.logical_or.reduce(windows, axis=-1)
    return grown
