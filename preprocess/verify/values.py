"""What the pixels of a part say: value sets, whether they look like photographs, whether views agree."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.geometry import Axes, choose_reference, describe_fit, view_axes
from ...loader.format.layout import view_path
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView
from .findings import Finding, tensor_fault
from .kept_files import check_kept_file
from .masks import (
    SAME_RESOLUTION,
    UNSEEN_CELLS,
    Shape,
    area_ratio,
    choose_finest,
    count_origins,
    may_be_cut,
    most_unseen,
    set_beside,
    tells_area,
    wrong_cells,
)
from .masks import explain as explain_masks
from .own_columns import check_box_by_view, check_boxes, check_own_masks
from .part import Part, read_row
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
class ImageSums:
    """Over the images of a store, of the view that others are compared with."""

    images: int = 0
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' means, in levels."""
    spreads: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' standard deviations, in levels."""


@dataclass(slots=True)
class PairSums:
    """Over the images of a store, of another view beside that one."""

    compared: int = 0
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Sum of the displacements (down, right) of the one with more pixels."""
    detailed: int = 0
    """Images whose larger form must hold more detail than the smaller."""
    enlarged: int = 0
    """Of them, those whose larger form is an enlarged smaller one."""


@dataclass(slots=True)
class MaskSums:
    """Over the masks of a store, of a view."""

    masks: int = 0
    empty: int = 0
    as_original: int = 0
    """Cells that are as the original mask has them, where the finest view has not."""
    as_resized: int = 0
    """The other way round."""


@dataclass(slots=True)
class Statistics:
    """Sums over images and masks, by the names of views; what single rows can't show, many can."""

    images: defaultdict[str, ImageSums] = field(default_factory=lambda: defaultdict(ImageSums))
    pairs: defaultdict[str, PairSums] = field(default_factory=lambda: defaultdict(PairSums))
    masks: defaultdict[str, MaskSums] = field(default_factory=lambda: defaultdict(MaskSums))

    def __iadd__(self, other: "Statistics") -> "Statistics":
        for table in fields(self):
            sums = getattr(self, table.name)
            for name, added in getattr(other, table.name).items():
                for one in fields(added):
                    setattr(sums[name], one.name, getattr(sums[name], one.name) + getattr(added, one.name))
        return self


def check_values(part: Part) -> Statistics:
    """Look at every row of a part; findings go to the part."""
    statistics = Statistics()
    part.add(_check_images(part, statistics))
    part.add(_check_masks(part, statistics))
    part.add(check_boxes(part))
    for row in range(len(part.columns.get("images/size", ()))):
        part.add(check_kept_file(part, row))
    return statistics


def _check_images(part: Part, statistics: Statistics) -> Iterator[Finding]:
    views = part.task.recipe.images
    if not views:
        return
    reference = choose_reference(views)
    for row in range(max(part.num_rows(view_path(name, view)) for name, view in views.items())):
        pictures: dict[str, Picture] = {}
        for name, view in views.items():
            stored, faults = read_row(part, view_path(name, view), row)
            yield from faults
            if stored is not None:
                axes = _axes_of(part, view, row)
                levels, wrong = denormalize(stored, view, axes)
                if wrong is not None:
                    expected = "normalised 8-bit values, bit for bit"
                    yield tensor_fault("pixel-values", view_path(name, view), row, wrong, expected)
                if axes is not None:
                    pictures[name] = Picture(name, view, levels, axes)
                    yield from _check_padding(row, pictures[name], stored)
                if name == reference:
                    yield from _check_spread(row, name, levels, axes, statistics.images[name])
        if reference in pictures:
            seen = pictures.pop(reference)
            for name, picture in pictures.items():
                yield from _check_pair(row, seen, picture, statistics.pairs[name])


def _axes_of(part: Part, view: ImageView, image: int) -> Axes | None:
    """Return what a view shows of a picture, None where the picture's size is not known."""
    sizes = part.columns.get("images/size")
    if sizes is None or not 0 <= image < len(sizes) or sizes[image].min() < 1:
        return None
    height, width = sizes[image].tolist()
    return view_axes(view, height, width)


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
        yield tensor_fault(
            "padding", f"images/{picture.name}", row, found, f"{colour.ravel().tolist()} in each"
        )


def _check_spread(
    row: int, name: str, levels: NDArray[np.uint8], axes: Axes | None, sums: ImageSums
) -> Iterator[Finding]:
    if axes is not None:
        (top, bottom), (left, right) = (axis.mixed for axis in axes)
        levels = levels[:, top:bottom, left:right]
    means, spreads = levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))
    sums.images += 1
    sums.means += means
    sums.spreads += spreads
    if levels.std() < FLAT_SPREAD:
        found = f"nearly one colour: mean {means.round(1).tolist()}, spread {spreads.round(2).tolist()}"
        yield Finding(check="flat-image", level="note", array=f"images/{name}", row=row, found=found)


def _check_pair(row: int, reference: Picture, picture: Picture, sums: PairSums) -> Iterator[Finding]:
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
    yield from _check_counts(
        part.columns.get(f"masks/{recipe.prompt}"), part.columns.get("masks/prompt_cells")
    )
    finest = choose_finest(recipe.masks)
    ratios: dict[int, tuple[float, float]] = {}
    for row in range(_count_masks(part)):
        shapes: dict[str, Shape] = {}
        for name, view in recipe.masks.items():
            if view.size == "own":
                continue
            values, faults = read_row(part, f"masks/{name}", row)
            yield from faults
            if values is None:
                continue
            statistics.masks[name].masks += 1
            statistics.masks[name].empty += not values.any()
            if values.max() > 1:
                found = f"{len(np.unique(values))} values from 0 to {values.max()}"
                yield tensor_fault("mask-values", f"masks/{name}", row, found, "the bytes 0 and 1 of a bool")
            elif (size := _picture_of(part, row)) is not None:
                shapes[name] = Shape.of(name, view, recipe.images[view.over], values, size)
        others = {name: shape.values for name, shape in shapes.items()}
        yield from check_own_masks(part, row, _picture_of(part, row), others)
        yield from _check_shapes(part, row, shapes, finest, ratios, statistics)
    if finest is not None:
        yield from _check_areas(part, f"masks/{finest}", ratios)


def _count_masks(part: Part) -> int:
    """Return how many masks can be looked at: the longest array of a view."""
    views = part.task.recipe.masks
    return max(
        (
            len(part.columns.get(f"masks/{name}", ()))
            if view.role == "prompt"
            else len(part.columns.get(f"masks/{name}_size", ()))
            if view.size == "own"
            else part.num_rows(f"masks/{name}")
            for name, view in views.items()
        ),
        default=0,
    )


def _check_counts(prompts: NDArray[Any] | None, cells: NDArray[Any] | None) -> Iterator[Finding]:
    if prompts is not None and cells is not None:
        counts = np.count_nonzero(prompts, axis=(1, 2))
        for row in np.flatnonzero(counts != cells):
            found = f"prompt_cells is {cells[row]}"
            yield tensor_fault(
                "prompt-cells", "masks/prompt_cells", int(row), found, f"{counts[row]} cells are set"
            )


def _picture_of(part: Part, mask: int) -> tuple[int, int] | None:
    """Return the size (height, width) of a mask's picture, None where it is not known."""
    image, sizes = part.columns.get("masks/image"), part.columns.get("images/size")
    if image is None or sizes is None or mask >= len(image) or not 0 <= image[mask] < len(sizes):
        return None
    height, width = sizes[image[mask]].tolist()
    return (height, width) if min(height, width) > 0 else None


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
    fine, areas = shapes.get(finest or ""), part.columns.get("masks/area")
    if fine is None or areas is None:
        return
    is_cut = may_be_cut(fine)
    ratio = area_ratio(fine, int(areas[row]))
    if ratio is not None and tells_area(fine):
        ratios[row] = ratio
    elif ratio is None and not is_cut and areas[row] > most_unseen(fine):
        text = f"the mask is empty, but its area was {areas[row]} pixels"
        yield tensor_fault("mask-area", f"masks/{finest}", row, text)
    # How many pixels of the original mask a pixel of the finest view has along a side, at most.
    finer = 1.0 if ratio is None or is_cut else max(1.0, ratio[0]) ** 0.5
    is_dense = all(float(axis.length * axis.step) * finer <= 1 for axis in fine.axes)
    yield from check_box_by_view(part, row, fine, is_dense=is_dense)
    for name, shape in shapes.items():
        if name == finest:
            continue
        wrong = wrong_cells(shape, fine)
        if wrong > (0 if is_dense else UNSEEN_CELLS):
            found = f"{explain_masks(shape, fine)}{wrong} cells are not what {finest} shows there"
            yield tensor_fault("masks-disagree", f"masks/{name}", row, found, "one object in both")
        elif ratio is not None and abs(ratio[0] - 1) < SAME_RESOLUTION:
            as_original, as_resized = count_origins(shape, fine)
            statistics.masks[name].as_original += as_original
            statistics.masks[name].as_resized += as_resized


def _check_areas(part: Part, array: str, ratios: dict[int, tuple[float, float]]) -> Iterator[Finding]:
    """Compare the areas with the masks' shares: the masks of one image have one resolution, mostly the image's."""
    areas, image = part.columns.get("masks/area"), part.columns.get("masks/image")
    if areas is None or image is None:
        return
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
