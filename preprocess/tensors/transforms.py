"""The four tensors of a sample, each made directly from the original: pure functions, arrays in, arrays out.

No function here takes the output of another one that resizes: that is the bug this project exists to make
impossible. Which filter makes which tensor is the recipe's choice (`preprocess.tensors.recipe`).

Filters for masks, by the pixel of an H x W mask that cell (i, j) of an S x S grid shows:

- `pillow-nearest`: the pixel under the cell's centre, as Pillow's NEAREST: row floor((i + 0.5) * H / S).
- `torch-nearest`: the cell's top-left pixel, as torch's `interpolate(mode="nearest")`: row floor(i * H / S).
- `cover`: no single pixel: a cell is set when at least half of its area is covered; if no cell is, the most covered
  one is (the first of them, row by row), so that an object never vanishes.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD
from ..decode.segmentation import Bitmap, Rle

ImageFilter = Literal["bilinear", "bicubic", "lanczos"]
MaskFilter = Literal["pillow-nearest", "torch-nearest", "cover"]

ImagesResizer = Callable[
    [NDArray[np.uint8], tuple[int, int], tuple[ImageFilter, ImageFilter]],
    tuple[NDArray[np.uint8], NDArray[np.uint8]],
]
"""What `resize_images` is."""
MaskResizer = Callable[[Rle | Bitmap, int, MaskFilter], NDArray[np.bool_]]
"""What `resize_mask` is."""

_PILLOW_FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(ImageFilter)}


def resize_image(image: NDArray[np.uint8], size: int, image_filter: ImageFilter) -> NDArray[np.uint8]:
    """Resize an RGB image to a square, as Pillow does (antialiased); the aspect ratio is not kept.

    Args:
        image: uint8 [H, W, 3].
        size: side of the result in pixels.
        image_filter: the resampling filter.

    Returns:
        uint8 [3, size, size], values 0..255, never normalised.
    """
    resized = Image.fromarray(image).resize((size, size), _PILLOW_FILTERS[image_filter])
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def resize_images(
    image: NDArray[np.uint8], sizes: tuple[int, int], image_filters: tuple[ImageFilter, ImageFilter]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize an RGB image to two squares, each directly from the original, as `resize_image` does."""
    first, second = (resize_image(image, *how) for how in zip(sizes, image_filters, strict=True))
    return first, second


def normalize_image(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (image / 255 - mean) / std per channel, in float32 and in that order.

    The order matters: folded into one multiplication and addition, most values differ in their last bits from
    torchvision's `ToTensor` and `Normalize`.

    Args:
        image: uint8 [3, H, W].

    Returns:
        float32 [3, H, W], about -2.12..2.64.
    """
    mean = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
    std = np.array(IMAGENET_STD, np.float32)[:, None, None]
    normalized = image.astype(np.float32)
    normalized /= np.float32(255)
    normalized -= mean
    normalized /= std
    return normalized


def resize_mask(mask: Rle | Bitmap, size: int, mask_filter: MaskFilter) -> NDArray[np.bool_]:
    """Resize a mask to a square, straight from its own resolution; the aspect ratio is not kept.

    Returns:
        bool [size, size].
    """
    height, width = mask.size
    if mask_filter == "cover":
        return _cover(mask.decode(), size)
    return mask.sample(
        nearest_positions(height, size, mask_filter), nearest_positions(width, size, mask_filter)
    )


@lru_cache(maxsize=256)
def nearest_positions(
    length: int, size: int, mask_filter: Literal["pillow-nearest", "torch-nearest"]
) -> NDArray[np.int64]:
    """Return the pixels that a nearest filter takes when it resizes `length` pixels to `size`, int64 [size].

    The array is shared, and read-only.
    """
    positions = {"pillow-nearest": pillow_positions, "torch-nearest": torch_positions}[mask_filter](
        length, size
    )
    positions.setflags(write=False)
    return positions


def pillow_positions(length: int, size: int) -> NDArray[np.int64]:
    """Return the pixels that Pillow's NEAREST takes when it resizes `length` pixels to `size`, int64 [size].

    Pillow walks along a row by adding up length / size in double precision (ImagingScaleAffine in its Geometry.c);
    the sum is repeated here step by step because its rounding decides ties.
    """
    step = length / size
    steps = np.full(size, step)
    steps[0] = step * 0.5
    return np.minimum(np.add.accumulate(steps).astype(np.int64), length - 1)


def torch_positions(length: int, size: int) -> NDArray[np.int64]:
    """Return the pixels that torch's nearest takes when it resizes `length` pixels to `size`, int64 [size].

    torch computes the scale and the product in single precision (nearest_neighbor_compute_source_index).
    """
    scale = np.float32(length) / np.float32(size)
    return np.minimum((np.arange(size, dtype=np.float32) * scale).astype(np.int64), length - 1)


def _cover(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return the cells of which at least half is covered, or else the most covered one, bool [size, size]."""
    height, width = mask.shape
    # In units of 1/size of a pixel every border is a whole number, so coverage is exact: a cell has height x width.
    covered = _overlap(height, size) @ mask.astype(np.float64) @ _overlap(width, size).T
    cells: NDArray[np.bool_] = 2 * covered >= height * width
    if not cells.any() and covered.any():
        cells.flat[int(covered.argmax())] = True
    return cells


def _overlap(length: int, size: int) -> NDArray[np.float64]:
    """Return how much of cell i lies on pixel p, in units of 1 / size pixels, float64 [size, length]."""
    cell_start = np.arange(size)[:, None] * length
    pixel_start = np.arange(length)[None, :] * size
    overlap = np.minimum(cell_start + length, pixel_start + size) - np.maximum(cell_start, pixel_start)
    weights: NDArray[np.float64] = np.maximum(overlap, 0).astype(np.float64)
    return weights
