"""Masks at their own size, and boxes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import MAX_MASK_PIXELS
from ...loader.format.recipe import is_own_size
from ..decode.images import is_same_picture
from .findings import Finding, tensor_fault
from .masks import Shape
from .part import Part
from .reasons import explain_mask
from .remake import remake_view

SAME_BOX = 1e-6
"""How far, as a share, a box's edges may lie apart: by their last bit where they are scaled."""

NEAREST = ("pillow-nearest", "torch-nearest")

MAX_REMADE_PIXELS = 1 << 26
"""Of a mask that other views are made of once more: that takes eight bytes for a pixel and more."""

Row = dict[str, NDArray[np.uint8]]
"""The mask views of a row that have a fixed size, uint8 [height, width] each, by their names."""


def check_own_masks(part: Part, row: int, others: Row) -> Iterator[Finding]:
    """Yield what is wrong with a row's masks at their own size, or with its other views beside them."""
    size = part.picture_size(row)
    for name, view in part.task.recipe.masks.items():
        if not is_own_size(view):
            continue
        mask, fault = read_own_mask(part, name, row)
        if fault:
            yield tensor_fault("mask-runs", f"masks/{name}_runs", row, fault)
        if mask is None:
            continue
        area, count = part.columns["masks/area"][row], np.count_nonzero(mask)
        if count != area:
            yield tensor_fault("mask-area", f"masks/{name}", row, f"it covers {count} pixels", f"{area}")
        if not is_same_picture(size, mask.shape):
            found = f"it is {mask.shape[0]} x {mask.shape[1]}"
            expected = f"the proportions of its image, {size[0]} x {size[1]}"
            yield tensor_fault("mask-size", f"masks/{name}_size", row, found, expected)
            continue
        yield from compare_box(part, row, mask, size)
        yield from _compare_views(part, name, row, mask, size, others)


def read_own_mask(part: Part, name: str, row: int) -> tuple[NDArray[np.bool_] | None, str]:
    """Return a mask at its own size, bool [H, W], None where it can't be read; and what is wrong with it, "" if nothing is."""
    runs = part.piece(f"masks/{name}", "runs", row)
    if runs is None:
        return None, ""
    height, width = part.columns[f"masks/{name}_size"][row].tolist()
    if min(height, width) < 1 or height * width > MAX_MASK_PIXELS:
        return None, f"its size is {height} x {width}"
    if int(runs.sum(dtype=np.uint64)) != height * width or not runs[1:].all():
        return None, f"its run lengths are not those of {height} x {width} pixels"
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T, ""


def compare_own_mask(part: Part, name: str, row: int, original: NDArray[np.bool_]) -> Iterator[Finding]:
    """Compare a mask at its own size with the original, bool [H, W]."""
    mask, fault = read_own_mask(part, name, row)
    if fault or (mask is not None and not np.array_equal(mask, original)):
        found = fault or "it is another mask"
        yield tensor_fault("source-differs", f"masks/{name}_runs", row, found, "that of the raw dataset")


def _compare_views(
    part: Part, name: str, row: int, mask: NDArray[np.bool_], size: tuple[int, int], others: Row
) -> Iterator[Finding]:
    """Compare a row's other views with what is made of the mask at its own size, which is the original."""
    recipe = part.task.recipe
    if others and mask.size > MAX_REMADE_PIXELS:
        found = f"it has {mask.size:,} pixels: what is made of it was not compared"
        yield Finding(check="mask-unchecked", level="note", array=f"masks/{name}", row=row, found=found)
        return
    remade = {}
    for other in others:
        view = recipe.masks[other]
        remade[other] = remake_view(mask, view, recipe.images[view.over], size)
    for other, values in others.items():
        if count := np.count_nonzero(values != remade[other]):
            reason = explain_mask(values, other, mask, size, recipe, remade)
            found = f"{count:,} of {values.size:,} pixels are not what {name} gives{reason}"
            yield tensor_fault("masks-disagree", f"masks/{other}", row, found, "equal bits")


def check_boxes(part: Part) -> Iterator[Finding]:
    """Yield boxes that lie beside their image, or are empty where their mask is not, or the other way round."""
    for row, box in enumerate(part.columns.get("masks/box", ())):
        area, (height, width) = part.columns["masks/area"][row], part.picture_size(row)
        left, top, right, bottom = box.tolist()
        is_within = 0 <= left < right <= width and 0 <= top < bottom <= height
        if not (is_within if area else not box.any()):
            expected = f"a part of {height} x {width} pixels" if area else "zeros: its mask is empty"
            yield tensor_fault("box", "masks/box", row, f"{box.tolist()}", expected)


def compare_box(part: Part, row: int, mask: NDArray[np.bool_], size: tuple[int, int]) -> Iterator[Finding]:
    """Compare a box with what a mask covers, bool [H, W] in whatever resolution, of a picture of `size` (height, width)."""
    boxes = part.columns.get("masks/box")
    if boxes is None:
        return
    wanted = np.zeros(4)
    if mask.any():
        for axis in (0, 1):
            covered = np.flatnonzero(mask.any(axis=1 - axis))
            scale = size[axis] / mask.shape[axis]
            wanted[[1 - axis, 3 - axis]] = np.array([covered[0], covered[-1] + 1]) * scale
    if not np.allclose(boxes[row], wanted, rtol=SAME_BOX, atol=0):
        yield tensor_fault(
            "box", "masks/box", row, f"{boxes[row].tolist()}", f"{wanted.tolist()}, around its mask"
        )


def check_box_by_view(part: Part, row: int, shape: Shape, *, is_dense: bool) -> Iterator[Finding]:
    """Compare a box with what a view of a fixed size shows, up to a pixel of that.

    A view is dense where no pixel of the original mask lies between those that it samples.
    """
    boxes = part.columns.get("masks/box")
    if boxes is None or not shape.values.any() or not np.isfinite(boxes[row]).all():
        return
    is_whole = all(axis.start <= 0 and axis.start + axis.size * axis.step >= 1 for axis in shape.axes)
    sees_all = is_whole and (shape.view.filter == "touch" or (is_dense and shape.view.filter in NEAREST))
    box = boxes[row].tolist()
    for number, axis in enumerate(shape.axes):
        covered = np.flatnonzero(shape.values.any(axis=1 - number)).tolist()
        before, after = covered[0], covered[-1]
        # The box's edges in pixels of the view.
        first, last = (
            min(max((edge / axis.length - float(axis.start)) / float(axis.step), 0.0), float(axis.size))
            for edge in (box[1 - number], box[3 - number])
        )
        is_beside = first > before + 1 or last < after
        is_larger = first < before - 1 or last > after + 2
        if is_beside or (sees_all and is_larger):
            found = f"{box}: {first:.1f} to {last:.1f} in pixels of {shape.name}"
            yield tensor_fault("box", "masks/box", row, found, f"{before} to {after + 1}, as that shows")
            return
