"""Image resizing with Pillow's arithmetic and none of its detours: bit for bit the same, several times faster.

The rules are those of Pillow's libImaging/Resample.c for 8-bit channels, which every exact result must repeat:

1. Each axis has a table of weights (`preprocess.tensors.resample_weights`).
2. All rows are resized horizontally first, and their sums rounded to 8 bits: add half, shift right by 22, clip to
   0..255. The vertical pass works on these rounded values, in the same way. Because of the rounding, the order of the
   passes shows: since version 13.0, Pillow goes vertically first where the height shrinks much more than the width
   (python-pillow/Pillow pull request 9549), so its bytes differ from those of version 12 there.
3. An axis that keeps its length is left alone. One weight of exactly 1 gives the same, so it needs no branch here.

What differs is the order of the work (`preprocess/kernels/resample.h`). Without a compiled core, Pillow does it.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from ..kernels.core import CORE, Core, Target
from .resample_weights import make_axis

if TYPE_CHECKING:
    from .transforms import ImageFilter

VERTICAL_FIRST = int(PIL.__version__.split(".")[0]) >= 13
"""Whether the installed Pillow goes vertically first for some images."""

MAX_WIDTH = 1 << 16
"""Widest image this module takes; sixteen turned rows need up to 96 bytes for each column."""

MAX_WEIGHTS = 1 << 20
"""Longest table of weights this module makes. Whatever is larger goes to Pillow, which is no slower there."""


def resize_image(
    image: NDArray[np.uint8],
    size: int,
    image_filter: "ImageFilter",
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Resize an RGB image to a square, bit for bit as Pillow does (antialiased); the aspect ratio is not kept.

    Args:
        image: uint8 [H, W, 3].
        size: side of the result in pixels.
        image_filter: "bilinear", "bicubic" or "lanczos".
        out: uint8 [3, size, size], contiguous, to write the result to.

    Returns:
        uint8 [3, size, size], values 0..255; `out` if it was given.
    """
    _check_image(image)
    result = _check_out(out, size)
    if CORE is None or _needs_pillow(image, size):
        result[:] = _resize_with_pillow(image, size, image_filter)
        return result
    if _is_vertical_first(image, size):
        image = _shrink_height(CORE, image, size, image_filter)
    height, width, _ = image.shape
    target = _make_target(height, width, size, image_filter, result)
    CORE.resize(np.ascontiguousarray(image), height, width, (target,))
    return result


def resize_image_twice(
    image: NDArray[np.uint8],
    sizes: tuple[int, int],
    image_filters: tuple["ImageFilter", "ImageFilter"],
    outs: tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None] = (None, None),
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize an RGB image to two squares, each directly from the original, in one pass over its rows.

    Args:
        image: uint8 [H, W, 3].
        sizes: sides of the two results in pixels.
        image_filters: the filter of each.
        outs: for each, uint8 [3, size, size], contiguous, to write it to.

    Returns:
        Two arrays uint8 [3, size, size], as `resize_image` makes them one by one.
    """
    _check_image(image)
    results = [_check_out(out, size) for out, size in zip(outs, sizes, strict=True)]
    if CORE is None or any(_needs_pillow(image, size) or _is_vertical_first(image, size) for size in sizes):
        for result, size, image_filter in zip(results, sizes, image_filters, strict=True):
            resize_image(image, size, image_filter, result)
    else:
        height, width, _ = image.shape
        targets = tuple(
            _make_target(height, width, size, image_filter, result)
            for result, size, image_filter in zip(results, sizes, image_filters, strict=True)
        )
        CORE.resize(np.ascontiguousarray(image), height, width, targets)
    return results[0], results[1]


@cache
def matches_pillow() -> bool:
    """Whether this module repeats the installed Pillow bit for bit on a few pictures, seen once per process.

    Pillow may be compiled with fused multiplications (usual on ARM), or change its arithmetic in a later version:
    then its weights can differ in their last bit, and only Pillow itself is exact.
    """
    names: tuple[ImageFilter, ...] = ("bilinear", "bicubic", "lanczos")
    return all(
        np.array_equal(resize_image(noise, size, name), _resize_with_pillow(noise, size, name))
        for height, width, size in _PROBES
        for noise in (_draw_noise(height, width),)
        for name in names
    )


# Up, down, one axis kept, and the four sides of the rule that chooses the order of the passes.
_PROBES = (
    (331, 467, 29), (331, 467, 331), (331, 467, 448), (467, 331, 448), (80, 64, 48), (81, 64, 48), (96, 40, 96),
    (97, 40, 96), (640, 480, 448), (101, 1, 8),
)  # fmt: skip
"""Height, width and size of the pictures that `matches_pillow` looks at."""


def _draw_noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return noise with rows of extremes in it, uint8 [height, width, 3]: filters overshoot and are clipped."""
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[::2] = np.where(noise[::2] < 128, 0, 255)
    return noise


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be uint8 [H, W, 3], found {image.dtype} {image.shape}")


def _check_out(out: NDArray[np.uint8] | None, size: int) -> NDArray[np.uint8]:
    if out is None:
        return np.empty((3, size, size), np.uint8)
    if out.shape != (3, size, size) or out.dtype != np.uint8 or not out.flags.carray:
        raise ValueError(
            f"out must be writeable, contiguous uint8 {(3, size, size)}, found {out.dtype} {out.shape}"
        )
    return out


def _needs_pillow(image: NDArray[np.uint8], size: int) -> bool:
    """Whether Pillow has to do it: the tables or the turned block would take too much memory, or its rule is unclear."""
    height, width, _ = image.shape
    # At most 3 pixels to either side of the centre, times the ratio, and an even number: 8 * length bounds every table.
    if width > MAX_WIDTH or 8 * max(height, width, size) > MAX_WEIGHTS:
        return True
    # Version 12.3 goes vertically first for such slivers, earlier ones do not.
    return not VERTICAL_FIRST and height > 100 * width


def _is_vertical_first(image: NDArray[np.uint8], size: int) -> bool:
    """Whether Pillow resizes these rows before these columns: the height shrinks, by over twice what the width does."""
    height, width, _ = image.shape
    return VERTICAL_FIRST and height > size and height - size > 2 * (width - size)


def _shrink_height(
    core: Core, image: NDArray[np.uint8], size: int, image_filter: "ImageFilter"
) -> NDArray[np.uint8]:
    """Return the vertical pass alone, uint8 [size, W, 3]."""
    height, width, _ = image.shape
    shrunk = np.empty((size, width, 3), np.uint8)
    axis = make_axis(height, size, image_filter)
    core.resize_lines(np.ascontiguousarray(image), height, 3 * width, size, *axis, shrunk)
    return shrunk


def _resize_with_pillow(
    image: NDArray[np.uint8], size: int, image_filter: "ImageFilter"
) -> NDArray[np.uint8]:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling[image_filter.upper()])
    return np.asarray(resized).transpose(2, 0, 1)


def _make_target(
    height: int, width: int, size: int, image_filter: "ImageFilter", out: NDArray[np.uint8]
) -> Target:
    columns, rows = make_axis(width, size, image_filter), make_axis(height, size, image_filter)
    return Target(size, *columns, *rows, out)
