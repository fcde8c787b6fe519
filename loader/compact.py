"""The compact form of a batch, and its completion on the device: 3.9 MB a sample are moved, and not 9.8.

`BatchOptions(compact=True)` fills the 448 image as uint8 and the masks as bits, which is less work for the workers,
too. `to_device` moves a batch and completes it there. The bits are those of an ordinary batch: normalising looks up a
table of the 256 values that the CPU computed, since a device may divide otherwise, and masks are only 0 or 1.
"""

from functools import cache
from typing import Any

import numpy as np
import torch

from .batch import Batch
from .kernels.batch_kernels import normalize_into


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
        if name == "pixel_values":
            moved[key] = _normalize(value)
        elif name == "masks":
            moved[key] = _unpack(value)
        elif name == "prompt_masks":
            moved[key] = value.float()
    return moved


def _normalize(image: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, 3, H, W] of uint8; what is float32 in the store is so already."""
    if image.dtype == torch.float32:
        return image
    table = _table().to(image.device)
    return torch.stack([table[channel][image[:, channel].int()] for channel in range(3)], dim=1)


@cache
def _table() -> torch.Tensor:
    """Return what each of the 256 values becomes in each channel, float32 [3, 256]."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    table = np.empty((3, 1, 256), np.float32)
    normalize_into(np.ascontiguousarray(levels), table)
    return torch.from_numpy(table[:, 0])


def _unpack(packed: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, S, S] of bits, uint8 [B, S, (S + 7) // 8], the first pixel in the highest bit."""
    size = packed.shape[-2]
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits: torch.Tensor = (packed[..., None] >> shifts) & 1
    return bits.flatten(-2)[..., :size].float()
