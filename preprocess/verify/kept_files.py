"""The files of images that a store keeps: whether they decode to their images, and whether the views are made of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...loader.format.geometry import view_axes
from ...loader.format.layout import MAX_MASK_PIXELS
from ...loader.format.recipe import Recipe
from ..decode.images import decode_image
from ..errors import RecordError
from .findings import Finding, tensor_fault
from .images_anew import compare_images
from .own_columns import compare_hash
from .part import Part, PartTask, Tick, read_part, read_piece

MAX_CANVAS_PIXELS = MAX_MASK_PIXELS
"""Of a picture as it is padded first, or resized before it is cropped: no view is made of a more extreme one."""


@dataclass(frozen=True, slots=True)
class KeptTask:
    """All that a process needs to make the images of some scenes of one part anew from the files beside them."""

    part: PartTask
    scenes: tuple[int, ...]
    """Their numbers in the store."""


def compare_kept_scenes(task: KeptTask, tick: Tick) -> list[Finding]:
    """Return what differs in the scenes of `task`; `tick` is called after each."""
    part = read_part(task.part, lambda _: None)
    # What is damaged in itself is reported by the check of the structure.
    part.findings.clear()
    scenes = part.columns.get("images/scene")
    for number in task.scenes:
        rows = [] if scenes is None else np.flatnonzero(scenes == number).tolist()
        for row in rows:
            part.add(check_kept_file(part, row))
        tick(1)
    return part.findings


def check_kept_file(part: Part, row: int) -> Iterator[Finding]:
    """Yield what is wrong with the file of an image, or with the views beside it if they are to be made of that."""
    image, fault = _decode(part, row)
    sizes = part.columns.get("images/size")
    if image is not None and sizes is not None and list(image.shape[:2]) != sizes[row].tolist():
        height, width = sizes[row].tolist()
        fault = f"it is a picture of {image.shape[0]} x {image.shape[1]}, expected {height} x {width}"
    elif image is not None and is_extreme(part.task.recipe, *image.shape[:2]):
        fault = f"no view is made of a picture of {image.shape[0]} x {image.shape[1]}"
    if fault:
        yield tensor_fault("source-file", "images/source_bytes", row, fault)
    elif image is not None:
        yield from compare_images(part, row, image)
        yield from compare_hash(part, row, image)


def compare_kept_file(part: Part, row: int, image: NDArray[np.uint8]) -> Iterator[Finding]:
    """Compare what the file of an image decodes to with the original, uint8 [H, W, 3]."""
    found, fault = _decode(part, row)
    if fault:
        yield tensor_fault("source-file", "images/source_bytes", row, fault)
    elif found is not None and not np.array_equal(found, image):
        yield tensor_fault(
            "source-differs", "images/source_bytes", row, "it decodes to another picture than the original"
        )


def _decode(part: Part, row: int) -> tuple[NDArray[np.uint8] | None, str]:
    """Return what a file decodes to, uint8 [H, W, 3], None where it can't be read; and what is wrong with it, "" if nothing is."""
    encoded = read_piece(part, "images/source", "bytes", row)
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
