"""Columns that only some stores have: masks at their own size, boxes, and the files of images."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import is_own_size
from .findings import REDO_TENSORS, Finding
from .part import Part

MAX_PIXELS = 1 << 28
"""Of a mask, as the format has it."""

SAME_BOX = 1e-6
"""How far, as a share, a box's edges may lie apart: by their last bit where they are scaled."""


def check_own_columns(part: Part) -> Iterator[Finding]:
    """Yield what is wrong with these columns as far as they can be told from the store alone."""
    names = [name for name, view in part.task.recipe.masks.items() if is_own_size(view)]
    areas, image = part.columns.get("masks/area"), part.columns.get("masks/image")
    for row in range(0 if areas is None else len(areas)):
        for name in names:
            mask, fault = read_own_mask(part, name, row)
            if fault:
                yield _fault("mask-runs", f"masks/{name}_runs", row, fault)
            elif mask is not None:
                count = np.count_nonzero(mask)
                if areas is not None and count != areas[row]:
                    yield _fault(
                        "mask-area", f"masks/{name}", row, f"it covers {count} pixels", f"{areas[row]}"
                    )
                if image is not None:
                    yield from compare_box(part, row, mask, int(image[row]))
    sizes = part.columns.get("images/size")
    for row in range(0 if sizes is None else len(sizes)):
        source = read_source(part, row)
        if source is not None and sizes is not None:
            height, width = sizes[row].tolist()
            found = (
                "no picture" if source.size == (0, 0) else f"a picture of {source.height} x {source.width}"
            )
            if source.size != (width, height):
                yield _fault(
                    "source-file", "images/source_bytes", row, f"it is {found}", f"{height} x {width}"
                )


def _fault(check: str, array: str, row: int, found: str, expected: str = "") -> Finding:
    return Finding(check=check, array=array, row=row, found=found, expected=expected, advice=REDO_TENSORS)


def read_own_mask(part: Part, name: str, row: int) -> tuple[NDArray[np.bool_] | None, str]:
    """Return a mask at its own size, bool [H, W], None where it can't be read; and what is wrong with it, "" if nothing is."""
    sizes, runs = part.columns.get(f"masks/{name}_size"), _read_slice(part, f"masks/{name}", "runs", row)
    if sizes is None or runs is None or row >= len(sizes):
        return None, ""
    height, width = sizes[row].tolist()
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        return None, f"its size is {height} x {width}"
    if int(runs.sum(dtype=np.uint64)) != height * width or not runs[1:].all():
        return None, f"its run lengths are not those of {height} x {width} pixels"
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T, ""


def _read_slice(part: Part, path: str, ending: str, row: int) -> NDArray[Any] | None:
    offsets, shard = part.columns.get(f"{path}_offsets"), part.shards.get(f"{path}_{ending}")
    if offsets is None or shard is None or row + 1 >= len(offsets):
        return None
    start, stop = offsets[row : row + 2].tolist()
    try:
        return shard.slice(start, stop) if 0 <= start <= stop <= offsets[-1] else None
    except ValueError:
        # Damage of the file itself is told by the check of the structure.
        return None


def compare_box(part: Part, row: int, mask: NDArray[np.bool_], image: int) -> Iterator[Finding]:
    """Compare a box with what a mask covers, bool [H, W] in whatever resolution."""
    boxes, sizes = part.columns.get("masks/box"), part.columns.get("images/size")
    if boxes is None or sizes is None or not 0 <= image < len(sizes):
        return
    wanted = np.zeros(4)
    if mask.any():
        scale = sizes[image] / mask.shape
        for axis in (0, 1):
            covered = np.flatnonzero(mask.any(axis=1 - axis))
            wanted[[1 - axis, 3 - axis]] = np.array([covered[0], covered[-1] + 1]) * scale[axis]
    if not np.allclose(boxes[row], wanted, rtol=SAME_BOX, atol=0):
        yield _fault("box", "masks/box", row, f"{boxes[row].tolist()}", f"{wanted.tolist()}, around its mask")


def read_source(part: Part, row: int) -> Image.Image | None:
    """Return the picture that an image's file holds, one of 0 x 0 where it is none; None where the store has no files."""
    encoded = _read_slice(part, "images/source", "bytes", row)
    if encoded is None:
        return None
    try:
        return Image.open(BytesIO(encoded.tobytes()))
    except (OSError, Image.DecompressionBombError):
        return Image.new("RGB", (0, 0))


def compare_source(part: Part, row: int, image: NDArray[np.uint8]) -> Iterator[Finding]:
    """Compare what an image's file decodes to with the original, uint8 [H, W, 3]."""
    source = read_source(part, row)
    if source is None:
        return
    try:
        decoded = np.asarray(source.convert("RGB"))
    except OSError as err:
        yield _fault("source-file", "images/source_bytes", row, f"it can't be decoded: {err}")
        return
    if not np.array_equal(decoded, image):
        found = "it decodes to another picture than the original"
        yield _fault("source-differs", "images/source_bytes", row, found)


def compare_own_mask(part: Part, name: str, row: int, original: NDArray[np.bool_]) -> Iterator[Finding]:
    """Compare a mask at its own size with the original, bool [H, W]."""
    mask, fault = read_own_mask(part, name, row)
    if fault or (mask is not None and not np.array_equal(mask, original)):
        found = fault or "it is another mask"
        yield _fault("source-differs", f"masks/{name}_runs", row, found, "that of the raw dataset")
