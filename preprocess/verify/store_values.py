"""What the values of a store say all together, where a single row can prove nothing."""

from collections.abc import Iterator

import numpy as np

from ...loader.format.geometry import choose_reference
from ...loader.format.recipe import Recipe
from .findings import Finding, tensor_fault
from .masks import choose_finest
from .values import Statistics, ViewSums

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


def check_statistics(statistics: Statistics, recipe: Recipe) -> Iterator[Finding]:
    """Yield what is wrong with a store's values as a whole, and notes on what is worth knowing."""
    reference = choose_reference(recipe.images) if recipe.images else ""
    for name, sums in statistics.items():
        yield from _check_looks(f"images/{name}", sums)
        yield from _check_shift(f"images/{name}", reference, sums)
        if sums.enlarged and sums.enlarged > MAX_ENLARGED * sums.detailed:
            found = f"{sums.enlarged} of {sums.detailed} images show no detail beyond {reference}"
            text = f"{found}: made from it, not from the original"
            yield tensor_fault("images-enlarged", f"images/{name}", None, text)
        original, resized = sums.as_original, sums.as_resized
        if resized >= MIN_CELLS and resized > 10 * original:
            found = f"{resized} of {original + resized} telling cells are as sampling {choose_finest(recipe.masks)} gives"
            text = f"{found}: made from it, not from the original"
            yield tensor_fault("prompts-resized", f"masks/{name}", None, text)
    empty = {name: sums.empty for name, sums in statistics.items() if sums.empty}
    if empty:
        counted = " and ".join(f"{count} of {name}" for name, count in empty.items())
        most = max(sums.masks for sums in statistics.values())
        advice = ""
        if recipe.prompt in empty:
            advice = f"filter them while loading (min_prompt_cells), or convert with recipe.{recipe.prompt}.filter=cover"
        yield Finding(
            check="empty-masks",
            level="note",
            array="masks",
            found=f"{counted} are empty, of {most}",
            advice=advice,
        )


def _check_looks(array: str, sums: ViewSums) -> Iterator[Finding]:
    if sums.images < MIN_IMAGES:
        return
    for name, total, (least, most) in (("mean", sums.means, MEANS), ("spread", sums.spreads, SPREADS)):
        values = total / sums.images
        if values.min() < least or values.max() > most:
            found = f"the {name} of red, green and blue is {np.round(values, 1).tolist()}"
            expected = f"{least:.0f} to {most:.0f}, as in photographs"
            yield tensor_fault("unlike-photographs", array, None, found, expected)


def _check_shift(array: str, reference: str, sums: ViewSums) -> Iterator[Finding]:
    if sums.compared < MIN_IMAGES:
        return
    down, right = sums.shift / sums.compared
    if max(abs(down), abs(right)) > MAX_MEAN_SHIFT:
        found = f"on average it lies {down:+.3f} down, {right:+.3f} right of {reference}, in pixels of the smaller"
        yield tensor_fault("images-shifted", array, None, found, f"within {MAX_MEAN_SHIFT}")
