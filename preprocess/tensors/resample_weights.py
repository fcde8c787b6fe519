"""Weights of Pillow's resampling filters in fixed point: which source pixels make an output pixel, and how much of each.

The rules are those of Pillow's libImaging/Resample.c for 8-bit channels. Output pixel i looks at the source around
(i + 0.5) * length / size; a filter is widened by that ratio when shrinking, never narrowed when enlarging. Weights are
computed and normalised in double precision, then rounded to 22 fractional bits, halves away from zero. Nearest is no
filter there: it takes one pixel, by a rule of its own.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageFilter
from .nearest import pillow_positions

PRECISION_BITS = 22
"""Fractional bits of a weight: 32, less 8 for the pixel and 2 for filters that overshoot."""


class Axis(NamedTuple):
    """How one side of an image is resized."""

    first: NDArray[np.int64]
    """int64 [size], ascending: the first source pixel of each output pixel; first + taps <= length."""
    weights: NDArray[np.int32]
    """int32 [size, taps]: weights in units of 2**-22, padded with zeros to the longest."""


@lru_cache(maxsize=256)
def make_axis(
    length: int, size: int, image_filter: ImageFilter, skipped: int = 0, kept: int | None = None
) -> Axis:
    """Return the weights that resize `length` pixels to `size` (precompute_coeffs and normalize_coeffs_8bpc).

    Of the output pixels, `kept` from the one of number `skipped` on, or all.

    >>> make_axis(4, 2, "bilinear").first.tolist()
    [0, 0]
    >>> (make_axis(4, 2, "bilinear").weights * 7 / 2**22).round(3).tolist()
    [[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]]
    """
    kept = size if kept is None else kept
    if length == size or image_filter == "nearest":
        taken = np.arange(size) if length == size else pillow_positions(length, size)
        return _freeze(taken[skipped : skipped + kept], np.full((kept, 1), 1 << PRECISION_BITS, np.int32))
    places = np.arange(skipped, skipped + kept)
    first, weights = weigh(length, (places + 0.5) * (length / size), length / size, image_filter)
    fixed = weights * (1 << PRECISION_BITS)
    return _freeze(first, np.where(fixed < 0, fixed - 0.5, fixed + 0.5).astype(np.int32))


def weigh(
    length: int, center: NDArray[np.floating], scale: float, image_filter: ImageFilter
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the weights in double precision, of output pixels around each `center`: what `Axis` has.

    Args:
        length: source pixels.
        center: float64 [size], ascending, in source pixels.
        scale: source pixels to an output pixel.
        image_filter: any but "nearest".
    """
    support, respond = _FILTERS[image_filter]
    widened = max(scale, 1.0)
    support *= widened
    # Both are cut towards zero, as C's conversion does, and only then limited to the image.
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), length)
    taps = int((stop - first).max())
    # Near the end a window of full width starts earlier, so that it does not leave the image; weights there are 0.
    start = np.minimum(first, length - taps)
    pixel = start[:, None] + np.arange(taps)
    # Pillow multiplies by the reciprocal: a division would round differently.
    weights = respond((pixel - center[:, None] + 0.5) * (1.0 / widened))
    weights[(pixel < first[:, None]) | (pixel >= stop[:, None])] = 0.0
    # Pillow adds them up one by one; numpy's sum would go pairwise.
    weights /= np.add.accumulate(weights, axis=1)[:, -1:]
    return start, weights


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    return np.where(x < 1.0, 1.0 - x, 0.0)


def _hamming(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinc under a Hamming window, whose two numbers are in single precision in Pillow's code."""
    base, swing = float(np.float32(0.54)), float(np.float32(0.46))
    return _each(np.abs(x), lambda v: _sinc(v) * (base + swing * math.cos(v * math.pi)), reach=1.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5, bracketed as in Pillow: another order of operations rounds differently."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinc times a sinc three times as wide."""
    return _each(x, lambda v: _sinc(v) * _sinc(v / 3), reach=3.0)


def _each(x: NDArray[np.float64], respond: Callable[[float], float], reach: float) -> NDArray[np.float64]:
    """Return what each number within `reach` of 0 becomes, through the C library's sine: numpy has one of its own."""
    weights = [respond(v) if -reach <= v < reach else 0.0 for v in x.ravel().tolist()]
    return np.array(weights).reshape(x.shape)


def _sinc(x: float) -> float:
    if x == 0.0:
        return 1.0
    x *= math.pi
    return math.sin(x) / x


_Respond = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_FILTERS: dict[ImageFilter, tuple[float, _Respond]] = {
    "box": (0.5, _box),
    "bilinear": (1.0, _bilinear),
    "hamming": (1.0, _hamming),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
"""Half width in source pixels, and weight by distance."""


def _freeze(first: NDArray[np.int64], weights: NDArray[np.int32]) -> Axis:
    """Return the tables read-only: they are shared by every image of the same size."""
    for table in (first, weights):
        table.setflags(write=False)
    return Axis(first, weights)
