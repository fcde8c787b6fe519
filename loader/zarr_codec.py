"""The packing of compact images as a codec of zarr-python, which finds it by this package's entry point.

The package has to be installed where such a store is opened with zarr-python. Without it, zarr-python can't list the
group of images, and neither TensorStore nor zarrs can read the two arrays of images; all others can be read one by one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON, parse_named_configuration
from zarr.registry import register_codec

from .format.gradient import pack_gradient
from .format.layout import GRADIENT_CODEC
from .kernels.batch_kernels import unpack_image


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
        """Raise `ValueError` where an array is not uint8 [N, 3, H, W]; chunks are looked at when they are read or written."""
        if len(shape) != 4 or shape[1] != 3 or dtype.to_native_dtype() != np.uint8:
            raise ValueError(f"{GRADIENT_CODEC} is for uint8 [N, 3, H, W], found {dtype} {shape}")

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        _check_chunk(chunk_spec)
        image = np.empty(chunk_spec.shape, np.uint8)
        packed = np.ascontiguousarray(chunk_data.as_numpy_array()).view(np.uint8)
        unpack_image(packed, image[0])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(image)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        _check_chunk(chunk_spec)
        packed = pack_gradient(chunk_data.as_numpy_array()[0])
        return chunk_spec.prototype.buffer.from_bytes(packed.tobytes())

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise `NotImplementedError`: the size depends on the picture."""
        raise NotImplementedError


def _check_chunk(chunk: ArraySpec) -> None:
    """Raise `ValueError` where a chunk is not one image: within shards, `validate` is not asked about it."""
    if len(chunk.shape) != 4 or chunk.shape[:2] != (1, 3):
        raise ValueError(f"{GRADIENT_CODEC} is for chunks [1, 3, H, W], found {chunk.shape}")


# Where the package is used without being installed there is no entry point.
register_codec(GRADIENT_CODEC, GradientCodec)
