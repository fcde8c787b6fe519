"""A hash of a picture's pixels, whatever file they were decoded from: how one picture is known again in several stores."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def pixel_hash(image: NDArray[np.uint8]) -> bytes:
    """Return the SHA-256 of a picture's height and width, as two little-endian uint32, and of its pixels.

    They are uint8 [H, W, 3], RGB, upright: the original, as a source gives it.
    """
    digest = hashlib.sha256(np.array(image.shape[:2], "<u4").tobytes())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
