"""The four tensors once more, the slow and obvious way: Pillow's `resize`, loops, whole numbers.

Shares no code with `preprocess.tensors.transforms`: this is the other opinion that stored rows are compared with.
"""

import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from ...loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD
from ..decode.segmentation import Bitmap, Rle
from ..errors import RecordError
from ..remote.local_copies import local_file
from ..sources.files.raw_files import RawPath

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def remake_image(image: NDArray[np.uint8], size: int, image_filter: str) -> NDArray[np.uint8]:
    """Return an image of uint8 [H, W, 3] as uint8 [3, size, size], squashed by Pillow."""
    resized = Image.fromarray(image, "RGB").resize((size, size), FILTERS[image_filter])
    channels = [np.asarray(channel) for channel in resized.split()]
    return np.stack(channels)


def normalized(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (image / 255 - mean) / std, float32 [3, S, S], each step rounded to float32."""
    result = np.empty(image.shape, np.float32)
    for channel in range(3):
        scaled = image[channel].astype(np.float32) / np.float32(255)
        centred = scaled - np.float32(IMAGENET_MEAN[channel])
        result[channel] = centred / np.float32(IMAGENET_STD[channel])
    return result


def remake_mask(mask: NDArray[np.bool_], size: int, mask_filter: str) -> NDArray[np.uint8]:
    """Return a mask of bool [H, W] as 0 and 1, uint8 [size, size]."""
    if mask_filter == "pillow-nearest":
        picture = Image.fromarray(mask.astype(np.uint8) * 255, "L")
        resized = np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))
        return np.array(resized == 255, np.uint8)
    height, width = mask.shape
    if mask_filter == "torch-nearest":
        rows = [_torch_pixel(cell, height, size) for cell in range(size)]
        columns = [_torch_pixel(cell, width, size) for cell in range(size)]
        return np.array([mask[row][columns] for row in rows], np.uint8)
    return _cover(mask, size)


def _torch_pixel(cell: int, length: int, size: int) -> int:
    """Return the pixel that torch's `nearest` takes, in single precision as torch computes it."""
    scale = np.float32(length) / np.float32(size)
    return min(int(np.float32(cell) * scale), length - 1)


def _cover(mask: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """Set each cell that is at least half covered; if none is, the most covered one. In units of 1 / size pixel."""
    height, width = mask.shape
    covered = [[_covered(mask, row, column, size) for column in range(size)] for row in range(size)]
    cells = np.array([[2 * area >= height * width for area in line] for line in covered], np.uint8)
    most = max(max(line) for line in covered)
    if not cells.any() and most:
        row, column = next((r, c) for r in range(size) for c in range(size) if covered[r][c] == most)
        cells[row, column] = 1
    return cells


def _covered(mask: NDArray[np.bool_], row: int, column: int, size: int) -> int:
    """Return how much of a cell is covered, of height x width units."""
    height, width = mask.shape
    total = 0
    top, bottom, left, right = row * height, (row + 1) * height, column * width, (column + 1) * width
    for y in range(top // size, -(-bottom // size)):
        tall = min(bottom, (y + 1) * size) - max(top, y * size)
        first, last = left // size, -(-right // size)
        line = mask[y, first:last]
        wide = int(np.count_nonzero(line)) * size
        # The first and the last pixel of a cell may be cut by its borders.
        wide -= int(line[0]) * (left - first * size) + int(line[-1]) * (last * size - right)
        total += tall * wide
    return total


def decode_mask(mask: Rle | Bitmap) -> NDArray[np.bool_]:
    """Return a mask, bool [H, W]; run lengths are decoded by pycocotools."""
    if isinstance(mask, Bitmap):
        return mask.array
    runs: dict[str, Any] = {"size": [mask.height, mask.width], "counts": mask.runs.tolist()}
    compressed = coco_mask.frPyObjects(runs, mask.height, mask.width)
    decoded: NDArray[np.bool_] = coco_mask.decode(compressed).astype(np.bool_)
    return decoded


def decode_picture(root: RawPath, path: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Return an image file as Pillow decodes it, uint8 [H, W, 3]; None where `path` is none (a video, an archive).

    Of a remote tar it is None, too: `tarfile` finds a member by reading all headers before it.

    Args:
        root: the dataset's folder.
        path: the raw file relative to it; a tar member is "sa_000000.tar/sa_1.jpg".
        size: (height, width) that the stored picture had: EXIF turns are applied where only they give it.
    """
    archive, is_member, member = path.partition(".tar/")
    try:
        if is_member and isinstance(root, Path) and (root / f"{archive}.tar").is_file():
            with tarfile.open(root / f"{archive}.tar", "r:") as tar:
                file = tar.extractfile(member)
                return None if file is None else _decode(Image.open(file), size)
        if (root / path).is_file():
            with local_file(root / path) as local, Image.open(local) as picture:
                return _decode(picture, size)
    except (OSError, KeyError, RecordError):
        return None
    return None


def _decode(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        # Transparency in a palette is announced; alpha is dropped by rule.
        warnings.simplefilter("ignore")
        if (picture.height, picture.width) != size:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            return np.stack([(np.asarray(picture) // 256).astype(np.uint8)] * 3, axis=2)
        return np.asarray(picture.convert("RGB"))
