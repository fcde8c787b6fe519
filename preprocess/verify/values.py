"""What the pixels of a part say: value sets, whether they look like photographs, whether views agree."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.geometry import choose_reference, describe_fit, mask_axes, view_axes
from ...loader.format.norms import Norm
from .findings import Finding, tensor_fault
from .images_anew import check_kept_file
from .masks import (
    SAME_RESOLUTION,
    UNSEEN_CELLS,
    Shape,
    area_ratio,
    choose_finest,
    count_origins,
    count_wrong,
    may_be_cut,
    most_unseen,
    set_beside,
    tells_area,
)
from .masks import explain as explain_masks
from .own_columns import check_box_by_view, check_boxes, check_own_masks
from .part import Part
from .pictures import (
    MAX_DIFFERENCE,
    MAX_SHIFT,
    Picture,
    compare,
    denormalize,
    explain,
    normalized,
    pixel_share,
)

FLAT_SPREAD = 2.0
"""Spread of an image's values, in levels, below which it is flat: worth a note, no damage."""

MAX_AREA_RATIO = 64.0
"""How many times finer, in pixels, a mask may be than its image."""


@dataclass(slots=True)
class ViewSums:
    """Over the images or the masks of a store, of one view: what single rows can't show, many can."""

    images: int = 0
    """Of the view that others are compared with, as are the next two."""
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' means, in levels."""
    spreads: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' standard deviations, in levels."""
    compared: int = 0
    """Images of another view beside that one, as are the next three."""
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Sum of the displacements (down, right) of the one with more pixels."""
    detailed: int = 0
    """Images whose larger form must hold more detail than the smaller."""
    enlarged: int = 0
    """Of them, those whose larger form is an enlarged smaller one."""
    masks: int = 0
    empty: int = 0
    as_original: int = 0
    """Cells that are as the original mask has them, where the finest view has not."""
    as_resized: int = 0
    """The other way round."""


Statistics = defaultdict[str, ViewSums]
"""By the names of views."""


def add_up(parts: Iterable[Statistics]) -> Statistics:
    """Return the sums over the parts of a store."""
    total = Statistics(ViewSums)
    for name, added in (item for statistics in parts for item in statistics.items()):
        for one in fields(added):
            setattr(total[name], one.name, getattr(total[name], one.name) + getattr(added, one.name))
    return total


def check_values(part: Part) -> Statistics:
    """Look at every row of a part with sound tables; findings go to the part."""
    statistics = Statistics(ViewSums)
    part.add(_check_images(part, statistics))
    part.add(_check_masks(part, statistics))
    part.add(check_boxes(part))
    for row in range(len(part.columns["images/size"])):
        part.add(check_kept_file(part, row))
    return statistics


def _check_images(part: Part, statistics: Statistics) -> Iterator[Finding]:
    views = part.task.recipe.images
    if not views:
        return
    reference = choose_reference(views)
    for row, (height, width) in enumerate(part.columns["images/size"].tolist()):
        pictures: dict[str, Picture] = {}
        for name, view in views.items():
            stored = part.row(f"images/{name}", row)
            if stored is None:
                continue
            axes = view_axes(view, height, width)
            levels, wrong = denormalize(stored, view, axes)
            if wrong is not None:
                expected = "normalised 8-bit values, bit for bit"
                yield tensor_fault("pixel-values", f"images/{name}", row, wrong, expected)
            pictures[name] = Picture(name, view, levels, axes)
            yield from _check_padding(row, pictures[name], stored)
            if name == reference:
                yield from _check_spread(row, pictures[name], statistics[name])
        if reference in pictures:
            seen = pictures.pop(reference)
            for name, picture in pictures.items():
                yield from _check_pair(row, seen, picture, statistics[name])


def _check_padding(row: int, picture: Picture, stored: NDArray[Any]) -> Iterator[Finding]:
    """Compare what lies beside the picture with its colour; some pixels around the picture may be mixed with it."""
    view = picture.view
    colour: NDArray[Any] = np.array(view.pad, np.uint8)[:, None, None]
    if stored.dtype != np.uint8:
        colour = (
            normalized(colour, Norm.of(view)) if view.fit == "pad-first" else np.zeros((3, 1, 1), np.float32)
        )
    (top, bottom), (left, right) = (axis.mixed for axis in picture.axes)
    if (top, left, bottom, right) == (0, 0, *stored.shape[1:]):
        return
    is_other = (stored != colour).any(axis=0)
    count = np.count_nonzero(is_other) - np.count_nonzero(is_other[top:bottom, left:right])
    if count:
        found = f"{count:,} pixels beside the picture are of other values than its padding"
        expected = f"{colour.ravel().tolist()} in each"
        yield tensor_fault("padding", f"images/{picture.name}", row, found, expected)


def _check_spread(row: int, picture: Picture, sums: ViewSums) -> Iterator[Finding]:
    (top, bottom), (left, right) = (axis.mixed for axis in picture.axes)
    levels = picture.levels[:, top:bottom, left:right]
    means, spreads = levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))
    sums.images += 1
    sums.means += means
    sums.spreads += spreads
    if levels.std() < FLAT_SPREAD:
        found = f"nearly one colour: mean {means.round(1).tolist()}, spread {spreads.round(2).tolist()}"
        array = f"images/{picture.name}"
        yield Finding(check="flat-image", level="note", array=array, row=row, found=found)


def _check_pair(row: int, reference: Picture, picture: Picture, sums: ViewSums) -> Iterator[Finding]:
    small, large = sorted((reference, picture), key=pixel_share, reverse=True)
    found = compare(small, large)
    array = f"images/{picture.name}"
    if found is None:
        return
    if found.difference > MAX_DIFFERENCE:
        text = f"{explain(reference, picture)} (blocks differ by up to {found.difference:.0f} levels)"
        yield tensor_fault("images-disagree", array, row, text, f"up to {MAX_DIFFERENCE:.0f}")
        return
    sums.compared += 1
    sums.shift += found.shift
    if max(map(abs, found.shift)) > MAX_SHIFT:
        down, right = found.shift
        text = f"{large.name} lies {down:+.2f} down, {right:+.2f} right of {small.name}, in pixels of that"
        yield tensor_fault("images-shifted", array, row, text, f"within {MAX_SHIFT}")
    if found.is_enlarged is not None:
        sums.detailed += 1
    if found.is_enlarged:
        sums.enlarged += 1
        height, width = picture.size
        text = f"it shows no detail beyond {small.name}, though the original is {height} x {width}"
        yield Finding(check="image-enlarged", level="note", array=f"images/{large.name}", row=row, found=text)


def _check_masks(part: Part, statistics: Statistics) -> Iterator[Finding]:
    recipe = part.task.recipe
    if recipe.prompt is not None:
        counts = np.count_nonzero(part.columns[f"masks/{recipe.prompt}"], axis=(1, 2))
        cells = part.columns["masks/prompt_cells"]
        for row in np.flatnonzero(counts != cells).tolist():
            found, expected = f"prompt_cells is {cells[row]}", f"{counts[row]} cells are set"
            yield tensor_fault("prompt-cells", "masks/prompt_cells", row, found, expected)
    finest = choose_finest(recipe.masks)
    ratios: dict[int, tuple[float, float]] = {}
    for row in range(len(part.columns["masks/image"])):
        height, width = part.picture_size(row)
        shapes: dict[str, Shape] = {}
        for name, view in recipe.masks.items():
            if view.size == "own":
                continue
            values = part.row(f"masks/{name}", row)
            if values is None:
                continue
            statistics[name].masks += 1
            statistics[name].empty += not values.any()
            if values.max() > 1:
                found = f"{len(np.unique(values))} values from 0 to {values.max()}"
                yield tensor_fault("mask-values", f"masks/{name}", row, found, "the bytes 0 and 1 of a bool")
            else:
                over = recipe.images[view.over]
                shapes[name] = Shape(name, view, over, values, mask_axes(view, over, height, width))
        others = {name: shape.values for name, shape in shapes.items()}
        yield from check_own_masks(part, row, others)
        yield from _check_shapes(part, row, shapes, finest, ratios, statistics)
    if finest is not None:
        yield from _check_areas(part, f"masks/{finest}", ratios)


def _check_shapes(
    part: Part,
    row: int,
    shapes: Mapping[str, Shape],
    finest: str | None,
    ratios: dict[int, tuple[float, float]],
    statistics: Statistics,
) -> Iterator[Finding]:
    """Look at a mask's views: beside the picture, against the finest one, and note how its area fits."""
    for name, shape in shapes.items():
        if count := set_beside(shape):
            found = f"{count:,} cells are set that have nothing of the picture"
            over = f"a mask over {shape.view.over}, which is {describe_fit(shape.over)}"
            yield tensor_fault("mask-beside", f"masks/{name}", row, found, over)
    fine = shapes.get(finest or "")
    if fine is None:
        return
    is_cut, area = may_be_cut(fine), int(part.columns["masks/area"][row])
    ratio = area_ratio(fine, area)
    if ratio is not None and tells_area(fine):
        ratios[row] = ratio
    elif ratio is None and not is_cut and area > most_unseen(fine):
        text = f"the mask is empty, but its area was {area} pixels"
        yield tensor_fault("mask-area", f"masks/{finest}", row, text)
    # How many pixels of the original mask a pixel of the finest view has along a side, at most.
    finer = 1.0 if ratio is None or is_cut else max(1.0, ratio[0]) ** 0.5
    is_dense = all(float(axis.length * axis.step) * finer <= 1 for axis in fine.axes)
    yield from check_box_by_view(part, row, fine, is_dense=is_dense)
    for name, shape in shapes.items():
        if name == finest:
            continue
        wrong, _ = count_wrong(shape, fine)
        if wrong > (0 if is_dense else UNSEEN_CELLS):
            found = f"{explain_masks(shape, fine)}{wrong} cells are not what {finest} shows there"
            yield tensor_fault("masks-disagree", f"masks/{name}", row, found, "one object in both")
        elif ratio is not None and abs(ratio[0] - 1) < SAME_RESOLUTION:
            as_original, as_resized = count_origins(shape, fine)
            statistics[name].as_original += as_original
            statistics[name].as_resized += as_resized


def _check_areas(part: Part, array: str, ratios: dict[int, tuple[float, float]]) -> Iterator[Finding]:
    """Compare the areas with the masks' shares: the masks of one image have one resolution, mostly the image's."""
    areas, image = part.columns["masks/area"], part.columns["masks/image"]
    of_image: dict[int, dict[int, tuple[float, float]]] = {}
    for row, known in ratios.items():
        of_image.setdefault(int(image[row]), {})[row] = known
    for rows in of_image.values():
        common = _common_ratio(list(rows.values()))
        for row, (ratio, tolerance) in rows.items():
            is_possible = 1 / MAX_AREA_RATIO <= ratio <= MAX_AREA_RATIO
            if not is_possible or abs(ratio / common - 1) > tolerance:
                times = common / ratio if ratio else 0.0
                text = f"the mask covers {times:.2f} times what its area of {areas[row]} pixels says"
                yield tensor_fault("mask-area", array, row, text, "one scale for all masks of an image")


def _common_ratio(ratios: Sequence[tuple[float, float]]) -> float:
    """Return the ratio that most masks of an image fit: 1, if it is as good as any, or that of one of them."""
    candidates = [1.0, *(ratio for ratio, _ in sorted(ratios, key=lambda pair: pair[1]) if ratio)]
    return max(
        candidates,
        key=lambda common: sum(abs(ratio / common - 1) <= tolerance for ratio, tolerance in ratios),
    )
