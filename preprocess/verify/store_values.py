"""What the values of a store say all together, where a single row can prove nothing."""

from collections.abc import Iterator

import numpy as np

from ...loader.format.metadata import Root
from .findings import REDO_TENSORS, Finding
from .values import Statistics

MIN_IMAGES = 8
"""Images below which their mean says nothing."""

MEANS = (40.0, 215.0)
"""Where the mean of a channel over many photographs lies, in levels. Measured on the stores of ten sample datasets: 71..137."""

SPREADS = (12.0, 105.0)
"""Where their mean spread lies, in levels. Measured there: 49..66."""

MAX_MEAN_SHIFT = 0.03
"""Largest mean displacement of a store's two images, in pixels of the smaller. Measured there: 0.003
where there are at least `MIN_IMAGES`."""

MAX_ENLARGED = 0.5
"""Share of detailed images that may show no more detail at 1024 than at 448: originals enlarged by others."""

MIN_CELLS = 12
"""Prompt cells that must tell where prompts were sampled before it is called wrong; by chance, one in 2 ** 12."""


def check_statistics(statistics: Statistics, root: Root) -> Iterator[Finding]:
    """Yield what is wrong with a store's values as a whole, and notes on what is worth knowing."""
    yield from _check_looks(statistics)
    yield from _check_shift(statistics)
    if statistics.enlarged and statistics.enlarged > MAX_ENLARGED * statistics.detailed:
        found = f"{statistics.enlarged} of {statistics.detailed} images show no detail beyond pixel_values"
        yield _fault(
            "images-enlarged", "images/g_pixel_values", f"{found}: made from it, not from the original"
        )
    original, resized = statistics.as_original, statistics.as_resized
    if resized >= MIN_CELLS and resized > 10 * original:
        found = f"{resized} of {original + resized} telling cells are as sampling `masks` gives"
        yield _fault("prompts-resized", "masks/prompt_masks", f"{found}: made from it, not from the original")
    yield from _check_empty(statistics, root)


def _fault(check: str, array: str, found: str, expected: str = "") -> Finding:
    return Finding(check=check, array=array, found=found, expected=expected, advice=REDO_TENSORS)


def _check_looks(statistics: Statistics) -> Iterator[Finding]:
    if statistics.images < MIN_IMAGES:
        return
    for name, sums, (least, most) in (
        ("mean", statistics.means, MEANS),
        ("spread", statistics.spreads, SPREADS),
    ):
        values = sums / statistics.images
        if values.min() < least or values.max() > most:
            found = f"the {name} of red, green and blue is {np.round(values, 1).tolist()}"
            expected = f"{least:.0f} to {most:.0f}, as in photographs"
            yield _fault("unlike-photographs", "images/pixel_values", found, expected)


def _check_shift(statistics: Statistics) -> Iterator[Finding]:
    if statistics.compared < MIN_IMAGES:
        return
    down, right = statistics.shift / statistics.compared
    if max(abs(down), abs(right)) > MAX_MEAN_SHIFT:
        found = f"on average it lies {down:+.3f} down, {right:+.3f} right of pixel_values, in their pixels"
        yield _fault("images-shifted", "images/g_pixel_values", found, f"within {MAX_MEAN_SHIFT}")


def _check_empty(statistics: Statistics, root: Root) -> Iterator[Finding]:
    if statistics.masks and statistics.empty_prompts != root.totals.get("empty_prompts"):
        found = f"{statistics.empty_prompts} prompt masks have no cell"
        yield _fault("totals", "masks/prompt_masks", found, f"{root.totals.get('empty_prompts')}")
    if statistics.empty_masks or statistics.empty_prompts:
        found = f"{statistics.empty_masks} masks and {statistics.empty_prompts} prompt masks are empty"
        yield Finding(
            check="empty-masks",
            level="note",
            array="masks",
            found=f"{found}, of {statistics.masks}",
            advice="filter them while loading (min_prompt_cells), or convert with recipe.prompt_masks.filter=cover"
            if statistics.empty_prompts
            else "",
        )
