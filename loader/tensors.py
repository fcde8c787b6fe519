"""The four tensors of a sample, from stored rows to the trainer's dtypes and values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .array import MappedArray
from .format.layout import TensorSizes
from .kernels.decode_buffers import SCRATCH
from .kernels.passes import normalize_into, widen_into

TENSORS = ("pixel_values", "g_pixel_values", "prompt_masks", "masks")
"""Names of the four; in pairs each is there twice, with the suffixes 1 and 2."""


def check_tensors(tensors: Sequence[str]) -> None:
    """Raise `ValueError` where a name is not one of `TENSORS`."""
    if unknown := set(tensors) - set(TENSORS):
        raise ValueError(f"tensors are {', '.join(TENSORS)}; not {', '.join(sorted(unknown))}")


class Tables(Protocol):
    """What `fill_tensor` needs of a part."""

    def array(self, path: str) -> MappedArray:
        """Return an array."""

    def column(self, path: str) -> NDArray[Any]:
        """Return a whole array that is one chunk."""


@dataclass(frozen=True, slots=True)
class TensorShapes:
    """Shape and dtype of each tensor of one sample, as the trainer gets it."""

    shapes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, sizes: TensorSizes) -> "TensorShapes":
        """Return the shapes that a recipe's sizes give."""
        return cls(
            {
                "pixel_values": (3, sizes.pixel_values, sizes.pixel_values),
                "g_pixel_values": (3, sizes.g_pixel_values, sizes.g_pixel_values),
                "prompt_masks": (sizes.prompt_masks, sizes.prompt_masks),
                "masks": (sizes.masks, sizes.masks),
            }
        )

    def __getitem__(self, tensor: str) -> tuple[int, ...]:
        return self.shapes[tensor]

    def dtype(self, tensor: str) -> str:
        """Return uint8 for the segmenter's image, float32 for the rest."""
        return "uint8" if tensor == "g_pixel_values" else "float32"

    def compact(self, tensor: str, dtype_of_pixels: str) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of a tensor in a compact batch: images as they were stored, masks as bits."""
        shape = self.shapes[tensor]
        if tensor == "masks":
            return (shape[0], (shape[1] + 7) // 8), "uint8"
        return shape, dtype_of_pixels if tensor == "pixel_values" else "uint8"


def fill_tensor(part: Tables, tensor: str, mask: int, out: NDArray[Any]) -> None:
    """Write one tensor of one mask's sample into `out`.

    Args:
        part: where the rows are.
        tensor: one of `TENSORS`.
        mask: row of the mask.
        out: of the tensor's shape and dtype, or those of its compact form, in C order.
    """
    if tensor == "prompt_masks":
        np.copyto(out, part.column("masks/prompt_masks")[mask])
    elif tensor == "masks":
        masks = part.array("masks/masks")
        decoded = masks.row(mask, SCRATCH.of(masks.row_shape, "mask", np.bool_))
        if out.dtype == np.uint8:
            out[...] = np.packbits(decoded, axis=1)
        else:
            widen_into(decoded, out)
    elif tensor == "g_pixel_values":
        part.array("images/g_pixel_values").read_into(int(part.column("masks/image")[mask]), out)
    else:
        pixels = part.array("images/pixel_values")
        image = int(part.column("masks/image")[mask])
        if out.dtype == np.uint8:
            pixels.read_into(image, out)
        else:
            normalize_into(
                pixels.row(image, None if pixels.is_raw else SCRATCH.of(pixels.row_shape, "pixels")), out
            )
