"""Image resizing with Pillow's arithmetic and none of its detours: bit for bit the same, several times faster.

The rules are those of Pillow's libImaging/Resample.c for 8-bit channels, which every exact result must repeat:

1. Each axis has a table of weights (`preprocess.tensors.resample_weights`).
2. One axis is resized first, and its sums rounded to 8 bits: add half, shift right by 22, clip to 0..255. The other pass
   works on these rounded values, in the same way. Because of the rounding, the order of the passes shows, and it differs
   between versions of Pillow (`preprocess.tensors.arithmetic`).
3. An axis that keeps its length is left alone. One weight of exactly 1 gives the same, so it needs no branch here, nor
   does Pillow's NEAREST.

What differs is the order of the work (`preprocess/kernels/resample.h`), and that of what is cropped only the part that
stays is made.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import Arithmetic, ImageFilter, ImageView
from ..kernels.core import Core, Target
from .arithmetic import INSTALLED, is_vertical_first
from .geometry import Placement, place_image
from .resample_weights import Axis, make_axis
from .transforms import cut_view, empty_view, put_on_canvas, resize_image

MAX_WIDTH = 1 << 16
"""Widest canvas that the core takes; sixteen turned rows need up to 96 bytes for each column."""

MAX_WEIGHTS = 1 << 20
"""Longest table of weights that is made. Whatever is larger goes to Pillow, which is no slower there."""


def resize_images(
    core: Core, image: NDArray[np.uint8], views: Sequence[ImageView], arithmetic: Arithmetic
) -> list[NDArray[np.uint8]]:
    """Do what `preprocess.tensors.transforms.resize_images` does, by the arithmetic of either of Pillow's versions.

    Views that have the picture as it is are made in one pass over its rows.

    Raises:
        ValueError: the image is not uint8 [H, W, 3].
        RecordError: as there.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be uint8 [H, W, 3], found {image.dtype} {image.shape}")
    image = np.ascontiguousarray(image)
    height, width, _ = image.shape
    results, together = [], []
    for view in views:
        rows, columns = place_image(view, height, width)
        canvas = put_on_canvas(image, view, rows, columns)
        if _needs_pillow(view, rows, columns):
            results.append(_resize_in_two_passes(canvas, view, rows, columns, arithmetic))
            continue
        result = empty_view(view, rows, columns)
        across, down = _keep(columns, view.filter), _keep(rows, view.filter)
        if is_vertical_first(arithmetic, rows, columns):
            canvas = _resize_height(core, canvas, down)
            down = make_axis(rows.shown, rows.shown, view.filter)
        target = Target(rows.shown, columns.shown, *view.size, *across, *down, result)
        if canvas is image:
            together.append(target)
        else:
            core.resize(canvas, canvas.shape[0], canvas.shape[1], (target,))
        results.append(result)
    if together:
        core.resize(image, height, width, tuple(together))
    return results


def matches_pillow(core: Core) -> bool:
    """Whether this module repeats the installed Pillow bit for bit on a few pictures.

    Pillow may be compiled with fused multiplications (usual on ARM), or change its arithmetic in a later version:
    then its weights can differ in their last bit, and only Pillow itself is exact.
    """
    for height, width, *size in _PROBES:
        noise = _draw_noise(height, width)
        views = [ImageView(size=(size[0], size[1]), filter=name) for name in get_args(ImageFilter)]
        made = resize_images(core, noise, views, INSTALLED)
        if not all(
            np.array_equal(result, resize_image(noise, view))
            for view, result in zip(views, made, strict=True)
        ):
            return False
    return True


# Up, down, one axis kept, sides of their own, and the four sides of the rules that choose the order of the passes.
_PROBES = (
    (331, 467, 29, 29), (331, 467, 331, 331), (331, 467, 448, 448), (467, 331, 448, 300), (80, 64, 48, 48),
    (81, 64, 48, 48), (96, 40, 96, 96), (97, 40, 96, 70), (640, 480, 448, 448), (101, 1, 8, 8), (200, 2, 9, 10), (201, 2, 9, 10),
)  # fmt: skip
"""Height, width and size of the pictures that `matches_pillow` looks at."""


def _draw_noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return noise with rows of extremes in it, uint8 [height, width, 3]: filters overshoot and are clipped."""
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[::2] = np.where(noise[::2] < 128, 0, 255)
    return noise


def _keep(placed: Placement, image_filter: ImageFilter) -> Axis:
    """Return the weights of what the view keeps."""
    return make_axis(placed.canvas, placed.resized, image_filter, placed.skipped, placed.shown)


def _needs_pillow(view: ImageView, rows: Placement, columns: Placement) -> bool:
    """Whether the tables or the turned block would take too much memory."""
    # At most 3 pixels to either side of the centre, times the ratio, and an even number: 8 * length bounds every table.
    return columns.canvas > MAX_WIDTH or 8 * max(rows.canvas, columns.canvas, *view.size) > MAX_WEIGHTS


def _resize_height(core: Core, canvas: NDArray[np.uint8], rows: Axis) -> NDArray[np.uint8]:
    """Return the vertical pass alone, uint8 [len(rows.first), W, 3]."""
    height, width, _ = canvas.shape
    shrunk = np.empty((len(rows.first), width, 3), np.uint8)
    core.resize_lines(canvas, height, 3 * width, len(rows.first), *rows, shrunk)
    return shrunk


def _resize_in_two_passes(
    canvas: NDArray[np.uint8], view: ImageView, rows: Placement, columns: Placement, arithmetic: Arithmetic
) -> NDArray[np.uint8]:
    """Let Pillow resize one axis after the other: one at a time, its versions agree."""
    picture = Image.fromarray(canvas)
    vertical_first = is_vertical_first(arithmetic, rows, columns)
    between = (picture.width, rows.resized) if vertical_first else (columns.resized, picture.height)
    for size in (between, (columns.resized, rows.resized)):
        picture = picture.resize(size, Image.Resampling[view.filter.upper()])
    return cut_view(picture, view, rows, columns)
