"""Whether a mask and its prompt mask show the same object, as far as the mask's own pixels can tell.

The original mask is not in the store. But what a prompt cell samples is seen, within a pixel of it, in the 1024 mask,
which samples the same original more densely.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import Recipe

COVER_TOLERANCE = 0.06
"""How far a cell's coverage as the 1024 mask has it may lie from that of the original mask. Measured: 0.010,
on 1,310 masks."""

UNSEEN_CELLS = 2
"""Cells that may differ where the original is larger than the mask: parts too thin to be seen in it. Measured: 0."""

SAME_RESOLUTION = 0.2
"""How far area and share may disagree while the original mask can still have its image's resolution."""


class Origin(NamedTuple):
    """Cells that tell whether a prompt was sampled from the original mask or from the 1024 one."""

    as_original: int
    """How many are as the original must have been."""
    as_resized: int
    """How many are as sampling the 1024 mask gives."""


def wrong_cells(prompt: NDArray[np.uint8], mask: NDArray[np.uint8], recipe: Recipe) -> int:
    """Return how many cells of a prompt the mask contradicts.

    Args:
        prompt: uint8 [S, S], 0 or 1.
        mask: uint8 [M, M], 0 or 1.
        recipe: how they were made.
    """
    if recipe.views["prompt_masks"].filter == "cover":
        return _wrong_cover(prompt, mask)
    places = np.clip(_near(recipe), 0, len(mask) - 1)
    size = len(prompt)
    near = mask[places.ravel()[:, None], places.ravel()].reshape(size, places.shape[1], size, -1)
    lowest, highest = near.min(axis=(1, 3)), near.max(axis=(1, 3))
    return int(((prompt < lowest) | (prompt > highest)).sum())


def _near(recipe: Recipe) -> NDArray[np.int64]:
    """Return the mask pixels nearest to what each cell samples, along one axis, int64 [S, 4]."""
    size, side = recipe.masks["prompt_masks"].grid[0], recipe.masks["masks"].grid[0]
    cells = np.arange(size) + (0.5 if recipe.views["prompt_masks"].filter == "pillow-nearest" else 0.0)
    middle = cells / size * side - (0.0 if recipe.views["masks"].filter == "torch-nearest" else 0.5)
    places: NDArray[np.int64] = np.floor(middle).astype(np.int64)[:, None] + np.arange(-1, 3)
    return places


def _wrong_cover(prompt: NDArray[np.uint8], mask: NDArray[np.uint8]) -> int:
    size = len(prompt)
    covered = (
        np.asarray(
            Image.fromarray(mask * np.uint8(255)).resize((size, size), Image.Resampling.BOX), np.float32
        )
        / 255
    )
    if prompt.sum() == 1 and covered.max() < 0.5 + COVER_TOLERANCE:
        # No cell was half covered, so the most covered one was set.
        chosen = float(covered[prompt == 1][0])
        return 0 if chosen >= covered.max() - 2 * COVER_TOLERANCE else 1
    must, may = covered >= 0.5 + COVER_TOLERANCE, covered >= 0.5 - COVER_TOLERANCE
    return int((must & (prompt == 0)).sum() + (~may & (prompt == 1)).sum())


def origin(
    prompt: NDArray[np.uint8], mask: NDArray[np.uint8], size: tuple[int, int], recipe: Recipe
) -> Origin:
    """Count the cells that tell where a prompt was sampled, if its mask had the resolution `size` (height, width)."""
    if recipe.views["prompt_masks"].filter == "cover" or recipe.views["masks"].filter != "pillow-nearest":
        return Origin(0, 0)
    half = 0.5 if recipe.views["prompt_masks"].filter == "pillow-nearest" else 0.0
    steps = (np.arange(recipe.masks["prompt_masks"].grid[0]) + half) / recipe.masks["prompt_masks"].grid[0]
    resized = (steps * len(mask)).astype(np.int64)
    rows, columns = (_seen_at(steps, resized, length, len(mask)) for length in size)
    known = (rows[:, None] >= 0) & (columns[None, :] >= 0)
    from_original = mask[rows[:, None], columns]
    from_resized = mask[resized[:, None], resized]
    telling = known & (from_original != from_resized)
    same = int((telling & (prompt == from_original)).sum())
    return Origin(same, int(telling.sum()) - same)


def _seen_at(
    steps: NDArray[np.float64], resized: NDArray[np.int64], length: int, side: int
) -> NDArray[np.int64]:
    """Return a mask pixel that shows the very original pixel which each cell samples, -1 where none does."""
    wanted = (steps * length).astype(np.int64)
    seen = np.full(len(steps), -1, np.int64)
    for offset in (1, -1, 0):
        place = np.clip(resized + offset, 0, side - 1)
        shown = ((place + 0.5) * length / side).astype(np.int64)
        seen = np.where(shown == wanted, place, seen)
    return seen


def area_ratio(mask: NDArray[np.uint8], area: int, size: tuple[int, int]) -> tuple[float, float] | None:
    """Return area over what the mask's share of the image says, and how far that may lie from 1; None if it is empty.

    The ratio is 1 where the mask had its image's own resolution (height, width); it is more where it was finer.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    side = len(mask)
    height = (rows[-1] - rows[0] + 1) * size[0] / side
    width = (columns[-1] - columns[0] + 1) * size[1] / side
    share = float(np.count_nonzero(mask)) / mask.size
    # Rows and columns are repeated, or left out, unevenly: by one at each edge of the object.
    return area / (share * size[0] * size[1]), 0.05 + 2 / max(height, 1.0) + 2 / max(width, 1.0)
