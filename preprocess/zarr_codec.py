"""The packing of compact images as a codec of zarr-python, which finds it by this package's entry point.

The package has to be installed where such a store is opened with zarr-python. TensorStore and zarrs can't read the two
arrays of images then; they read all others.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON, parse_named_configuration
from zarr.registry import register_codec

from preprocess.gradient import pack_gradient, unpack_gradient
from preprocess.layout import GRADIENT_CODEC


@dataclass(frozen=True)
class GradientCodec(ArrayBytesCodec):
    """An "array -> bytes" codec without settings, of chunks uint8 [1, 3, H, W]."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> "GradientCodec":
        """Return the codec that an array's metadata names."""
        parse_named_configuration(data, GRADIENT_CODEC, require_configuration=False)
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """Return what an array's metadata says of it."""
        return {"name": GRADIENT_CODEC}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise `ValueError` where an array is not uint8 [N, 3, H, W]."""
        if len(shape) != 4 or shape[1] != 3 or dtype.to_native_dtype() != np.uint8:
            raise ValueError(f"{GRADIENT_CODEC} is for uint8 [N, 3, H, W], found {dtype} {shape}")

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        image = np.empty(chunk_spec.shape, np.uint8)
        packed = np.ascontiguousarray(chunk_data.as_numpy_array()).view(np.uint8)
        unpack_gradient(packed, image[0])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        packed = pack_gradient(chunk_data.as_numpy_array()[0])
        return chunk_spec.prototype.buffer.from_bytes(packed.tobytes())

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise `NotImplementedError`: the size depends on the picture."""
        raise NotImplementedError


# Where the package is used without being installed there is no entry point.
register_codec(GRADIENT_CODEC, GradientCodec)
