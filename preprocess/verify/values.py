"""What the pixels of a part say: value sets, whether they look like photographs, whether tensors agree."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import REDO_TENSORS, Finding
from .part import Part, read_row
from .pictures import MAX_DIFFERENCE, MAX_SHIFT, Comparison, compare, denormalize, explain, is_enlarged
from .prompts import SAME_RESOLUTION, UNSEEN_CELLS, area_ratio, origin, wrong_cells

FLAT_SPREAD = 2.0
"""Spread of an image's values, in levels, below which it is flat: worth a note, no damage."""

MIN_AREA_SEEN = 64
"""Pixels of a mask that can't all be missed when it is resized."""

MAX_AREA_RATIO = 64.0
"""How many times finer, in pixels, a mask may be than its image."""


@dataclass(slots=True)
class Statistics:
    """Sums over images and masks; what single rows can't show, many can."""

    images: int = 0
    means: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' means, in levels."""
    spreads: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    """Per channel, sum of the images' standard deviations, in levels."""
    compared: int = 0
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Sum of the displacements (down, right)."""
    detailed: int = 0
    """Images whose larger form must hold more detail than the smaller."""
    enlarged: int = 0
    """Of them, those whose larger form is an enlarged smaller one."""
    as_original: int = 0
    """Prompt cells that are as the original mask has them, where the 1024 mask has not."""
    as_resized: int = 0
    """The other way round."""
    masks: int = 0
    empty_masks: int = 0
    empty_prompts: int = 0

    def __iadd__(self, other: "Statistics") -> "Statistics":
        for name in asdict(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


def check_values(part: Part, tick: Callable[[int], None]) -> Statistics:
    """Look at every row of a part; findings go to the part. `tick` is called with the bytes of each row."""
    statistics = Statistics()
    for finding in _check_images(part, statistics, tick):
        part.add(finding)
    for finding in _check_masks(part, statistics, tick):
        part.add(finding)
    return statistics


def _fault(check: str, array: str, row: int, found: str, expected: str = "") -> Finding:
    return Finding(check=check, array=array, row=row, found=found, expected=expected, advice=REDO_TENSORS)


def _check_images(part: Part, statistics: Statistics, tick: Callable[[int], None]) -> Iterator[Finding]:
    sizes = part.columns.get("images/size")
    for row in range(part.num_rows("images/pixel_values")):
        pixels = None
        stored, faults = read_row(part, "images/pixel_values", row)
        yield from faults
        if stored is not None:
            pixels, is_exact = denormalize(stored)
            if not is_exact:
                found = f"values from {stored.min():.4g} to {stored.max():.4g}"
                yield _fault(
                    "pixel-values",
                    "images/pixel_values",
                    row,
                    found,
                    "normalised 8-bit values, bit for bit",
                )
            yield from _check_spread(pixels, row, statistics)
            tick(stored.nbytes)
        grounding, faults = read_row(part, "images/g_pixel_values", row)
        yield from faults
        if grounding is None:
            continue
        tick(grounding.nbytes)
        if pixels is not None and sizes is not None:
            size = (int(sizes[row, 0]), int(sizes[row, 1]))
            yield from _check_pair(row, pixels, grounding, size, statistics)


def _check_spread(pixels: NDArray[np.uint8], row: int, statistics: Statistics) -> Iterator[Finding]:
    means, spreads = pixels.mean(axis=(1, 2)), pixels.std(axis=(1, 2))
    statistics.images += 1
    statistics.means += means
    statistics.spreads += spreads
    if pixels.std() < FLAT_SPREAD:
        found = f"nearly one colour: mean {means.round(1).tolist()}, spread {spreads.round(2).tolist()}"
        yield Finding(check="flat-image", level="note", array="images/pixel_values", row=row, found=found)


def _check_pair(
    row: int,
    pixels: NDArray[np.uint8],
    grounding: NDArray[np.uint8],
    size: tuple[int, int],
    statistics: Statistics,
) -> Iterator[Finding]:
    found = compare(pixels, grounding)
    array = "images/g_pixel_values"
    if found.difference > MAX_DIFFERENCE:
        text = f"{explain(pixels, grounding, size)} (blocks differ by up to {found.difference:.0f} levels)"
        yield _fault("images-disagree", array, row, text, f"up to {MAX_DIFFERENCE:.0f}")
        return
    statistics.compared += 1
    statistics.shift += found.shift
    if max(map(abs, found.shift)) > MAX_SHIFT:
        down, right = found.shift
        text = f"it lies {down:+.2f} down, {right:+.2f} right of pixel_values, in their pixels"
        yield _fault("images-shifted", array, row, text, f"within {MAX_SHIFT}")
    yield from _check_detail(row, found, size, pixels.shape[1], statistics)


def _check_detail(
    row: int, found: Comparison, size: tuple[int, int], side: int, statistics: Statistics
) -> Iterator[Finding]:
    enlarged = is_enlarged(found, size, side)
    if enlarged is None:
        return
    statistics.detailed += 1
    if enlarged:
        statistics.enlarged += 1
        text = f"it shows no detail beyond pixel_values, though the original is {size[0]} x {size[1]}"
        yield Finding(
            check="image-enlarged", level="note", array="images/g_pixel_values", row=row, found=text
        )


def _check_masks(part: Part, statistics: Statistics, tick: Callable[[int], None]) -> Iterator[Finding]:
    prompts, cells = part.columns.get("masks/prompt_masks"), part.columns.get("masks/prompt_cells")
    if prompts is not None:
        yield from _check_prompts(prompts, cells)
        statistics.empty_prompts += int((prompts.max(axis=(1, 2)) == 0).sum())
    ratios: dict[int, tuple[float, float] | None] = {}
    for row in range(part.num_rows("masks/masks")):
        mask, faults = read_row(part, "masks/masks", row)
        yield from faults
        if mask is None:
            continue
        tick(mask.nbytes)
        statistics.masks += 1
        statistics.empty_masks += not mask.any()
        if mask.max() > 1:
            values = np.unique(mask)
            found = f"{len(values)} values from 0 to {values[-1]}"
            yield _fault("mask-values", "masks/masks", row, found, "the bytes 0 and 1 of a bool")
            continue
        yield from _check_mask(part, row, mask, ratios, statistics)
    yield from _check_areas(part, ratios)


def _check_prompts(prompts: NDArray[np.uint8], cells: NDArray[Any] | None) -> Iterator[Finding]:
    for row in np.flatnonzero(prompts.max(axis=(1, 2)) > 1):
        found = f"values up to {prompts[row].max()}"
        yield _fault("mask-values", "masks/prompt_masks", int(row), found, "the bytes 0 and 1 of a bool")
    counts = np.count_nonzero(prompts, axis=(1, 2))
    if cells is not None:
        for row in np.flatnonzero(counts != cells):
            found = f"prompt_cells is {cells[row]}"
            yield _fault(
                "prompt-cells", "masks/prompt_cells", int(row), found, f"{counts[row]} cells are set"
            )


def _check_mask(
    part: Part,
    row: int,
    mask: NDArray[np.uint8],
    ratios: dict[int, tuple[float, float] | None],
    statistics: Statistics,
) -> Iterator[Finding]:
    """Compare a mask with its prompt, and note how its area fits."""
    columns, recipe = part.columns, part.task.recipe
    needed = ("masks/prompt_masks", "masks/image", "masks/area", "images/size")
    if any(path not in columns for path in needed):
        return
    image = int(columns["masks/image"][row])
    if not 0 <= image < len(columns["images/size"]):
        return
    size = (int(columns["images/size"][image, 0]), int(columns["images/size"][image, 1]))
    prompt, area = columns["masks/prompt_masks"][row], int(columns["masks/area"][row])
    if prompt.max() > 1:
        return
    wrong = wrong_cells(prompt, mask, recipe)
    ratio = area_ratio(mask, area, size)
    ratios[row] = ratio
    pixels_seen = max(size) * (1 if ratio is None else max(1.0, ratio[0]) ** 0.5)
    if wrong > (0 if pixels_seen <= len(mask) else UNSEEN_CELLS):
        what = "transposed: " if wrong_cells(prompt.T, mask, recipe) == 0 else ""
        found = f"{what}{wrong} cells of the prompt are not what the mask shows there"
        yield _fault("masks-disagree", "masks/prompt_masks", row, found, "one object in both")
    elif ratio is not None and abs(ratio[0] - 1) < SAME_RESOLUTION:
        counted = origin(prompt, mask, size, recipe)
        statistics.as_original += counted.as_original
        statistics.as_resized += counted.as_resized


def _check_areas(part: Part, ratios: dict[int, tuple[float, float] | None]) -> Iterator[Finding]:
    """Compare the areas with the masks' shares: the masks of one image have one resolution, mostly the image's."""
    areas, image = part.columns.get("masks/area"), part.columns.get("masks/image")
    if areas is None or image is None:
        return
    of_image: dict[int, dict[int, tuple[float, float]]] = {}
    for row, known in ratios.items():
        if known is not None:
            of_image.setdefault(int(image[row]), {})[row] = known
        elif areas[row] > MIN_AREA_SEEN:
            text = f"the mask is empty, but its area was {areas[row]} pixels"
            yield _fault("mask-area", "masks/masks", row, text)
    for rows in of_image.values():
        common = _common_ratio(list(rows.values()))
        for row, (ratio, tolerance) in rows.items():
            is_possible = 1 / MAX_AREA_RATIO <= ratio <= MAX_AREA_RATIO
            if not is_possible or abs(ratio / common - 1) > tolerance:
                times = common / ratio if ratio else 0.0
                text = f"the mask covers {times:.2f} times what its area of {areas[row]} pixels says"
                yield _fault("mask-area", "masks/masks", row, text, "one scale for all masks of an image")


def _common_ratio(ratios: Sequence[tuple[float, float]]) -> float:
    """Return the ratio that most masks of an image fit: 1, if it is as good as any, or that of one of them."""
    candidates = [1.0, *(ratio for ratio, _ in sorted(ratios, key=lambda pair: pair[1]) if ratio)]
    return max(
        candidates,
        key=lambda common: sum(abs(ratio / common - 1) <= tolerance for ratio, tolerance in ratios),
    )
