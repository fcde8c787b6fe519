"""Whether the two images of a row show one picture, and which mistake it looks like where they do not.

The bounds were measured on 412 pairs: every second photograph of COCO, RefCOCO, SA-1B, OpenImages and SA-V samples and
of odd files (64 x 64 to 2250 x 1500, paletted, 16-bit, drawings), each under BILINEAR and BICUBIC. The worst values
found stand beside the bounds.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD

GRID = 32
"""Blocks along a side that are compared; fewer where images are small, so that a block has 14 pixels or more a side."""

MIN_SIDE = 224
"""Side of the smaller image, in pixels, below which neither its displacement nor its detail is judged."""

MAX_DIFFERENCE = 8.0
"""Largest difference of two blocks' means, in levels of 0..255. Measured: 3."""

MAX_SHIFT = 0.1
"""Largest displacement of the two images, in pixels of the smaller. Measured: 0.046 (white drawing), photos 0.021."""

MIN_DETAIL_RATIO = 0.12
"""Least difference of the larger image to an enlarged smaller one, as a share of its detail. Measured: 0.26."""

MIN_DETAIL = 3.0
"""Root mean square of the finest detail of the smaller image, in levels, below which nothing is said of it."""

MIN_ENLARGEMENT = 1.2
"""By how much the original's longer side must exceed the smaller image's, for the larger to hold more detail."""

_BOX = Image.Resampling.BOX
_MEAN = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
_STD = np.array(IMAGENET_STD, np.float32)[:, None, None]


class Comparison(NamedTuple):
    """How far the two images of a row agree."""

    difference: float
    """Largest difference of block means, in levels."""
    shift: tuple[float, float]
    """Displacement (down, right) of the larger image, in pixels of the smaller."""
    detail_ratio: float
    """How much the larger image differs from an enlarged smaller one, over the smaller one's finest detail."""
    detail: float
    """That finest detail, in levels."""


def compare(pixels: NDArray[np.uint8], grounding: NDArray[np.uint8]) -> Comparison:
    """Compare the two images of a row, uint8 [3, S, S] and [3, G, G]."""
    side = pixels.shape[1]
    blocks = [_shrink(image, max(1, min(GRID, side // 14))) for image in (pixels, grounding)]
    difference = float(np.abs(blocks[0] - blocks[1]).max())
    if side < MIN_SIDE or grounding.shape[1] < MIN_ENLARGEMENT * side:
        return Comparison(difference, (0.0, 0.0), 0.0, 0.0)
    # Green alone carries the detail, at a third of the cost.
    small, large = pixels[1], grounding[1]
    shrunk = np.asarray(Image.fromarray(large).resize((side, side), _BOX), np.float32)
    half = Image.fromarray(small).resize((side // 2, side // 2), _BOX)
    detail = _rms(np.asarray(half.resize((side, side), Image.Resampling.BILINEAR), np.float32) - small)
    enlarged = (
        _rms(np.asarray(Image.fromarray(small).resize(large.shape[::-1], kernel), np.float32) - large)
        for kernel in (
            Image.Resampling.BILINEAR,
            Image.Resampling.BICUBIC,
            Image.Resampling.LANCZOS,
            Image.Resampling.NEAREST,
        )
    )
    ratio = min(enlarged) / max(detail, 1e-3)
    return Comparison(difference, _displacement(small.astype(np.float32), shrunk), ratio, detail)


def is_enlarged(found: Comparison, size: tuple[int, int], side: int) -> bool | None:
    """Whether the larger image was made from the smaller; None where that can't be told.

    Args:
        found: the comparison of the two.
        size: (height, width) of the original.
        side: side of the smaller image.
    """
    if found.detail < MIN_DETAIL or max(size) < MIN_ENLARGEMENT * side:
        return None
    return found.detail_ratio < MIN_DETAIL_RATIO


def denormalize(stored: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
    """Return a stored 448 image as 0..255, and whether every value was exactly one of the 256 that can be.

    Args:
        stored: uint8 or normalised float32, [3, S, S].
    """
    if stored.dtype == np.uint8:
        return stored, True
    levels = np.rint((stored.astype(np.float64) * _STD + _MEAN) * 255)
    pixels = np.clip(np.nan_to_num(levels, nan=0.0), 0, 255).astype(np.uint8)
    again = (pixels.astype(np.float32) / np.float32(255) - _MEAN) / _STD
    return pixels, bool((again == stored).all())


def explain(pixels: NDArray[np.uint8], grounding: NDArray[np.uint8], size: tuple[int, int]) -> str:
    """Say which known mistake makes such a pair, uint8 [3, S, S] and [3, G, G]."""
    if grounding.max() <= 3:
        return f"g_pixel_values hold 0..{grounding.max()}: normalised, or scaled to 0..1"
    seen = _shrink(grounding, GRID)
    plain = _rms(_shrink(pixels, GRID) - seen)
    best, text = min((_rms(guess - seen), text) for text, guess in _mistakes(pixels, size))
    if best < 0.4 * plain:
        return text
    return "the two images do not show the same picture"


def _mistakes(pixels: NDArray[np.uint8], size: tuple[int, int]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield block means of the larger image as each known mistake would make it from this picture."""
    normalized = (pixels.astype(np.float32) / 255 - _MEAN) / _STD
    clamped = np.clip(normalized * 255, 0, 255).astype(np.uint8)
    wrapped = (normalized * 255).astype(np.int64).astype(np.uint8)
    small = _shrink(pixels, GRID)
    yield "g_pixel_values are the normalised image times 255, clamped", _shrink(clamped, GRID)
    yield "g_pixel_values are the normalised image times 255, wrapped", _shrink(wrapped, GRID)
    yield "the channels of one are in BGR order", small[::-1]
    yield "one is transposed", small.transpose(0, 2, 1)
    yield "one is upside down", small[:, ::-1]
    yield "one is mirrored", small[:, :, ::-1]
    for fill in (0, 114, 128, 255):
        for centred in (True, False):
            where = "centred" if centred else "at the top left"
            yield f"g_pixel_values are padded, {where}, not squashed", _padded(pixels, size, fill, centred)
    yield "g_pixel_values are padded with the mean, centred, not squashed", _padded(pixels, size, None, True)


def _padded(
    pixels: NDArray[np.uint8], size: tuple[int, int], fill: int | None, centred: bool
) -> NDArray[np.float32]:
    """Return block means of the picture with its aspect ratio kept, on a square canvas."""
    canvas = 8 * GRID
    height, width = (max(1, round(canvas * side / max(size))) for side in size)
    picture = Image.fromarray(pixels.transpose(1, 2, 0)).resize((width, height), _BOX)
    colour = (fill,) * 3 if fill is not None else tuple(round(255 * mean) for mean in IMAGENET_MEAN)
    square = Image.new("RGB", (canvas, canvas), colour)
    square.paste(picture, ((canvas - width) // 2, (canvas - height) // 2) if centred else (0, 0))
    return _shrink(np.asarray(square).transpose(2, 0, 1), GRID)


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return block means, float32 [3, side, side]."""
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    return np.asarray(picture.resize((side, side), _BOX), np.float32).transpose(2, 0, 1)


def _displacement(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Return by how many pixels (down, right) `second` lies from `first`: a regression of one on the other's slopes.

    Filters that are symmetric blur the difference but do not move it, so this sees a twentieth of a pixel.
    """
    mean = (first + second) / 2
    down = (mean[2:, 1:-1] - mean[:-2, 1:-1]) / 2
    right = (mean[1:-1, 2:] - mean[1:-1, :-2]) / 2
    change = (first - second)[1:-1, 1:-1]
    # A little ridge: in a flat picture the answer is 0, not noise.
    ridge = 0.01 * change.size
    cross = float((down * right).sum())
    normal = [[float((down**2).sum()) + ridge, cross], [cross, float((right**2).sum()) + ridge]]
    shift = np.linalg.solve(normal, [float((down * change).sum()), float((right * change).sum())])
    return float(shift[0]), float(shift[1])


def _rms(difference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))
