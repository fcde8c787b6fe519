"""Where a view has its picture: what lies around the picture, what that is resized to, what of it is kept.

Images: the picture is put on a canvas, the canvas is resized, and the view is cut out of that. For most fits the canvas
is the picture itself, and for most nothing is cut off (`place_image`).

Masks: the same in exact fractions (`place_mask`), since a mask may have another resolution than its image, and its view
another size than the image's view. Where both are the same, the fractions are whole numbers, and a mask goes through the very
operation that its image goes through, at the mask's own filter. What lies beside the picture is 0.
"""

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from ...loader.format.recipe import ImageView, MaskView, shown_size
from ..errors import RecordError

HALF = Fraction(1, 2)

MAX_CANVAS_PIXELS = 1 << 28
"""Most pixels of a canvas, and of what it is resized to before a crop: no more than a mask may have."""


class Placement(NamedTuple):
    """One axis of an image view, in pixels."""

    before: int
    """Of the canvas before the picture."""
    canvas: int
    """Of the canvas."""
    resized: int
    """What the canvas is resized to."""
    skipped: int
    """Of these, what is cut off before the view."""
    shown: int
    """Of these, what the view has; from there on it is padded."""


class MaskPlacement(NamedTuple):
    """One axis of a mask view: a mask of `length` pixels becomes `size` cells."""

    length: int
    size: int
    before: Fraction
    """Of the canvas before the mask, in its pixels."""
    canvas: Fraction
    """Of the canvas, in pixels of the mask."""
    resized: Fraction
    """How many cells the canvas becomes."""
    skipped: Fraction
    """How many of them are cut off before the view."""

    @property
    def pixels_per_cell(self) -> Fraction:
        """How many pixels of the mask a cell has."""
        return self.canvas / self.resized

    @property
    def start(self) -> Fraction:
        """Where the first cell begins, in pixels of the mask; may be negative."""
        return self.skipped * self.pixels_per_cell - self.before


@lru_cache(maxsize=256)
def place_image(view: ImageView, height: int, width: int) -> tuple[Placement, Placement]:
    """Return where a view has a picture of `height` x `width`: its rows and its columns.

    - squash: all of it is the view.
    - pad: what `shown_size` says, from the top left.
    - pad-first: a square of the longer side is the view, whatever the view's own sides are; of what the square has more than
      the picture, half, rounded down, is before it, or nothing where `align` is "corner" (haotian-liu/LLaVA,
      llava/mm_utils.py, expand2square).
    - crop: the picture fills the view, and is cut to it. The shorter side, relative to the view's own, becomes the view's; the
      other is int(side * length / shorter), and of what is too much half, rounded down, is cut off before
      (huggingface/transformers, image_transforms.py, get_resize_output_image_size and center_crop).

    Raises:
        RecordError: the canvas, or what is cropped, has more than `MAX_CANVAS_PIXELS`: an extreme picture.
    """
    rows, columns = view.size
    if view.fit == "pad":
        shown_rows, shown_columns = shown_size(view, height, width)
        return Placement(0, height, shown_rows, 0, shown_rows), Placement(
            0, width, shown_columns, 0, shown_columns
        )
    if view.fit == "pad-first":
        side = max(height, width)
        _check_canvas(view, height, width, side, side)
        top, left = ((side - length) // 2 if view.align == "centre" else 0 for length in (height, width))
        return Placement(top, side, rows, 0, rows), Placement(left, side, columns, 0, columns)
    if view.fit == "crop":
        return _crop(view, height, width)
    return Placement(0, height, rows, 0, rows), Placement(0, width, columns, 0, columns)


def _crop(view: ImageView, height: int, width: int) -> tuple[Placement, Placement]:
    rows, columns = view.size
    if rows * width >= columns * height:
        resized_rows, resized_columns = rows, int(rows * width / height)
    else:
        resized_rows, resized_columns = int(columns * height / width), columns
    _check_canvas(view, height, width, resized_rows, resized_columns)
    return (
        Placement(0, height, resized_rows, (resized_rows - rows) // 2, rows),
        Placement(0, width, resized_columns, (resized_columns - columns) // 2, columns),
    )


def _check_canvas(view: ImageView, height: int, width: int, rows: int, columns: int) -> None:
    if rows * columns > MAX_CANVAS_PIXELS:
        raise RecordError(
            f"a picture of {height} x {width} pixels takes {rows} x {columns} for a view of fit {view.fit!r}, "
            f"over the limit of {MAX_CANVAS_PIXELS} pixels",
            stage="decode",
        )


def place_mask(
    view: MaskView, over: ImageView, mask_size: tuple[int, int], picture: tuple[int, int]
) -> tuple[MaskPlacement, MaskPlacement]:
    """Return where a view of a size has a mask: its rows and its columns.

    Args:
        view: the mask's view.
        over: the image view over which it lies.
        mask_size: (height, width) of the mask, in its own pixels.
        picture: (height, width) of the image; the mask covers all of it, at whatever resolution.

    Raises:
        ValueError: the view is of the mask's own size.
        RecordError: as in `place_image`.
    """
    if view.size == "own":
        raise ValueError("a mask at its own size is not resized")
    rows, columns = (
        _place_axis(*axis)
        for axis in zip(place_image(over, *picture), mask_size, view.size, over.size, picture, strict=True)
    )
    return rows, columns


def _place_axis(placed: Placement, length: int, size: int, over: int, picture: int) -> MaskPlacement:
    """Return an axis for a mask of `length` pixels and `size` cells, over `over` pixels of a view of a `picture`."""
    pixels, cells = Fraction(length, picture), Fraction(size, over)
    return MaskPlacement(
        length,
        size,
        placed.before * pixels,
        placed.canvas * pixels,
        placed.resized * cells,
        placed.skipped * cells,
    )


def count_cells(axis: MaskPlacement, point: Fraction) -> int:
    """Return how many cells begin on the resized canvas, told by a point in each, 0 for its start and 1/2 for its middle."""
    return min(axis.size, max(0, ceil(axis.resized - axis.skipped - point)))
