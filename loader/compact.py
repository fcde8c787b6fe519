"""The compact form of a batch, and its completion on the device: 3.9 MB a sample are moved, and not 9.8.

`BatchOptions(compact=True)` fills normalized images as uint8 and masks as bits, which is less work for the workers,
too. `to_device` moves a batch and completes it there, each tensor in one pass: on the CPU by the compiled core, on a CUDA
device by a kernel that PyTorch compiles when it is first needed. The bits are those of an ordinary batch: division and
subtraction round to nearest on both, and masks are only 0 or 1. Other devices may divide otherwise: there, the 256 values
that the CPU computed are looked up.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from .batch import MAX_HELD, Batch
from .buffers.dataloader_slots import tensors_of
from .buffers.slots import ArrayLayout, Pool
from .format.recipe import DEFAULT_RECIPE, ImageView, MaskView, Recipe, View
from .kernels.batch_kernels import norm_of, normalize_into
from .kernels.core import CORE
from .store import OF_THE_BATCH

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
    """A batch whose normalized images are uint8, and whose masks are uint8: cells 0 or 1, and 8 pixels a byte.

    Masks at their own size are bool, as in any batch. The recipe says what becomes of each.
    """

    recipe: Recipe = DEFAULT_RECIPE

    def of(self, place: int) -> Batch:
        """Raise `ValueError`: a sample has no axis of the batch, which completing it takes."""
        raise ValueError(
            "the batch is compact: take a sample of what resizeonce.loader.to_device makes of it"
        )

    def _whole(self, count: int) -> Batch:
        # Completed, all of a large batch would take gigabytes.
        first = CompactBatch()
        first.object_keys, first.recipe = self.object_keys, self.recipe
        bounds = self.get("objects")
        num_objects = 0 if bounds is None else bounds[count].item()
        for key, value in self.items():
            if key in OF_THE_BATCH:
                first[key] = value
            elif key == "objects":
                first[key] = value[: count + 1]
            else:
                first[key] = value[: num_objects if key in self.object_keys else count]
        return _move(first, "cpu", non_blocking=False)


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
        for tensor in _tensors_in(list(moved.values())):
            tensor.record_stream(current)
    return moved


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a value; those of clips at their own size are in lists of lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _tensors_in(one)


def _move(batch: Batch, device: torch.device | str, *, non_blocking: bool) -> Batch:
    def move(value: Any) -> Any:
        if isinstance(value, list):
            return [move(one) for one in value]
        return value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value

    moved = Batch((key, move(value)) for key, value in batch.items())
    moved.object_keys, moved.recipe = batch.object_keys, batch.recipe
    if isinstance(batch, CompactBatch):
        incomplete = _find_incomplete(moved, batch.recipe)
        on_host = all(one.stored.device.type == "cpu" for one in incomplete.values())
        moved.update(_complete_on_host(incomplete) if on_host and CORE is not None else _complete(incomplete))
    return moved


class _Incomplete(NamedTuple):
    """What is to become float32."""

    view: View
    stored: torch.Tensor
    """uint8."""
    shown: torch.Tensor | None
    """Of a padded view, int64 [B, 2]: how much of it is picture."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        if isinstance(self.view, MaskView) and self.is_bits:
            return (*self.stored.shape[:-1], self.view.grid[1])
        return tuple(self.stored.shape)

    @property
    def is_bits(self) -> bool:
        """Whether a byte holds 8 pixels."""
        return isinstance(self.view, MaskView) and self.view.role != "prompt"


def _find_incomplete(batch: Batch, recipe: Recipe) -> dict[str, _Incomplete]:
    """Return what is to become float32, by its key; images that are float32 in the store are so already."""
    incomplete = {}
    for key, value in batch.items():
        name = key.rstrip("12")
        view = recipe.views.get(name)
        is_stored = isinstance(view, ImageView) and view.values == "uint8"
        if view is None or is_stored or not isinstance(value, torch.Tensor) or value.dtype != torch.uint8:
            continue
        shown = batch.get(f"{name}_sizes{key.removeprefix(name)}")
        incomplete[key] = _Incomplete(view, value, shown)
    return incomplete


def _complete_on_host(incomplete: dict[str, _Incomplete]) -> dict[str, torch.Tensor]:
    """Return float32 tensors by key, in memory that is filled again when nothing of them is left."""
    assert CORE is not None
    shapes = {key: one.shape for key, one in incomplete.items()}
    layout = ArrayLayout.of({key: (shape, "float32") for key, shape in shapes.items()})
    # Of drawn samples each batch has another number of masks: of another size, it would be other memory each time.
    memory = _POOL.take(1 << (layout.slot_bytes - 1).bit_length())
    memory = np.empty(layout.slot_bytes, np.uint8) if memory is None else memory
    arrays = layout.views(memory)
    for key, out in arrays.items():
        view, tensor, shown = incomplete[key]
        stored = tensor.contiguous().numpy()
        if isinstance(view, ImageView):
            sizes = None if shown is None else shown.contiguous().numpy()
            CORE.normalize(stored, norm_of(view), sizes, out, *out.shape[-2:])
        elif incomplete[key].is_bits:
            CORE.widen_bits(stored, out, out.shape[-1])
        else:
            CORE.widen(stored, out)
    return tensors_of(arrays)


def _complete(incomplete: dict[str, _Incomplete]) -> dict[str, torch.Tensor]:
    """Return float32 tensors by key, on the device of each."""
    completed = {}
    for key, one in incomplete.items():
        if isinstance(one.view, ImageView):
            completed[key] = _normalize(one.stored, one.view, one.shown)
        else:
            completed[key] = _widen(one.stored, one.shape[-1]) if one.is_bits else one.stored.float()
    return completed


def _normalize(image: torch.Tensor, view: ImageView, shown: torch.Tensor | None) -> torch.Tensor:
    """Return float32 [B, 3, H, W] of levels, uint8."""
    if _has_kernels(image.device):
        normalized: torch.Tensor = _kernel("normalize")(image, *_scale(image.device, view))
    else:
        normalized = torch.empty(image.shape, dtype=torch.float32, device=image.device)
        for channel, values in enumerate(_levels(view).to(image.device)):
            normalized[:, channel] = values[image[:, channel].int()]
    if shown is not None:
        rows, columns = (torch.arange(side, device=image.device) for side in image.shape[2:])
        height, width = shown.to(image.device)[:, :, None].unbind(1)
        is_around = (rows >= height)[:, None, :, None] | (columns >= width)[:, None, None]
        normalized.masked_fill_(is_around, 0)
    return normalized


def _widen(packed: torch.Tensor, width: int) -> torch.Tensor:
    """Return float32 [B, H, W] of bits, uint8 [B, H, (W + 7) // 8], the first pixel in the highest bit."""
    if _has_kernels(packed.device):
        bits: torch.Tensor = _kernel("widen")(packed[..., None], _weights(packed.device))
    else:
        bits = (packed[..., None] & _weights(packed.device).to(torch.uint8)).ne(0)
    return bits.flatten(-2)[..., :width].contiguous().float()


def _has_kernels(device: torch.device) -> bool:
    """Whether PyTorch compiles kernels there; its interface for that is documented, and in beta (tried: 2.11)."""
    return device.type == "cuda" and hasattr(torch.cuda, "jiterator")


@cache
def _kernel(name: str) -> Any:
    return torch.cuda.jiterator._create_jit_fn(_KERNELS[name])


@cache
def _scale(device: torch.device, view: ImageView) -> tuple[torch.Tensor, ...]:
    """Return scale, means and standard deviations as tensors: PyTorch multiplies by the inverse of a divisor that is a number."""
    norm = norm_of(view)
    return tuple(torch.from_numpy(v[:, None, None]).to(device) for v in (norm[6:], norm[:3], norm[3:6]))


@cache
def _weights(device: torch.device) -> torch.Tensor:
    """Return what the bits of a byte stand for, float32 [8], the highest first."""
    return torch.tensor([1 << bit for bit in range(7, -1, -1)], dtype=torch.float32, device=device)


@cache
def _levels(view: ImageView) -> torch.Tensor:
    """Return what each of the 256 values becomes in each channel, float32 [3, 256]."""
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    table = np.empty((3, 1, 256), np.float32)
    normalize_into(np.ascontiguousarray(levels), table, norm_of(view))
    return torch.from_numpy(table[:, 0])
