"""Rows as they are stored: compressed by the core where there is one, else as the format does it, to the same bytes."""

import numpy as np
from numpy.typing import NDArray

from ...loader.format import mask_codec
from ...loader.format.gradient import pack_gradient, packed_bound
from .core import CORE


def compress_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Do what `loader.format.mask_codec.compress_mask` does."""
    return mask_codec.compress_mask(mask) if CORE is None else mask_codec.compress_mask(mask, CORE.make_frame)


def pack_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Do what `loader.format.gradient.pack_gradient` does."""
    # What is no image, that refuses.
    if CORE is None or image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8 or not image.size:
        return pack_gradient(image)
    _, height, width = image.shape
    packed = np.empty(packed_bound(height, width), np.uint8)
    return packed[: CORE.pack_image(np.ascontiguousarray(image), height, width, packed)]
