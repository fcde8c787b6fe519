"""The views of a sample, each made directly from the original: pure functions, arrays in, arrays out.

No function here takes the output of another one that resizes: that is the bug this project exists to make
impossible. Which views there are, of which fit and filter, is the recipe's choice (`loader.format.recipe`).

Filters for masks, by the pixels that cell (i, j) of a grid has of the mask (`preprocess.tensors.geometry` says which):

- `pillow-nearest`: the pixel under the cell's centre, as Pillow's NEAREST: of H rows in S cells, floor((i + 0.5) * H / S).
- `torch-nearest`: the cell's top-left pixel, as torch's `interpolate(mode="nearest")`: row floor(i * H / S).
- `cover`: no single pixel: a cell is set when at least half of its area is covered; if no cell of the view is, the most
  covered one is (the first of them, row by row), so that an object of which the view shows anything never vanishes.
- `half`: over one half, as torch's `interpolate(mode="bilinear", antialias=True)` of 0.0 and 1.0 in double precision.
- `touch`: a cell is set when any of its area is covered.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import Arithmetic, ImageView, MaskView
from ..decode.segmentation import Rle
from . import cells
from .arithmetic import check_installed
from .geometry import Placement, place_image
from .nearest import spread, take_nearest

ImagesResizer = Callable[
    [NDArray[np.uint8], Sequence[ImageView], Arithmetic],
    list[NDArray[np.uint8]],
]
"""What `resize_images` is."""
MaskResizer = Callable[[Rle, MaskView, ImageView, tuple[int, int]], NDArray[np.bool_]]
"""What `resize_mask` is."""

_AREA_RULES = {"cover": cells.cover, "half": cells.half, "touch": cells.touch}


def resize_image(image: NDArray[np.uint8], view: ImageView) -> NDArray[np.uint8]:
    """Make a view of an RGB image, as the installed Pillow resizes (antialiased).

    Args:
        image: uint8 [H, W, 3].
        view: what it becomes.

    Returns:
        uint8 [3, height, width], values 0..255, never normalised; `view.pad` beside the picture.

    Raises:
        RecordError: the picture is too extreme for the view's fit.
    """
    rows, columns = place_image(view, *image.shape[:2])
    canvas = Image.fromarray(put_on_canvas(image, view, rows, columns))
    resized = canvas.resize((columns.resized, rows.resized), Image.Resampling[view.filter.upper()])
    return cut_view(resized, view, rows, columns)


def resize_images(
    image: NDArray[np.uint8], views: Sequence[ImageView], arithmetic: Arithmetic
) -> list[NDArray[np.uint8]]:
    """Make views of an RGB image, each directly from the original, as `resize_image` does.

    Raises:
        EngineError: the arithmetic is not the installed Pillow's.
        RecordError: as in `resize_image`.
    """
    check_installed(arithmetic)
    return [resize_image(image, view) for view in views]


def put_on_canvas(
    image: NDArray[np.uint8], view: ImageView, rows: Placement, columns: Placement
) -> NDArray[np.uint8]:
    """Return the canvas with an image on it, uint8 [rows.canvas, columns.canvas, 3]: often the image itself."""
    height, width, _ = image.shape
    if (rows.canvas, columns.canvas) == (height, width):
        return image
    canvas = np.empty((rows.canvas, columns.canvas, 3), np.uint8)
    # A row at a time: numpy takes ten times as long to repeat three bytes over and over.
    canvas[:] = np.tile(np.array(view.pad, np.uint8), (columns.canvas, 1))
    canvas[rows.before : rows.before + height, columns.before : columns.before + width] = image
    return canvas


def cut_view(resized: Image.Image, view: ImageView, rows: Placement, columns: Placement) -> NDArray[np.uint8]:
    """Return the view that is cut out of a resized canvas, uint8 [3, height, width]."""
    left, top = columns.skipped, rows.skipped
    kept = resized.crop((left, top, left + columns.shown, top + rows.shown))
    result = empty_view(view, rows, columns)
    result[:, : rows.shown, : columns.shown] = np.asarray(kept).transpose(2, 0, 1)
    return result


def empty_view(view: ImageView, rows: Placement, columns: Placement) -> NDArray[np.uint8]:
    """Return what a view is written to, uint8 [3, height, width]: what is padded has its colour, the rest is left open."""
    result = np.empty((3, *view.size), np.uint8)
    colour = np.array(view.pad, np.uint8)[:, None, None]
    result[:, rows.shown :] = colour
    result[:, : rows.shown, columns.shown :] = colour
    return result


def normalize_image(
    image: NDArray[np.uint8], view: ImageView, shown: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Return (image / scale - mean) / std per channel, in float32 and in that order.

    The order matters: folded into one multiplication and addition, most values differ in their last bits from
    torchvision's `ToTensor` and `Normalize`.

    Args:
        image: uint8 [3, H, W], as `resize_image` makes it.
        view: which has scale, mean and std.
        shown: (height, width) of what is picture of a view of fit "pad", from its top left corner; the rest becomes 0.0.
            None is all of it.

    Returns:
        float32 [3, H, W]; of ImageNet's mean and std about -2.12..2.64.
    """
    mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (view.mean, view.std))
    normalized = image.astype(np.float32)
    normalized /= np.float32(view.scale)
    normalized -= mean
    normalized /= std
    if shown is not None:
        normalized[:, shown[0] :] = 0.0
        normalized[:, :, shown[1] :] = 0.0
    return normalized


def resize_mask(mask: Rle, view: MaskView, over: ImageView, picture: tuple[int, int]) -> NDArray[np.bool_]:
    """Make a view of a mask, straight from its own resolution: what its image view shows, 0 beside the picture.

    Args:
        mask: which lies on all of the picture, at whatever resolution.
        view: what it becomes; of a size, not "own".
        over: the image view over which it lies.
        picture: (height, width) of the image.

    Returns:
        bool [height, width].

    Raises:
        ValueError: the view is of the mask's own size.
        RecordError: the picture is too extreme for the fit of the image view.
    """
    if view.filter in ("pillow-nearest", "torch-nearest"):
        rows, columns = take_nearest(view, over, mask.size, picture)
        if not rows.pixels.size or not columns.pixels.size:
            return np.zeros((rows.size, columns.size), np.bool_)
        return spread(mask.sample(rows.pixels, columns.pixels), rows, columns)
    return _AREA_RULES[view.filter](mask.decode(), view, over, picture)
