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

from .batch import MAX_HELD, Batch
from .buffers.dataloader_slots import tensors_of
from .buffers.slots import ArrayLayout, Pool
from .kernels.batch_kernels import MEAN, STD, normalize_into
from .kernels.core import CORE

_POOL = Pool(MAX_HELD)
"""Memory for batches that are completed on the CPU: pages of fresh memory cost five times as much as what is written to them."""

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
    if isinstance(batch, CompactBatch):
        incomplete = {key: value for key, value in moved.items() if _is_incomplete(key, value)}
        on_host = all(value.device.type == "cpu" for value in incomplete.values())
        moved.update(_complete_on_host(incomplete) if on_host and CORE is not None else _complete(incomplete))
    return moved


def _is_incomplete(key: str, value: Any) -> bool:
    """Whether a value is to become float32; pixel values that are float32 in the store are so already."""
    is_pixels = isinstance(value, torch.Tensor) and value.dtype == torch.uint8
    return is_pixels and key.rstrip("12") in ("pixel_values", "prompt_masks", "masks")


def _complete_on_host(incomplete: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return float32 tensors by name, in memory that is filled again when nothing of them is left."""
    assert CORE is not None
    shapes = {key: _shape_of(key, value) for key, value in incomplete.items()}
    layout = ArrayLayout.of({key: (shape, "float32") for key, shape in shapes.items()})
    memory = _POOL.take(layout.slot_bytes)
    memory = np.empty(layout.slot_bytes, np.uint8) if memory is None else memory
    arrays = layout.views(memory, max((shape[0] for shape in shapes.values()), default=0))
    for key, out in arrays.items():
        stored = incomplete[key].contiguous().numpy()
        if key.startswith("pixel_values"):
            CORE.normalize(stored, MEAN, STD, out, out.shape[2] * out.shape[3])
        elif key.startswith("masks"):
            CORE.widen_bits(stored, out, out.shape[2])
        else:
            CORE.widen(stored, out)
    return tensors_of(arrays)


def _shape_of(key: str, value: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of a value that is complete: masks are square, and uint8 [B, S, (S + 7) // 8] until then."""
    return (*value.shape[:2], value.shape[1]) if key.startswith("masks") else tuple(value.shape)


def _complete(incomplete: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return float32 tensors by name, on the device of each."""
    completions = {"pixel_values": _normalize, "masks": _widen, "prompt_masks": torch.Tensor.float}
    return {key: completions[key.rstrip("12")](value) for key, value in incomplete.items()}


def _normalize(image: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, 3, H, W] of levels, uint8."""
    if _has_kernels(image.device):
        normalized: torch.Tensor = _kernel("normalize")(image, *_scale(image.device))
        return normalized
    normalized = torch.empty(image.shape, device=image.device)
    for channel, values in enumerate(_levels().to(image.device)):
        normalized[:, channel] = values[image[:, channel].int()]
    return normalized


def _widen(packed: torch.Tensor) -> torch.Tensor:
    """Return float32 [B, S, S] of bits, uint8 [B, S, (S + 7) // 8], the first pixel in the highest bit."""
    size = packed.shape[-2]
    if _has_kernels(packed.device):
        bits: torch.Tensor = _kernel("widen")(packed[..., None], _weights(packed.device))
    else:
        bits = (packed[..., None] & _weights(packed.device).to(torch.uint8)).ne(0)
    return bits.flatten(-2)[..., :size].contiguous().float()


def _has_kernels(device: torch.device) -> bool:
    """Whether PyTorch compiles kernels there; its interface for that is documented, and in beta (tried: 2.11)."""
    return device.type == "cuda" and hasattr(torch.cuda, "jiterator")


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
