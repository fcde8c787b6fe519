"""A sample in compact form as one string of bytes, for formats of records."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from case import COMPACT_SHAPES, expand
from numpy.typing import NDArray

SIZES = {name: int(np.prod(shape)) for name, shape in COMPACT_SHAPES.items()}


def pack(sample: Mapping[str, NDArray[np.uint8]]) -> bytes:
    return b"".join(sample[name].tobytes() for name in SIZES)


def unpack(packed: bytes) -> dict[str, Any]:
    """Return what the trainer gets of a sample that `pack` made."""
    arrays, start = {}, 0
    for name, size in SIZES.items():
        array = np.frombuffer(packed, np.uint8, size, start)
        arrays[name], start = array.reshape(COMPACT_SHAPES[name]), start + size
    return expand(arrays)
