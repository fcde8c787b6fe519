"""The image views of a row, made anew from the original or from the file that the store keeps, and compared bit for bit."""

import hashlib
import struct
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ...loader.format.geometry import view_axes
from ...loader.format.layout import MAX_MASK_PIXELS
from ...loader.format.recipe import Recipe
from ..decode.images import decode_image
from ..errors import RecordError
from .findings import Finding, tensor_fault
from .part import Part
from .pictures import Picture
from .reasons import explain_image
from .remake import normalized, remake_image

MAX_CANVAS_PIXELS = MAX_MASK_PIXELS
"""Of a picture as it is padded first, or resized before it is cropped: no view is made of a more extreme one."""


def compare_images(part: Part, row: int, image: NDArray[np.uint8]) -> Iterator[Finding]:
    """Yield which image views of a row, and which hash, are not those of its original, uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    remade = {
        name: Picture(name, view, remake_image(image, view, axes, part.task.arithmetic), axes)
        for name, view in part.task.recipe.images.items()
        for axes in [view_axes(view, height, width)]
    }
    for name in remade:
        yield from _compare_image(part, row, name, image, remade)
    if (hashes := part.columns.get("images/pixel_sha256")) is not None:
        wanted = hashlib.sha256(struct.pack("<II", height, width) + image.tobytes()).hexdigest()
        if (found := hashes[row].tobytes().hex()) != wanted:
            expected = f"{wanted[:16]}..., that of the original's pixels"
            yield tensor_fault("pixel-hash", "images/pixel_sha256", row, f"{found[:16]}...", expected)


def _compare_image(
    part: Part, row: int, name: str, image: NDArray[np.uint8], remade: Mapping[str, Picture]
) -> Iterator[Finding]:
    array, (_, view, levels, axes) = f"images/{name}", remade[name]
    found = part.row(array, row)
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


def check_kept_file(part: Part, row: int) -> Iterator[Finding]:
    """Yield what is wrong with the file of an image that the store keeps, or with the views beside it if they are to be made of that."""
    image, fault = _decode(part, row)
    if image is not None:
        height, width = image.shape[:2]
        tall, wide = part.columns["images/size"][row].tolist()
        if (height, width) != (tall, wide):
            fault = f"it is a picture of {height} x {width}, expected {tall} x {wide}"
        elif is_extreme(part.task.recipe, height, width):
            fault = f"no view is made of a picture of {height} x {width}"
    if fault:
        yield tensor_fault("source-file", "images/source_bytes", row, fault)
    elif image is not None:
        yield from compare_images(part, row, image)


def compare_kept_file(part: Part, row: int, image: NDArray[np.uint8]) -> Iterator[Finding]:
    """Compare what the file of an image decodes to with the original, uint8 [H, W, 3]."""
    found, fault = _decode(part, row)
    if fault:
        yield tensor_fault("source-file", "images/source_bytes", row, fault)
    elif found is not None and not np.array_equal(found, image):
        text = "it decodes to another picture than the original"
        yield tensor_fault("source-differs", "images/source_bytes", row, text)


def _decode(part: Part, row: int) -> tuple[NDArray[np.uint8] | None, str]:
    """Return what the file of an image decodes to, uint8 [H, W, 3], None where there is none that can be read; and what is wrong."""
    encoded = part.piece("images/source", "bytes", row) if "sources" in part.task.columns else None
    if encoded is None:
        return None, ""
    try:
        picture = decode_image(encoded.tobytes())
    except RecordError as err:
        return None, err.reason
    if picture.source is None:
        return None, "not every reader decodes it to the same: it has an EXIF orientation, or grey of 16 bits"
    return picture.image, ""


def is_extreme(recipe: Recipe, height: int, width: int) -> bool:
    """Whether it would take more memory to make a view of a picture than whoever made the store had to take."""
    for view in recipe.images.values():
        rows, columns = view_axes(view, height, width)
        if max(rows.canvas * columns.canvas, rows.resized * columns.resized) > MAX_CANVAS_PIXELS:
            return True
    return False
