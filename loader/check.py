"""A guard for a trainer's first step and its CI: whether a batch means what it should, told from the batch alone.

Shapes and dtypes are compared in full. Of the pixels only a thin sample is looked at, so that a batch of 8 takes a few
milliseconds: each mistake named here shows in any part of an image. `resizeonce verify` looks at every pixel of a store.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache, lru_cache
from itertools import pairwise, product
from math import floor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .check_shapes import MASK_STEP, BatchError, check_keys, check_shapes, check_visible, to_numpy
from .check_views import (
    GRID,
    SLACK,
    Shown,
    comparable,
    find_shown,
    grid_of,
    images_of,
    over_size,
    pair_faults,
    rows_of,
)
from .compact import CompactBatch
from .format.geometry import Axes, Axis, Box, describe_fit
from .format.norms import KNOWN_NORMS, Norm
from .format.recipe import DEFAULT_RECIPE, ImageView, Recipe

TELLING_PIXELS = 2
"""Pixels of the finer view along each side of a prompt's cell from which on it shows what the cell was made of."""

MAX_DARK = 3
"""Levels up to which an image is black, or was scaled to 0..1, or normalised, before it was cast."""

UNSEEN_CELLS = 2
"""Cells that a prompt may leave out though its mask covers them: holes too small to be seen in that."""

WHOLE = 0.02
"""How far from a whole number a level may be that is one of 0..255."""

_IMAGENET = KNOWN_NORMS["ImageNet's"]


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
    is_exact, recipe = recipe is not None, recipe or DEFAULT_RECIPE
    suffixes = check_keys(batch, recipe)
    frames = tuple(batch["times"].shape[1:]) if "times" in batch else ()
    bounds = check_shapes(batch, suffixes, frames, recipe, is_exact=is_exact)
    if frames:
        check_visible(batch, frames, bounds[-1], recipe)
    for suffix in suffixes:
        for fault in _faults(batch, suffix, frames, bounds, recipe):
            raise BatchError(fault)


def _faults(
    batch: Mapping[str, Any], suffix: str, frames: tuple[int, ...], bounds: list[int], recipe: Recipe
) -> Iterator[str]:
    """Yield what is wrong with samples, and with which of them."""
    masks = recipe.masks
    num_frames = frames[0] if frames else 1
    rows = rows_of(batch, suffix, frames, recipe)
    dark = _dark_views(rows, recipe.images)
    for sample, frame in product(range(len(bounds) - 1), range(num_frames)):
        where = _name(batch, sample, suffix or (str(frame) if frames else ""))
        image = sample * num_frames + frame
        shown = find_shown(rows, image, recipe)
        for fault in _image_faults(images_of(rows, image, shown, recipe), dark):
            yield f"{where}: {fault}"
        for number, row in enumerate(range(bounds[sample], bounds[sample + 1])):
            whose = f", object {number}" if "objects" in batch else ""
            own = {
                name: rows[name][row * num_frames + frame]
                for name, view in masks.items()
                if name in rows and view.size != "own"
            }
            for fault in _object_faults(own, shown, recipe):
                yield f"{where}{whose}: {fault}"


def _name(batch: Mapping[str, Any], sample: int, frame: str) -> str:
    keys = batch.get("key", ())
    key = f" ({keys[sample]})" if sample < len(keys) else ""
    return f"sample {sample}{key}" + (f", frame {frame}" if frame else "")


def _object_faults(rows: Mapping[str, Any], shown: Mapping[str, Axes], recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with one object; its masks are by name, without the batch's axes."""
    masks = {name: recipe.masks[name] for name in rows}
    for name, mask in masks.items():
        yield from _mask_faults(name, to_numpy(rows[name][:: 1 if mask.role == "prompt" else MASK_STEP]))
    for name, view in masks.items():
        if view.over in shown:
            axes = over_size(shown[view.over], *rows[name].shape)
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


def _image_faults(images: Mapping[str, Shown], dark: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the images of a sample; `dark` are the views that may be told as scaled."""

    @cache
    def take(name: str, box: Box, grid: tuple[int, int]) -> NDArray[np.float32]:
        return images[name].take(box, grid)

    normalized = {}
    for image in images.values():
        if image.axes is not None:
            yield from _padding_faults(image, image.axes)
        if image.view.values == "normalized":
            normalized[image.name] = take(image.name, image.box, grid_of(image.box))
            yield from _pixel_faults(image, normalized[image.name])
    for image in images.values():
        if image.view.values == "uint8":
            highest = take(image.name, image.box, grid_of(image.box)).max()
            if highest <= MAX_DARK and image.name in dark and not _are_flat(normalized.values()):
                yield (
                    f"{image.name} are all in 0..{highest:.0f}: normalised, or scaled to 0..1, before the cast to uint8; "
                    "expected 0..255"
                )
    for name, values in normalized.items():
        yield from _norm_faults(images[name], values)
    for pair, boxes, grid in comparable(images):
        first, second = (take(one.name, box, grid) for one, box in zip(pair, boxes, strict=True))
        yield from pair_faults(pair, boxes, grid, (first, second))


def _are_flat(normalized: Collection[NDArray[np.float32]]) -> bool:
    """Whether there are images, and each is of nearly one colour."""
    return bool(normalized) and all(values.std(axis=(1, 2)).max() <= 0.05 for values in normalized)


def _mask_faults(name: str, values: NDArray[np.float32]) -> Iterator[str]:
    set_values = values[values != 0]
    if not len(set_values) or (set_values == 1).all():
        return
    highest = float(set_values.max())
    hint = ""
    if len(set(set_values.tolist())) > 1:
        hint = ": soft, so resized by another filter than nearest"
    elif abs(highest - 1 / 255) < 1e-4:
        hint = ": scaled by 1/255"
    elif highest == 255:
        hint = ": not divided by 255"
    yield f"{name} hold {highest:.6g}{hint}; expected exactly 0 and 1"


def _padding_faults(image: Shown, axes: Axes) -> Iterator[str]:
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


def _pixel_faults(image: Shown, values: NDArray[np.float32]) -> Iterator[str]:
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
    elif highest > max(8, most + SLACK) and lowest >= 0:
        yield f"{name} are 0..255, here {lowest:.3g}..{highest:.3g}: not normalised; {expected}"
    elif lowest < least - SLACK or highest > most + SLACK:
        yield from _norm_faults(image, values)
        yield f"{name} are {lowest:.3g}..{highest:.3g}: normalised twice, or with another mean; {expected}"


def _norm_faults(image: Shown, values: NDArray[np.float32]) -> Iterator[str]:
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
    pairs = list(zip(over_size(coarse[0], *coarse[1:]), over_size(fine[0], *fine[1:]), strict=True))
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
