"""Masks at their own size in a batch: read as run lengths, which are small, and made where the batch is used.

A batch of them has another size each time. Its memory is used again all the same: that of fresh pages costs ten times as
much as what is written to it.
"""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buffers.slots import Pool
from .format.layout import MAX_MASK_PIXELS
from .kernels.mask_runs import RunLengths, expand_all
from .part import Part

_LINE = 64
"""Bytes of a line of the cache."""


def read_own_size(part: Part, path: str, row: int) -> RunLengths:
    """Return a mask as it is stored, in memory of its own; names of its view's arrays begin with `path`, as "masks/masks".

    Raises:
        DamageError: its size or its run lengths can't be those of a mask.
    """
    height, width = part.column(f"{path}_size")[row].tolist()
    offsets = part.column(f"{path}_offsets")
    start, stop = offsets.item(row), offsets.item(row + 1)
    if not (height > 0 and width > 0 and height * width <= MAX_MASK_PIXELS):
        raise part.damage(f"{path}_size", row, f"no mask is of {height} x {width} pixels")
    runs = part.array(f"{path}_runs").slice(start, stop)
    try:
        return RunLengths(height, width, runs.copy())
    except ValueError as err:
        raise part.damage(f"{path}_runs", row, str(err)) from err


class MaskRoom:
    """Memory of a `Pool` for batches' masks at their own size; `wrap` makes of each array what a batch is to have."""

    def __init__(self, num_batches: int, wrap: Callable[[NDArray[np.bool_]], Any]) -> None:
        self._pool = Pool(num_batches)
        self._wrap = wrap
        self._most = 0

    def expand(self, described: dict[str, Any]) -> None:
        """Put masks, bool [H, W], wrapped, in the place of the run lengths in a batch's lists."""
        keys = _keys_of(described)
        # Masks begin at lines of the cache.
        masks: list[RunLengths] = []
        for key in keys:
            _mapped(masks.append, described[key])
        rooms = [-(-one.height * one.width // _LINE) * _LINE for one in masks]
        if not rooms:
            return
        needed = sum(rooms)
        # Enough for most batches to come: another size would be other memory. By a name, for another thread may ask for more.
        most = self._most = max(self._most, 1 << (needed - 1).bit_length())
        memory = self._pool.take(most)
        if memory is None:
            expand_masks(described, self._wrap)
            return
        pixels, starts = memory.view(np.bool_), list(accumulate(rooms, initial=0))[:-1]
        made = (
            self._wrap(pixels[start : start + one.height * one.width].reshape(one.height, one.width))
            for start, one in zip(starts, masks, strict=True)
        )
        for key in keys:
            described[key] = _mapped(lambda _: next(made), described[key])
        # In one go, and at last: the masks drive what Python needs out of the processor's caches.
        expand_all(masks, starts, pixels)


def expand_masks(
    described: dict[str, Any], wrap: Callable[[NDArray[np.bool_]], Any] = lambda mask: mask
) -> None:
    """Do what `MaskRoom.expand` does, each mask in memory of its own."""
    for key in _keys_of(described):
        described[key] = _mapped(lambda mask: wrap(mask.expand()), described[key])


def _keys_of(described: dict[str, Any]) -> list[str]:
    return [key for key, value in described.items() if _has_masks(value)]


def _has_masks(value: Any) -> bool:
    return (isinstance(value, list) and bool(value) and _has_masks(value[0])) or isinstance(value, RunLengths)


def _mapped(expand: Callable[[RunLengths], Any], value: list[Any]) -> list[Any]:
    """Return what becomes of the masks of a list, or of its lists: of clips, each has one for each frame."""
    return [_mapped(expand, one) if isinstance(one, list) else expand(one) for one in value]
