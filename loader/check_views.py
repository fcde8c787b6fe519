"""Whether the image views of a sample show the same picture, and which mistake it looks like where they don't.

Views are compared by the means of some blocks of what both show of the picture, for which a few pixels stand.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .check_shapes import check_keys, flat_frames, to_numpy
from .format.geometry import (
    Axes,
    Box,
    box_of,
    choose_reference,
    describe_fit,
    other_geometries,
    shared,
    shown_axes,
)
from .format.norms import Norm
from .format.recipe import ImageView, Recipe

GRID = 16
"""Blocks along a side of an image that are compared; fewer where images are small."""

BLOCK_PIXELS = 7
"""Least side of a block, in pixels."""

POINTS = 4
"""Pixels along a side of a block that stand for it: every seventh of 448, every sixteenth of 1024."""

LEAST_PIXELS = 2 * BLOCK_PIXELS
"""Pixels along a side of what two views share, in either and in the original, below which they are not compared."""

MAX_DIFFERENCE = 14.0
"""Root mean square of the blocks' differences, in levels of 0..255; larger than that of `verify`, which looks at every pixel.
Measured: 4.4 at most, on all sample datasets in both recipes."""

FEW_PIXELS = 50
"""Pixels along a side of the original below which views magnify single ones, and each filter makes its own of them. Measured from 14
on, in five recipes of all fits and filters: photographs differ by 12 levels at most, noise of colours by 27. Told by `image_sizes`."""

MAX_MAGNIFIED = 2 * MAX_DIFFERENCE
"""The bound for these."""

TELLING = 0.5
"""A mistake is named when it explains all but this share of the difference."""

SLACK = 1e-3
"""How far beyond its range a value may be."""


class Shown(NamedTuple):
    """An image view of a sample."""

    name: str
    view: ImageView
    tensor: Any
    """[3, H, W], on any device."""
    axes: Axes | None
    """What it shows of the picture, None where the batch does not tell."""
    original: Sequence[int] | None
    """Height and width of the picture itself, None likewise."""

    @property
    def box(self) -> Box:
        """Where it has the picture."""
        if self.axes is None:
            return 0.0, 0.0, float(self.tensor.shape[2]), float(self.tensor.shape[1])
        return _picture_box(self.axes)

    def to_levels(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Return values of it as levels 0..255."""
        if self.view.values == "uint8":
            return values
        return np.clip(Norm.of(self.view).to_levels(values), 0, 255)

    def take(self, box: Box, grid: tuple[int, int]) -> NDArray[np.float32]:
        """Return evenly spread pixels of a box, float32 [3, n, m], n and m multiples of the blocks along the sides."""
        left, top, right, bottom = box
        rows, columns = _places(top, bottom, grid[0]), _places(left, right, grid[1])
        if isinstance(rows, slice) and isinstance(columns, slice):
            return to_numpy(self.tensor[:, rows, columns]).astype(np.float32)
        return to_numpy(self.tensor[:, rows][:, :, columns]).astype(np.float32)


Pair = tuple[Shown, Shown]
Taken = tuple[NDArray[np.float32], NDArray[np.float32]]


def view_differences(batch: Mapping[str, Any], recipe: Recipe) -> list[float]:
    """Return how much the image views of each sample differ at most: by block means, of which `check_batch` allows 14 levels.

    Args:
        batch: a sound one, whose samples are the store's own, single or paired; masks may be left out.
        recipe: what it was made by.

    Returns:
        Root mean squares in levels of 0..255; 0.0 where no two views show enough of the same.
    """
    found = [0.0] * len(batch["key"])
    for suffix in check_keys(batch, recipe):
        rows = rows_of(batch, suffix, (), recipe)
        for sample in range(len(found)):
            images = images_of(rows, sample, find_shown(rows, sample, recipe), recipe)
            for pair, boxes, grid in comparable(images):
                found[sample] = max(found[sample], _difference(pair, boxes, grid))
    return found


def rows_of(batch: Mapping[str, Any], suffix: str, frames: tuple[int, ...], recipe: Recipe) -> dict[str, Any]:
    """Return what is looked at of a batch by keys without a suffix, all frames along one axis."""
    names = (*recipe.views, "image_sizes", *(f"{name}_sizes" for name in recipe.images))
    return {name: flat_frames(batch[name + suffix], frames) for name in names if name + suffix in batch}


def find_shown(rows: Mapping[str, Any], image: int, recipe: Recipe) -> dict[str, Axes]:
    """Return what the image views show of a picture, as far as the batch tells its size, or its aspect ratio."""
    sizes = {key: values[image] for key, values in rows.items() if key.endswith("_sizes")}
    return shown_axes(recipe.images, sizes)


def images_of(
    rows: Mapping[str, Any], image: int, shown: Mapping[str, Axes], recipe: Recipe
) -> dict[str, Shown]:
    """Return the image views of one picture, of which `find_shown` says what they show."""
    original = [int(side) for side in rows["image_sizes"][image]] if "image_sizes" in rows else None
    images = {}
    for name, view in recipe.images.items():
        if name in rows:
            tensor = rows[name][image]
            axes = over_size(shown[name], *tensor.shape[1:]) if name in shown else None
            images[name] = Shown(name, view, tensor, axes, original)
    return images


@lru_cache(maxsize=256)
def over_size(axes: Axes, height: int, width: int) -> Axes:
    """Return axes for a view of another size over one that has these, as masks have and a batch of any size may have."""
    rows, columns = axes
    if (rows.size, columns.size) == (height, width):
        return axes
    return rows.over(rows.length, height), columns.over(columns.length, width)


def comparable(images: Mapping[str, Shown]) -> Iterator[tuple[Pair, tuple[Box, Box], tuple[int, int]]]:
    """Yield a view and another one that shows enough of the same, where in each that is, and in how many blocks to compare it."""
    if not images:
        return
    reference = images[choose_reference({name: image.view for name, image in images.items()})]
    for image in images.values():
        boxes = _shared_boxes(reference.axes, image.axes)
        if image is not reference and boxes is not None:
            # With too few pixels, in the views or in the original, filters don't make the same of it.
            sides = [min(box[2] - box[0], box[3] - box[1]) for box in boxes]
            if min(*sides, _side_of_original(reference, boxes)) >= LEAST_PIXELS:
                yield (reference, image), boxes, grid_of(*boxes)


def _side_of_original(first: Shown, boxes: tuple[Box, Box]) -> float:
    """Return the shorter side of what two views share, in pixels of the original; infinite where the batch tells nothing."""
    if first.axes is None:
        return inf
    left, top, right, bottom = boxes[0]
    # A padded view says no more of the original than its aspect ratio.
    rows, columns = first.axes
    height, width = first.original or (rows.length, columns.length)
    return min((bottom - top) * float(rows.step) * height, (right - left) * float(columns.step) * width)


@lru_cache(maxsize=256)
def grid_of(*boxes: Box) -> tuple[int, int]:
    """Return how many blocks boxes of the same stretch are compared in: rows and columns."""
    sides = (min(int(box[end] - box[end - 2]) for box in boxes) for end in (3, 2))
    rows, columns = (max(1, min(GRID, side // BLOCK_PIXELS)) for side in sides)
    return rows, columns


def pair_faults(pair: Pair, boxes: tuple[Box, Box], grid: tuple[int, int], taken: Taken) -> Iterator[str]:
    """Compare block means of two images, by pixels taken of each, and name the mistake that explains a difference best."""
    small, seen = (_blocks(one.to_levels(values), grid) for one, values in zip(pair, taken, strict=True))
    difference = _rms(small - seen)
    is_magnified = _side_of_original(pair[0], boxes) < FEW_PIXELS
    if difference <= (MAX_MAGNIFIED if is_magnified else MAX_DIFFERENCE):
        return
    guesses = dict(_guess(pair, taken, (small, seen), grid))
    likely = min(guesses, key=lambda text: guesses[text])
    if guesses[likely] < TELLING * difference:
        yield f"{likely} (the two differ by {difference:.0f} levels)"
    else:
        yield (
            f"{pair[0].name} and {pair[1].name} do not show the same picture (they differ by {difference:.0f} levels): "
            "of different images, or one of them padded, cropped or shuffled"
        )


def _guess(
    pair: Pair, taken: Taken, blocks: tuple[NDArray[Any], NDArray[Any]], grid: tuple[int, int]
) -> Iterator[tuple[str, float]]:
    """Yield known mistakes, and how far the two would differ had they been made."""
    small, seen = blocks
    for (one, other), values, levels in ((pair, taken[0], seen), (pair[::-1], taken[1], small)):
        if one.view.values == "normalized":
            # Times 255, values of 0..1 are the picture itself: then it was the normalisation that was left out.
            is_plain = values.min() >= 0 and values.max() <= 1 + SLACK
            clamped = f"{other.name} is the normalised image times 255, clamped: it must be resized from the original"
            text = f"{one.name} is in 0..1, not normalised" if is_plain else clamped
            yield text, _rms(_blocks(np.clip(values * 255, 0, 255), grid) - levels)
    yield "the channels of one of the two images are in BGR order", _rms(small[::-1] - seen)
    if grid[0] == grid[1]:
        yield "one of the two images is transposed", _rms(small.transpose(0, 2, 1) - seen)
    yield "one of the two images is mirrored", _rms(small[..., ::-1] - seen)
    yield "one of the two images is upside down", _rms(small[:, ::-1] - seen)
    for one, other in (pair, pair[::-1]):
        if one.axes is not None:
            rows, columns = one.axes
            for words, axes in other_geometries(one.view, rows.length, columns.length).items():
                fitted = one._replace(axes=axes), other
                boxes = _shared_boxes(axes, other.axes)
                if boxes is not None:
                    text = f"{one.name} is {words}, not {describe_fit(one.view)}"
                    yield text, _difference(fitted, boxes, grid_of(*boxes))


def _difference(pair: Pair, boxes: tuple[Box, Box], grid: tuple[int, int]) -> float:
    """Return by how much two images differ in what each has in its box, in levels."""
    first, second = (
        _blocks(one.to_levels(one.take(box, grid)), grid) for one, box in zip(pair, boxes, strict=True)
    )
    return _rms(first - second)


@lru_cache(maxsize=256)
def _shared_boxes(first: Axes | None, second: Axes | None) -> tuple[Box, Box] | None:
    """Return where each of two views has what both show of the picture; None where that is not known, or nothing."""
    if first is None or second is None:
        return None
    both = shared(first, second)
    return None if both is None else (box_of(first, both), box_of(second, both))


@lru_cache(maxsize=256)
def _picture_box(axes: Axes) -> Box:
    (top, bottom), (left, right) = (axis.picture for axis in axes)
    return float(left), float(top), float(right), float(bottom)


@lru_cache(maxsize=256)
def _places(first: float, last: float, blocks: int) -> slice | list[int]:
    """Return the pixels to look at along one side; a slice, which is faster, where they are evenly spread."""
    side = last - first
    count = blocks * max(1, min(POINTS, int(side) // blocks))
    step, rest = divmod(side, count)
    if not rest and first.is_integer():
        return slice(int(first + step // 2), int(last), int(step))
    places: list[int] = (first + (np.arange(count) + 0.5) * side / count).astype(np.int64).tolist()
    return places


def _blocks(image: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """Return means over the blocks of sampled pixels [3, n, m], [3, rows, columns]."""
    blocks = image.reshape(3, grid[0], image.shape[1] // grid[0], grid[1], -1)
    means: NDArray[Any] = blocks.mean(axis=(2, 4))
    return means


def _rms(difference: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))
