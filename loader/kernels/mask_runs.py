"""Masks at their own size: run lengths as they are stored, and what becomes of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core import CORE, Core


class RunLengths:
    """A mask as run lengths down its columns, background first, uint32 [R]: as it goes from one process to another.

    Raises:
        ValueError: the runs do not fill the mask.
    """

    __slots__ = ("height", "runs", "width")

    def __init__(self, height: int, width: int, runs: NDArray[np.uint32]) -> None:
        if (found := int(runs.sum(dtype=np.uint64))) != height * width:
            raise ValueError(f"its runs are {found:,} pixels together, and it has {height} x {width}")
        self.height, self.width, self.runs = height, width, runs

    def __reduce__(self) -> tuple[Any, ...]:
        # What comes from a worker was looked at there: once more takes the trainer's thread longer than all else of a mask.
        return object.__new__, (RunLengths,), (None, {name: getattr(self, name) for name in self.__slots__})

    def expand(self, out: NDArray[np.bool_] | None = None, *, core: Core | None = CORE) -> NDArray[np.bool_]:
        """Return the mask, bool [H, W], in memory of its own or in `out`, which is in C order, whatever that holds."""
        is_new = out is None
        if out is None:
            # What is not covered is not written: of a small object most is memory that the system gives as zeros.
            out = np.zeros((self.height, self.width), np.bool_)
        elif out.shape != (self.height, self.width):
            raise ValueError(f"out is {list(out.shape)}, expected {[self.height, self.width]}")
        expand_all([self], [0], out, is_zero=is_new, core=core)
        return out


def expand_all(
    masks: Sequence[RunLengths],
    starts: Sequence[int],
    out: NDArray[np.bool_],
    *,
    is_zero: bool = False,
    core: Core | None = CORE,
) -> None:
    """Write masks, each [H, W] in C order, into one memory.

    Args:
        masks: their run lengths.
        starts: where in `out` each begins, in pixels.
        out: bool, in C order.
        is_zero: whether `out` holds zeros.
        core: the compiled core; without one numpy does the same.
    """
    if core is None:
        flat = out.reshape(-1)
        for mask, start in zip(masks, starts, strict=True):
            values = np.arange(len(mask.runs)) % 2 == 1
            plain = np.repeat(values, mask.runs).reshape(mask.width, mask.height).T
            flat[start : start + plain.size].reshape(plain.shape)[:] = plain
        return
    places = [(mask.height, mask.width, start) for mask, start in zip(masks, starts, strict=True)]
    num_written = core.expand_runs([mask.runs for mask in masks], np.array(places, np.int64), out, is_zero)
    if num_written != len(masks):
        raise ValueError("the run lengths of a mask changed while it was made")
