"""Whether two image views of a row show one picture, and which mistake it looks like where they do not.

Views are compared on what both show, which may be a part of the picture. The bounds were measured on 412 pairs of the
default recipe's views: every second photograph of COCO, RefCOCO, SA-1B, OpenImages and SA-V samples and of odd files
(64 x 64 to 2250 x 1500, paletted, 16-bit, drawings), each under BILINEAR and BICUBIC. The worst values found stand beside
the bounds; behind them those of other geometries, measured on 256 pictures of the same samples: crop of 224 beside pad of
1024, pad-first of 336 and squash of 448 beside pad-first of 1024, crop of 300 x 500 beside pad of 600 x 800.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.geometry import Axes, Box, Stretches, box_of, describe_fit, other_geometries, shared
from ...loader.format.norms import KNOWN_NORMS, Norm
from ...loader.format.recipe import ImageView

GRID = 32
"""Blocks along a side that are compared; fewer where pictures are small."""

BLOCK_PIXELS = 14
"""Pixels along a side that a block has at least, in either view and in the original: of fewer, filters make other means."""

NEAREST_BLOCK_PIXELS = 56
"""The same where a view is of filter nearest: of each of its pixels it has seen one of the original."""

MIN_SIDE = 224
"""Side of the smaller image, in pixels, below which neither its displacement nor its detail is judged."""

MAX_DIFFERENCE = 8.0
"""Largest difference of two blocks' means, in levels of 0..255. Measured: 3; 2.4."""

MAX_SHIFT = 0.1
"""Largest displacement of the two images, in pixels of the smaller. Measured: 0.046 (white drawing), photos 0.021;
0.019."""

MIN_DETAIL_RATIO = 0.12
"""Least difference of the larger image to an enlarged smaller one, as a share of its detail. Measured: 0.25; 0.22."""

MIN_DETAIL = 3.0
"""Root mean square of the finest detail of the smaller image, in levels, below which nothing is said of it."""

MIN_ENLARGEMENT = 1.2
"""By how much the original's longer side must exceed the smaller image's, for the larger to hold more detail."""

TELLING = 0.4
"""A mistake is named when it leaves less than this share of the difference."""

_BOX = Image.Resampling.BOX


class Picture(NamedTuple):
    """An image view of a row."""

    name: str
    view: ImageView
    levels: NDArray[np.uint8]
    """uint8 [3, H, W]."""
    axes: Axes
    """What it should show of the picture."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original in pixels."""
        return self.axes[0].length, self.axes[1].length


class Comparison(NamedTuple):
    """How far two image views of a row agree."""

    difference: float
    """Largest difference of block means, in levels."""
    shift: tuple[float, float]
    """Displacement (down, right) of the larger image, in pixels of the smaller."""
    is_enlarged: bool | None
    """Whether the larger image was made from the smaller; None where that can't be told."""


def pixel_share(picture: Picture) -> Fraction:
    """Return what share of the original a pixel has."""
    rows, columns = picture.axes
    return rows.step * columns.step


def compare(small: Picture, large: Picture) -> Comparison | None:
    """Compare two views of a row on what both show; None where they share nothing, or too few pixels to tell.

    Args:
        small: the one with fewer pixels for the same stretch of the picture.
        large: the other one.
    """
    seen = shared(small.axes, large.axes)
    if seen is None or min(_grid(small, large, seen)) < 1:
        return None
    difference = float(np.abs(_difference(small, large, seen)).max())
    # Whole pixels of the smaller one, and the same stretch in pixels of the larger.
    left, top, right, bottom = box_of(small.axes, seen)
    left, top, right, bottom = ceil(left), ceil(top), floor(right), floor(bottom)
    height, width = bottom - top, right - left
    box = _moved((left, top, right, bottom), small.axes, large.axes)
    enlargement = min((box[3] - box[1]) / max(height, 1), (box[2] - box[0]) / max(width, 1))
    if min(height, width) < MIN_SIDE or enlargement < MIN_ENLARGEMENT:
        return Comparison(difference, (0.0, 0.0), None)
    # Green alone carries the detail, at a third of the cost.
    coarse, fine = (Image.fromarray(np.ascontiguousarray(one.levels[1])) for one in (small, large))
    shown = np.asarray(coarse, np.float32)[top:bottom, left:right]
    shrunk = np.asarray(fine.resize((width, height), Image.Resampling.BILINEAR, box), np.float32)
    half = coarse.crop((left, top, right, bottom)).resize((width // 2, height // 2), _BOX)
    detail = _rms(np.asarray(half.resize((width, height), Image.Resampling.BILINEAR), np.float32) - shown)
    is_enlarged = None
    # Only where the original has more pixels than the smaller image can the larger one hold more.
    if detail >= MIN_DETAIL and any(axis.length * axis.step >= MIN_ENLARGEMENT for axis in small.axes):
        unlike = _unlike_enlarged(coarse, fine, box, (small.axes, large.axes))
        is_enlarged = unlike / detail < MIN_DETAIL_RATIO
    return Comparison(difference, _displacement(shown, shrunk), is_enlarged)


def _unlike_enlarged(coarse: Image.Image, fine: Image.Image, box: Box, axes: tuple[Axes, Axes]) -> float:
    """Return how far the larger image, within a box, is from what an enlarged smaller one would be, in levels."""
    left, top, right, bottom = ceil(box[0]), ceil(box[1]), floor(box[2]), floor(box[3])
    wanted = np.asarray(fine, np.float32)[top:bottom, left:right]
    source = _moved((left, top, right, bottom), axes[1], axes[0])
    return min(
        _rms(np.asarray(coarse.resize((right - left, bottom - top), kernel, source), np.float32) - wanted)
        for kernel in (
            Image.Resampling.BILINEAR,
            Image.Resampling.BICUBIC,
            Image.Resampling.LANCZOS,
            Image.Resampling.NEAREST,
        )
    )


def _moved(box: tuple[int, int, int, int], source: Axes, target: Axes) -> Box:
    """Return where a view has what another one has in a box of whole pixels."""
    left, top, right, bottom = box
    down, across = (
        (axis.start + first * axis.step, axis.start + last * axis.step)
        for axis, first, last in zip(source, (top, left), (bottom, right), strict=True)
    )
    return box_of(target, (down, across))


def _difference(first: Picture, second: Picture, seen: Stretches) -> NDArray[np.float32]:
    """Return the differences of block means over what two views share, float32 [3, rows, columns]."""
    boxes = [box_of(one.axes, seen) for one in (first, second)]
    rows, columns = (max(1, blocks) for blocks in _grid(first, second, seen))
    means = [
        _shrink(one.levels, (rows, columns), box) for one, box in zip((first, second), boxes, strict=True)
    ]
    return means[0] - means[1]


def _grid(first: Picture, second: Picture, seen: Stretches) -> tuple[int, int]:
    """Return how many blocks of enough pixels there are along what two views share: rows and columns, 0 where none is."""
    pixels = NEAREST_BLOCK_PIXELS if "nearest" in (first.view.filter, second.view.filter) else BLOCK_PIXELS
    boxes = [box_of(one.axes, seen) for one in (first, second)]
    rows, columns = (
        min(*(box[side + 2] - box[side] for box in boxes), float(last - start) * axis.length)
        for side, (start, last), axis in zip((1, 0), seen, first.axes, strict=True)
    )
    return min(GRID, int(rows) // pixels), min(GRID, int(columns) // pixels)


def denormalize(stored: NDArray[Any], view: ImageView, axes: Axes) -> tuple[NDArray[np.uint8], str | None]:
    """Return a stored image as levels 0..255, and what its normalisation is if it is not the view's; None if it is.

    Args:
        stored: uint8 or normalised float32, [3, H, W].
        view: which has mean, std and scale.
        axes: what the view shows; of a view of fit "pad", what lies beside the picture was not normalised.
    """
    if stored.dtype == np.uint8:
        return stored, None
    height, width = stored.shape[1:]
    if view.fit == "pad":
        height, width = (int(axis.resized) for axis in axes)
    shown = stored[:, :height, :width]
    levels = np.zeros(stored.shape, np.uint8)
    levels[:, :height, :width], is_exact = _levels_of(shown, Norm.of(view))
    if is_exact:
        return levels, None
    for words, norm in KNOWN_NORMS.items():
        if _levels_of(shown, norm)[1]:
            return levels, f"normalised with {words} mean and std"
    return levels, f"values from {stored.min():.4g} to {stored.max():.4g}"


def _levels_of(values: NDArray[np.float32], norm: Norm) -> tuple[NDArray[np.uint8], bool]:
    """Return normalised values as levels, and whether every value is one of the 256 that can be."""
    levels = np.clip(np.nan_to_num(np.rint(norm.to_levels(values)), nan=0.0), 0, 255).astype(np.uint8)
    return levels, bool((normalized(levels, norm) == values).all())


def normalized(levels: NDArray[np.uint8], norm: Norm) -> NDArray[np.float32]:
    """Return levels [3, H, W] normalised, each step rounded to float32."""
    mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (norm.mean, norm.std))
    return (levels.astype(np.float32) / np.float32(norm.scale) - mean) / std


def explain(reference: Picture, found: Picture) -> str:
    """Say which known mistake makes such a pair of views."""
    if found.levels.max() <= 3:
        return f"{found.name} hold 0..{found.levels.max()}: normalised, or scaled to 0..1"
    plain = _distance(reference, found)
    best, text = min(
        ((_distance(*pair), text) for text, *pair in _mistakes(reference, found)), key=lambda guess: guess[0]
    )
    return text if best < TELLING * plain else "the two images do not show the same picture"


def _distance(first: Picture, second: Picture) -> float:
    seen = shared(first.axes, second.axes)
    return float("inf") if seen is None else _rms(_difference(first, second, seen))


def _mistakes(reference: Picture, found: Picture) -> Iterator[tuple[str, Picture, Picture]]:
    """Yield pairs that would agree had this mistake been made, and its words."""
    name, levels = found.name, found.levels
    values = normalized(reference.levels, Norm.of(reference.view)) * 255
    clamped = np.clip(values, 0, 255).astype(np.uint8)
    wrapped = values.astype(np.int64).astype(np.uint8)
    yield f"{name} are the normalised image times 255, clamped", reference._replace(levels=clamped), found
    yield f"{name} are the normalised image times 255, wrapped", reference._replace(levels=wrapped), found
    yield "the channels of one are in BGR order", reference, found._replace(levels=levels[::-1])
    yield "one is upside down", reference, found._replace(levels=levels[:, ::-1])
    yield "one is mirrored", reference, found._replace(levels=levels[:, :, ::-1])
    if levels.shape[1] == levels.shape[2]:
        yield "one is transposed", reference, found._replace(levels=levels.transpose(0, 2, 1))
    for one, is_found in ((found, True), (reference, False)):
        for words, axes in other_geometries(one.view, *one.size).items():
            other = one._replace(axes=axes)
            text = f"{one.name} are {words}, not {describe_fit(one.view)}"
            yield (text, reference, other) if is_found else (text, other, found)


def _shrink(image: NDArray[np.uint8], grid: tuple[int, int], box: Box) -> NDArray[np.float32]:
    """Return the means of blocks of a box, float32 [3, rows, columns]; pixels on a block's border count by their share."""
    left, top, right, bottom = box
    rows, columns = (
        _shares(grid[0], top, bottom, image.shape[1]),
        _shares(grid[1], left, right, image.shape[2]),
    )
    means: NDArray[np.float32] = rows @ image.astype(np.float32) @ columns.T
    return means


def _shares(count: int, first: float, last: float, size: int) -> NDArray[np.float32]:
    """Return how much of each block each pixel is, float32 [count, size]."""
    edges, pixels = np.linspace(first, last, count + 1)[:, None], np.arange(size)
    overlaps = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    shares: NDArray[np.float32] = (np.maximum(overlaps, 0) * (count / (last - first))).astype(np.float32)
    return shares


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
