"""A guard for a trainer's first step and its CI: whether a batch means what it should, told from the batch alone.

Shapes and dtypes are compared in full. Of the pixels only a thin sample is looked at, so that a batch of 8 takes a few
milliseconds: each mistake named here shows in any part of an image. `resizeonce verify` looks at every pixel of a store.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise, product
from math import floor, inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .check_shapes import (
    MASK_STEP,
    BatchError,
    Wanted,
    check_keys,
    check_shapes,
    check_visible,
    flat_frames,
    to_numpy,
)
from .compact import CompactBatch
from .format.geometry import (
    Axes,
    Axis,
    Box,
    box_of,
    choose_reference,
    describe_fit,
    other_geometries,
    shared,
    view_axes,
)
from .format.norms import KNOWN_NORMS, Norm
from .format.recipe import DEFAULT_RECIPE, ImageView, Recipe

GRID = 16
"""Blocks along a side of an image that are compared; fewer where images are small."""

BLOCK_PIXELS = 7
"""Least side of a block, in pixels."""

POINTS = 4
"""Pixels along a side of a block that stand for it: every seventh of 448, every sixteenth of 1024."""

LEAST_PIXELS = 2 * BLOCK_PIXELS
"""Pixels along a side of what two views share, in either and in the original, below which they are not compared."""

TELLING_PIXELS = 2
"""Pixels of the finer view along each side of a prompt's cell from which on it shows what the cell was made of."""

MAX_DIFFERENCE = 14.0
"""Larger than that of `verify`, which looks at every pixel. Root mean square of the blocks' differences, in levels of 0..255. Measured: 4.4 at most,
on all sample datasets in both recipes."""

FEW_PIXELS = 50
"""Pixels along a side of the original below which views magnify single ones, and each filter makes its own of them. Measured from 14
on, in five recipes of all fits and filters: photographs differ by 12 levels at most, noise of colours by 27. Told by `image_sizes`."""

MAX_MAGNIFIED = 2 * MAX_DIFFERENCE
"""The bound for these."""

MAX_DARK = 3
"""Levels up to which an image is black, or was scaled to 0..1, or normalised, before it was cast."""

TELLING = 0.5
"""A mistake is named when it explains all but this share of the difference."""

UNSEEN_CELLS = 2
"""Cells that a prompt may leave out though its mask covers them: holes too small to be seen in that."""

WHOLE = 0.02
"""How far from a whole number a level may be that is one of 0..255."""

_ANY_SIZE = (1000, 1000)
"""Stands for the size of a picture where it is not known and a view has all of it, whatever its size."""
_IMAGENET = KNOWN_NORMS["ImageNet's"]
_SLACK = 1e-3


class _Cells(NamedTuple):
    """Rows or columns of cells, as far as a finer view has all of them."""

    places: dict[int, slice]
    """Where each lies in the finer view, with a pixel around it, by its number."""
    middles: list[int]
    """The pixel in the middle of each."""


def check_batch(batch: Mapping[str, Any], recipe: Recipe | None = None) -> None:
    """Return if a batch is sound.

    Takes tensors on any device (a small sample is moved to the CPU) and numpy arrays, single, paired or drawn, and with some of
    the recipe's views left out.

    Args:
        batch: an ordinary one; a compact one is completed by `to_device` first.
        recipe: what it was made by, such as `store.recipe`; None is the default recipe's views, squares of any size.

    Raises:
        BatchError: it is not; the message says what was found, what was expected, and which mistake it looks like.
    """
    if isinstance(batch, CompactBatch):
        raise BatchError("the batch is compact: check what resizeonce.loader.to_device makes of it")
    wanted = Wanted(recipe or DEFAULT_RECIPE, recipe is not None)
    suffixes = check_keys(batch, wanted)
    frames = tuple(batch["times"].shape[1:]) if "times" in batch else ()
    bounds = check_shapes(batch, suffixes, frames, wanted)
    if frames:
        check_visible(batch, frames, bounds[-1], wanted)
    for suffix in suffixes:
        for fault in _faults(batch, suffix, frames, bounds, wanted):
            raise BatchError(fault)


def view_differences(batch: Mapping[str, Any], recipe: Recipe) -> list[float]:
    """Return how much the image views of each sample differ at most: by block means, of which `check_batch` allows 14 levels.

    Args:
        batch: a sound one, whose samples are the store's own, single or paired; masks may be left out.
        recipe: what it was made by.

    Returns:
        Root mean squares in levels of 0..255; 0.0 where no two views show enough of the same.
    """
    wanted = Wanted(recipe, is_exact=True)
    found = [0.0] * len(batch["key"])
    for suffix in check_keys(batch, wanted):
        rows = _rows_of(batch, suffix, (), wanted)
        for sample in range(len(found)):
            for pair, boxes, grid in _comparable(_images_of(rows, sample, wanted)):
                blocks = [
                    _blocks(one.to_levels(_sampled(one.tensor, box, grid)), grid)
                    for one, box in zip(pair, boxes, strict=True)
                ]
                found[sample] = max(found[sample], _rms(blocks[0] - blocks[1]))
    return found


def _faults(
    batch: Mapping[str, Any], suffix: str, frames: tuple[int, ...], bounds: list[int], wanted: Wanted
) -> Iterator[str]:
    """Yield what is wrong with samples, and with which of them."""
    masks = wanted.recipe.masks
    num_frames = frames[0] if frames else 1
    rows = _rows_of(batch, suffix, frames, wanted)
    dark = _dark_views(rows, wanted.recipe.images)
    for sample, frame in product(range(len(bounds) - 1), range(num_frames)):
        where = _name(batch, sample, suffix or (str(frame) if frames else ""))
        image = sample * num_frames + frame
        shown = _find_shown(rows, image, wanted)
        for fault in _image_faults(_images_of(rows, image, wanted), dark):
            yield f"{where}: {fault}"
        for number, row in enumerate(range(bounds[sample], bounds[sample + 1])):
            whose = f", object {number}" if "objects" in batch else ""
            own = {
                name: rows[name][row * num_frames + frame]
                for name, view in masks.items()
                if name in rows and view.size != "own"
            }
            for fault in _object_faults(own, shown, wanted):
                yield f"{where}{whose}: {fault}"


def _name(batch: Mapping[str, Any], sample: int, frame: str) -> str:
    keys = batch.get("key", ())
    key = f" ({keys[sample]})" if sample < len(keys) else ""
    return f"sample {sample}{key}" + (f", frame {frame}" if frame else "")


def _find_shown(rows: Mapping[str, Any], image: int, wanted: Wanted) -> dict[str, Axes]:
    """Return what the image views show of a picture, as far as the batch tells its size, or its aspect ratio."""
    views = wanted.recipe.images
    keys = ("image_sizes", *(f"{name}_sizes" for name in views))
    known = next((rows[key][image] for key in keys if key in rows), None)
    size = None if known is None else tuple(int(side) for side in known)
    shown = {}
    for name, view in views.items():
        if view.fit == "pad" and f"{name}_sizes" in rows:
            height, width = rows[f"{name}_sizes"][image]
            shown[name] = view_axes(view, int(height), int(width))
        elif view.fit == "squash" or size is not None:
            shown[name] = view_axes(view, *(size or _ANY_SIZE))
    return shown


class _Image(NamedTuple):
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


def _rows_of(
    batch: Mapping[str, Any], suffix: str, frames: tuple[int, ...], wanted: Wanted
) -> dict[str, Any]:
    """Return what is looked at of a batch by keys without a suffix, all frames along one axis."""
    names = (*wanted.views, "image_sizes", *(f"{name}_sizes" for name in wanted.recipe.images))
    return {name: flat_frames(batch[name + suffix], frames) for name in names if name + suffix in batch}


def _images_of(rows: Mapping[str, Any], image: int, wanted: Wanted) -> dict[str, _Image]:
    """Return the image views of one picture."""
    shown = _find_shown(rows, image, wanted)
    original = [int(side) for side in rows["image_sizes"][image]] if "image_sizes" in rows else None
    images = {}
    for name, view in wanted.recipe.images.items():
        if name in rows:
            tensor = rows[name][image]
            axes = _over(shown[name], *tensor.shape[1:]) if name in shown else None
            images[name] = _Image(name, view, tensor, axes, original)
    return images


def _object_faults(rows: Mapping[str, Any], shown: Mapping[str, Axes], wanted: Wanted) -> Iterator[str]:
    """Yield what is wrong with one object; its masks are by name, without the batch's axes."""
    recipe = wanted.recipe
    masks = {name: recipe.masks[name] for name in rows}
    for name, mask in masks.items():
        yield from _mask_faults(name, to_numpy(rows[name][:: 1 if mask.role == "prompt" else MASK_STEP]))
    for name, view in masks.items():
        if view.over in shown:
            axes = _over(shown[view.over], *rows[name].shape)
            if np.count_nonzero(_beside(rows[name], axes)):
                fit = describe_fit(recipe.images[view.over])
                yield f"{name} is set beside the picture: it does not lie over {view.over}, which is {fit}"
    prompt = recipe.prompt
    finest = max(masks, key=lambda name: rows[name].shape[0] * rows[name].shape[1], default=None)
    if prompt in masks and finest is not None and finest != prompt:
        one, other = ((shown.get(masks[name].over), *rows[name].shape) for name in (prompt, finest))
        cells = _find_cells(one, other)
        if cells is not None:
            yield from _prompt_faults(prompt, finest, rows, *cells)


def _dark_views(rows: Mapping[str, Any], images: Mapping[str, ImageView]) -> set[str]:
    """Return the uint8 views that may be told as scaled to 0..1: where no normalized one shows what is black, only if all are."""
    read = {name: view for name, view in images.items() if name in rows}
    if any(view.values == "normalized" for view in read.values()):
        return set(read)
    return {name for name in read if len(rows[name]) and rows[name][..., ::GRID, ::GRID].max() <= MAX_DARK}


def _image_faults(images: Mapping[str, _Image], dark: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the images of a sample; `dark` are the views that may be told as scaled."""

    @cache
    def take(name: str, box: Box, grid: tuple[int, int]) -> NDArray[np.float32]:
        return _sampled(images[name].tensor, box, grid)

    normalized = {}
    for image in images.values():
        if image.axes is not None:
            yield from _padding_faults(image, image.axes)
        if image.view.values == "normalized":
            normalized[image.name] = take(image.name, image.box, _grid_of(image.box))
            yield from _pixel_faults(image, normalized[image.name])
    for image in images.values():
        if image.view.values == "uint8":
            highest = take(image.name, image.box, _grid_of(image.box)).max()
            if highest <= MAX_DARK and image.name in dark and not _are_flat(normalized.values()):
                yield (
                    f"{image.name} are all in 0..{highest:.0f}: normalised, or scaled to 0..1, before the cast to uint8; "
                    "expected 0..255"
                )
    for name, values in normalized.items():
        yield from _norm_faults(images[name], values)
    for pair, boxes, grid in _comparable(images):
        sampled = [take(one.name, box, grid) for one, box in zip(pair, boxes, strict=True)]
        is_magnified = _side_of_original(pair[0], boxes) < FEW_PIXELS
        most = MAX_MAGNIFIED if is_magnified else MAX_DIFFERENCE
        yield from _pair_faults(pair, (sampled[0], sampled[1]), grid, most)


def _comparable(
    images: Mapping[str, _Image],
) -> Iterator[tuple[tuple[_Image, _Image], tuple[Box, Box], tuple[int, int]]]:
    """Yield a view and another one that shows enough of the same, where in each that is, and in how many blocks to compare it."""
    if not images:
        return
    reference = images[choose_reference({name: image.view for name, image in images.items()})]
    for image in images.values():
        boxes = _shared_boxes(reference, image)
        if image is not reference and boxes is not None and _are_telling(reference, boxes):
            yield (reference, image), boxes, _grid_of(*boxes)


def _are_telling(first: _Image, boxes: tuple[Box, Box]) -> bool:
    """Whether what two views share has pixels enough, in them and in the original, for filters to make the same of it."""
    sides = [min(box[2] - box[0], box[3] - box[1]) for box in boxes]
    return min(*sides, _side_of_original(first, boxes)) >= LEAST_PIXELS


def _side_of_original(first: _Image, boxes: tuple[Box, Box]) -> float:
    """Return the shorter side of what two views share, in pixels of the original; infinite where the batch tells nothing."""
    if first.axes is None:
        return inf
    left, top, right, bottom = boxes[0]
    # A padded view says no more of the original than its aspect ratio.
    rows, columns = first.axes
    height, width = first.original or (rows.length, columns.length)
    return min((bottom - top) * float(rows.step) * height, (right - left) * float(columns.step) * width)


def _are_flat(normalized: Collection[NDArray[np.float32]]) -> bool:
    """Whether there are images, and each is of nearly one colour."""
    return bool(normalized) and all(values.std(axis=(1, 2)).max() <= 0.05 for values in normalized)


@lru_cache(maxsize=256)
def _over(axes: Axes, height: int, width: int) -> Axes:
    """Return axes for a view of another size over one that has these, as masks have and a batch of any size may have."""
    rows, columns = axes
    if (rows.size, columns.size) == (height, width):
        return axes
    return rows.over(rows.length, height), columns.over(columns.length, width)


def _mask_faults(name: str, values: NDArray[np.float32]) -> Iterator[str]:
    set_values = values[values != 0]
    if not len(set_values) or (set_values == 1).all():
        return
    highest = float(set_values.max())
    if len(set(set_values.tolist())) == 1:
        hint = (
            ": scaled by 1/255"
            if abs(highest - 1 / 255) < 1e-4
            else ": not divided by 255"
            if highest == 255
            else ""
        )
    else:
        hint = ": soft, so resized by another filter than nearest"
    yield f"{name} hold {highest:.6g}{hint}; expected exactly 0 and 1"


def _padding_faults(image: _Image, axes: Axes) -> Iterator[str]:
    """Compare what lies beside the picture with the view's padding."""
    view = image.view
    beside = _beside(image.tensor, axes)
    if not beside.size:
        return
    colour = np.array(view.pad, np.float32)
    if view.values == "normalized":
        mean, std = (np.array(numbers, np.float32) for numbers in (view.mean, view.std))
        colour = (colour / np.float32(view.scale) - mean) / std if view.fit == "pad-first" else 0 * colour
    if (beside != colour[:, None]).any():
        yield (
            f"{image.name} has other values than its padding, {colour.tolist()}, beside the picture: it is not "
            f"{describe_fit(view)}"
        )


def _beside(tensor: Any, axes: Axes) -> NDArray[Any]:
    """Return some of what a view has beside its picture, [..., N]; a strip that is mixed with the picture is left out."""
    (top, bottom), (left, right) = _mixed(axes)
    height, width = tensor.shape[-2:]
    if (top, left, bottom, right) == (0, 0, height, width):
        return np.zeros((0,), np.float32)
    step = MASK_STEP
    strips = (
        tensor[..., :top:step, ::step],
        tensor[..., bottom::step, ::step],
        tensor[..., top:bottom:step, :left:step],
        tensor[..., top:bottom:step, right::step],
    )
    return np.concatenate([to_numpy(strip).reshape(*tensor.shape[:-2], -1) for strip in strips], axis=-1)


def _pixel_faults(image: _Image, values: NDArray[np.float32]) -> Iterator[str]:
    name, norm = image.name, Norm.of(image.view)
    least, most = _range_of(norm)
    lowest, highest = float(values.min()), float(values.max())
    words = (
        "ImageNet-normalised values"
        if norm == _IMAGENET
        else f"values normalised with {norm.mean} and {norm.std}"
    )
    expected = f"expected {words}, {least:.2f}..{most:.2f}"
    if not np.isfinite(values).all():
        yield f"{name} hold values that are not finite; {expected}"
    elif highest > max(8, most + _SLACK) and lowest >= 0:
        yield f"{name} are 0..255, here {lowest:.3g}..{highest:.3g}: not normalised; {expected}"
    elif lowest < least - _SLACK or highest > most + _SLACK:
        yield from _norm_faults(image, values)
        yield f"{name} are {lowest:.3g}..{highest:.3g}: normalised twice, or with another mean; {expected}"


def _norm_faults(image: _Image, values: NDArray[np.float32]) -> Iterator[str]:
    """Tell another normalisation by its levels: with the right numbers they are whole."""
    norm = Norm.of(image.view)
    values = values[:, ::2, ::2]
    if _share_of_whole(norm, values) > 0.5:
        return
    for words, other in KNOWN_NORMS.items():
        if any(other.mean) and _share_of_whole(other, values) > 0.99:
            yield f"{image.name} is normalised with {words} mean and std; expected {norm.mean} and {norm.std}"


def _share_of_whole(norm: Norm, values: NDArray[np.float32]) -> float:
    """Return how many of the values are whole levels, as a share."""
    levels = norm.to_levels(values)
    is_whole = (np.abs(levels - np.rint(levels)) < WHOLE) & (levels > -0.5) & (levels < 255.5)
    return float(is_whole.mean())


def _pair_faults(
    images: tuple[_Image, _Image],
    sampled: tuple[NDArray[np.float32], NDArray[np.float32]],
    grid: tuple[int, int],
    most: float,
) -> Iterator[str]:
    """Compare block means of two images, which may differ by `most`, and name the mistake that explains a difference best."""
    small, seen = (
        _blocks(image.to_levels(values), grid) for image, values in zip(images, sampled, strict=True)
    )
    difference = _rms(small - seen)
    if difference <= most:
        return
    guesses = dict(_guess(images, sampled, grid))
    likely = min(guesses, key=lambda text: guesses[text])
    if guesses[likely] < TELLING * difference:
        yield f"{likely} (the two differ by {difference:.0f} levels)"
    else:
        yield (
            f"{images[0].name} and {images[1].name} do not show the same picture (they differ by {difference:.0f} levels): "
            "of different images, or one of them padded, cropped or shuffled"
        )


def _guess(
    images: tuple[_Image, _Image],
    sampled: tuple[NDArray[np.float32], NDArray[np.float32]],
    grid: tuple[int, int],
) -> Iterator[tuple[str, float]]:
    """Yield known mistakes, and how far the two would differ had they been made."""
    small, seen = (
        _blocks(image.to_levels(values), grid) for image, values in zip(images, sampled, strict=True)
    )
    for one, values, other, levels in (
        (images[0], sampled[0], images[1], seen),
        (images[1], sampled[1], images[0], small),
    ):
        if one.view.values == "normalized":
            # Times 255, values of 0..1 are the picture itself: then it was the normalisation that was left out.
            is_plain = values.min() >= 0 and values.max() <= 1 + _SLACK
            yield (
                (
                    f"{one.name} is in 0..1, not normalised"
                    if is_plain
                    else f"{other.name} is the normalised image times 255, clamped: it must be resized from the original"
                ),
                _rms(_blocks(np.clip(values * 255, 0, 255), grid) - levels),
            )
    yield "the channels of one of the two images are in BGR order", _rms(small[::-1] - seen)
    if grid[0] == grid[1]:
        yield "one of the two images is transposed", _rms(small.transpose(0, 2, 1) - seen)
    yield "one of the two images is mirrored", _rms(small[..., ::-1] - seen)
    yield "one of the two images is upside down", _rms(small[:, ::-1] - seen)
    for one, other in (images, images[::-1]):
        if one.axes is None:
            continue
        for words, axes in other_geometries(one.view, one.axes[0].length, one.axes[1].length).items():
            pair = one._replace(axes=axes), other
            boxes = _shared_boxes(*pair)
            if boxes is not None:
                blocks = [
                    _blocks(each.to_levels(_sampled(each.tensor, box, _grid_of(*boxes))), _grid_of(*boxes))
                    for each, box in zip(pair, boxes, strict=True)
                ]
                yield f"{one.name} is {words}, not {describe_fit(one.view)}", _rms(blocks[0] - blocks[1])


def _prompt_faults(
    prompt: str, mask: str, rows: Mapping[str, Any], down: _Cells, across: _Cells
) -> Iterator[str]:
    """Look for each set cell of a prompt whether the mask shows anything on it."""
    values = rows[mask]
    cells = np.argwhere(to_numpy(rows[prompt]) != 0).tolist()
    wrong = sum(
        not _is_shown(values, down.places.get(row), across.places.get(column)) for row, column in cells
    )
    if wrong:
        is_square = rows[prompt].shape[0] == rows[prompt].shape[1]
        turned = is_square and all(
            _is_shown(values, down.places.get(column), across.places.get(row)) for row, column in cells
        )
        hint = "one of the two is transposed" if turned else "they are of different objects"
        yield f"{prompt} has {wrong} cells where {mask} shows nothing: {hint}"
    # The other way round: of cells that are not set, those whose middle the mask covers are looked at.
    is_bare = to_numpy(rows[prompt])[list(down.places)][:, list(across.places)] == 0
    is_covered = to_numpy(values[down.middles][:, across.middles]) != 0
    tall, wide = (list(cells.places.values()) for cells in (down, across))
    places = np.argwhere(is_bare & is_covered).tolist()
    left_out = sum(bool((values[tall[row], wide[column]] != 0).all()) for row, column in places)
    if left_out > UNSEEN_CELLS:
        yield f"{prompt} leaves out {left_out} cells that {mask} covers: they are of different geometries, or objects"


@lru_cache(maxsize=256)
def _find_cells(
    coarse: tuple[Axes | None, int, int], fine: tuple[Axes | None, int, int]
) -> tuple[_Cells, _Cells] | None:
    """Return where rows and columns of cells lie in a finer view; each over axes, with height and width.

    None if those are not known, or the other view is hardly finer, or finer along one side only.
    """
    if coarse[0] is None or fine[0] is None:
        return None
    pairs = list(zip(_over(coarse[0], *coarse[1:]), _over(fine[0], *fine[1:]), strict=True))
    if any(one.step < TELLING_PIXELS * other.step for one, other in pairs):
        return None
    down, across = (_place_cells(*pair) for pair in pairs)
    return down, across


def _place_cells(coarse: Axis, fine: Axis) -> _Cells:
    ends = [fine.place(coarse.start + end * coarse.step) for end in range(coarse.size + 1)]
    places = {
        cell: slice(max(0, floor(first) - 1), min(fine.size, floor(last) + 1))
        for cell, (first, last) in enumerate(pairwise(ends))
        if first >= 0 and last <= fine.size
    }
    return _Cells(places, [(place.start + place.stop) // 2 for place in places.values()])


def _is_shown(mask: Any, down: slice | None, right: slice | None) -> bool:
    """Whether a mask covers anything of a cell, or of the pixels around it; first a few pixels are looked at."""
    if down is None or right is None:
        return True
    step = max(1, (down.stop - down.start) // 4)
    return any(
        bool((mask[down.start : down.stop : stride, right.start : right.stop : stride] != 0).any())
        for stride in (step, 1)
    )


@lru_cache(maxsize=64)
def _range_of(norm: Norm) -> tuple[float, float]:
    """Return the least and the greatest value that a level can become."""
    ends = [
        (level / norm.scale - mean) / std
        for level in (0, 255)
        for mean, std in zip(norm.mean, norm.std, strict=True)
    ]
    return min(ends), max(ends)


@lru_cache(maxsize=256)
def _mixed(axes: Axes) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = axes
    return rows.mixed, columns.mixed


@lru_cache(maxsize=256)
def _picture_box(axes: Axes) -> Box:
    (top, bottom), (left, right) = (axis.picture for axis in axes)
    return float(left), float(top), float(right), float(bottom)


def _shared_boxes(first: _Image, second: _Image) -> tuple[Box, Box] | None:
    """Return where each of two views has what both show of the picture; None where that is not known, or nothing."""
    return None if first.axes is None or second.axes is None else _find_shared(first.axes, second.axes)


@lru_cache(maxsize=256)
def _find_shared(first: Axes, second: Axes) -> tuple[Box, Box] | None:
    both = shared(first, second)
    return None if both is None else (box_of(first, both), box_of(second, both))


@lru_cache(maxsize=256)
def _grid_of(*boxes: Box) -> tuple[int, int]:
    """Return how many blocks boxes of the same stretch are compared in: rows and columns."""
    sides = (min(int(box[end] - box[end - 2]) for box in boxes) for end in (3, 2))
    rows, columns = (max(1, min(GRID, side // BLOCK_PIXELS)) for side in sides)
    return rows, columns


def _sampled(image: Any, box: Box, grid: tuple[int, int]) -> NDArray[np.float32]:
    """Return evenly spread pixels of a box, float32 [3, n, m], n and m multiples of the blocks along the sides."""
    left, top, right, bottom = box
    rows = _places(top, bottom, grid[0])
    columns = _places(left, right, grid[1])
    if isinstance(rows, slice) and isinstance(columns, slice):
        return to_numpy(image[:, rows, columns]).astype(np.float32)
    return to_numpy(image[:, rows][:, :, columns]).astype(np.float32)


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
