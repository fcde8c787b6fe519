"""The compact form of a batch, and its completion on the device: 3.9 MB a sample are moved, and not 9.8.

`BatchOptions(compact=True)` fills the 448 image as uint8 and the masks as bits, which is less work for the workers,
too. `to_device` moves a batch and completes it there, each tensor in one pass: on the CPU by the compiled core, on a CUDA
device by a kernel that PyTorch compiles when it is first needed. The bits are those of an ordinary batch: division and
subtraction round to nearest on both, and masks are only 0 or 1. Other devices may divide otherwise: there, the 256 values
that the CPU computed are looked up.
"""

from functools import cache
from typing import Any

import numpy as np
import torch

from .batch import Batch
from .kernels.batch_kernels import MEAN, STD, normalize_into
from .kernels.core import CORE

_KERNELS = {
    "normalize": """template <typename T> T normalize(T level, T most, T mean, T std) {
        return (level / most - mean) / std;
    }""",
    "widen": "template <typename T> T widen(T byte, T weight) { return fmod(floor(byte / weight), T(2)); }",
}
"""In the C++ of CUDA. Operands are tensors, float32 the widest of them, and so is the result."""


class CompactBatch(Batch):
    """A batch whose `pixel_values` are uint8, and whose masks are uint8: cells 0 or 1, and 8 pixels a byte."""


def to_device(
    batch: Batch, device: torch.device | str, *, non_blocking: bool = False, stream: Any = None
) -> Batch:
    """Return a batch on a device, in the dtypes and values of the contract.

    Args:
        batch: ordinary or compact.
        device: where to.
        non_blocking: whether to return before the copy is over, which takes pinned memory (`pin_memory=True`). The batch
            may be let go all the same: its memory is filled again when the copy is over.
        stream: the `torch.cuda.Stream` to copy and complete it on; None for the current one of the device. Without
            `non_blocking`, all of it is over when this returns. With it, let the stream that is current now, which is
            taken for the one that uses the result, wait for it (`torch.cuda.current_stream().wait_stream(stream)`).
    """
    with torch.cuda.stream(stream):
        moved = _move(batch, device, non_blocking=non_blocking)
    if torch.device(device).type != "cuda":
        return moved
    current = torch.cuda.current_stream(device)
    if non_blocking:
        batch.record_stream(stream or current)
    elif stream is not None:
        stream.synchronize()
    if stream is not None:
        # It was made on one stream and is used on another: memory of it is not used again before both are done.
        for value in moved.values():
            if isinstance(value, torch.Tensor):
                value.record_stream(current)
    return moved


def _move(batch: Batch, device: torch.device | str, *, non_blocking: bool) -> Batch:
    moved = Batch(
        (key, value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value)
        for key, value in batch.items()
    )
    if not isinstance(batch, CompactBatch):
        return moved
    for key, value in moved.items():
        name = key.rstrip("12")
        # What is float32 in the store is so already.
        if name == "pixel_values" and value.dtype == torch.uint8:
            moved[key] = _normalize(value)
        elif name == "masks":
            moved[key] = _widen(value)
        elif name == "prompt_masks":
            moved[key] = value.float()
    return moved


def _normalize(image: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, 3, H, W] of levels, uint8."""
    if image.device.type == "cuda":
        normalized: torch.Tensor = _kernel("normalize")(image, *_scale(image.device))
        return normalized
    normalized = torch.empty(image.shape, device=image.device)
    if image.device.type == "cpu" and CORE is not None:
        CORE.normalize(
            image.contiguous().numpy(), MEAN, STD, normalized.numpy(), image.shape[2] * image.shape[3]
        )
        return normalized
    for channel, values in enumerate(_levels().to(image.device)):
        normalized[:, channel] = values[image[:, channel].int()]
    return normalized


def _widen(packed: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, S, S] of bits, uint8 [B, S, (S + 7) // 8], the first pixel in the highest bit."""
    size = packed.shape[-2]
    if packed.device.type == "cuda":
        bits: torch.Tensor = _kernel("widen")(packed[..., None], _weights(packed.device))
        return bits.flatten(-2)[..., :size].contiguous()
    if packed.device.type == "cpu" and CORE is not None:
        masks = torch.empty((*packed.shape[:-1], size))
        CORE.widen_bits(packed.contiguous().numpy(), masks.numpy(), size)
        return masks
    weights = _weights(packed.device).to(torch.uint8)
    return (packed[..., None] & weights).ne(0).flatten(-2)[..., :size].float()


@cache
def _kernel(name: str) -> Any:
    return torch.cuda.jiterator._create_jit_fn(_KERNELS[name])


@cache
def _scale(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return 255, means and standard deviations as tensors: PyTorch multiplies by the inverse of a divisor that is a number."""
    return tuple(
        torch.from_numpy(v[:, None, None]).to(device) for v in (np.full(1, 255, np.float32), MEAN, STD)
    )


@cache
def _weights(device: torch.device) -> torch.Tensor:
    """Return what the bits of a byte stand for, float32 [8], the highest first."""
    return torch.tensor([float(1 << bit) for bit in range(7, -1, -1)], device=device)


@cache
def _levels() -> torch.Tensor:
    """Return what each of the 256 values becomes in each channel, float32 [3, 256]."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    table = np.empty((3, 1, 256), np.float32)
    normalize_into(np.ascontiguousarray(levels), table)
    return torch.from_numpy(table[:, 0])
