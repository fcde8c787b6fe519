"""The image views of a row, made anew from its original and compared bit for bit."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...loader.format.geometry import view_axes
from .findings import Finding, tensor_fault
from .part import Part, read_row
from .pictures import Picture
from .reasons import explain_image
from .remake import normalized, remake_image


def compare_images(part: Part, row: int, image: NDArray[np.uint8]) -> Iterator[Finding]:
    """Yield which image views of a row are not those of its original, uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    views = part.task.recipe.images
    remade = {
        name: Picture(name, view, remake_image(image, view, axes, part.task.arithmetic), axes)
        for name, view in views.items()
        for axes in [view_axes(view, height, width)]
    }
    for name in views:
        yield from _compare_image(part, row, name, image, remade)


def _compare_image(
    part: Part, row: int, name: str, image: NDArray[np.uint8], remade: Mapping[str, Picture]
) -> Iterator[Finding]:
    array, (_, view, levels, axes) = f"images/{name}", remade[name]
    found, faults = read_row(part, array, row)
    yield from faults
    if found is None:
        return
    wanted = normalized(levels, view, axes) if view.stored == "float32" else levels
    # Compared as bytes: -0.0 is not 0.0, and a NaN is equal to itself.
    if found.tobytes() == wanted.tobytes():
        return
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    share = np.count_nonzero(found != wanted) / found.size
    reason = explain_image(found, name, image, remade)
    text = f"{share:.1%} of the values differ, by up to {difference.max():.4g}{reason}"
    yield tensor_fault("source-differs", array, row, text, "equal bits")
