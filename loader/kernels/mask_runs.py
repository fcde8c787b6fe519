"""Masks at their own size: run lengths as they are stored, and what becomes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core import CORE, Core


class RunLengths:
    """A mask as run lengths down its columns, background first: as it goes from one process to another.

    Args:
        height: rows of the mask.
        width: columns of the mask.
        runs: uint32 [R], together height x width.

    Raises:
        ValueError: the runs do not fill the mask.
    """

    __slots__ = ("height", "runs", "width")

    def __init__(self, height: int, width: int, runs: NDArray[np.uint32]) -> None:
        if (found := int(runs.sum(dtype=np.uint64))) != height * width:
            raise ValueError(f"its runs are {found:,} pixels together, and it has {height} x {width}")
        self.height, self.width, self.runs = height, width, runs

    def __reduce__(self) -> tuple[Any, ...]:
        return RunLengths, (self.height, self.width, self.runs)

    def expand(self, out: NDArray[np.bool_] | None = None, *, core: Core | None = CORE) -> NDArray[np.bool_]:
        """Return the mask, bool [H, W], in memory of its own or in `out`, whatever that holds.

        Args:
            out: bool [H, W] in C order.
            core: the compiled core; without one numpy does the same.
        """
        if core is None:
            values = np.arange(len(self.runs)) % 2 == 1
            plain = np.repeat(values, self.runs).reshape(self.width, self.height).T
            if out is None:
                return np.ascontiguousarray(plain)
            np.copyto(out, plain)
            return out
        if out is None:
            # What is not covered is not written: of a small object most is memory that the system gives as zeros.
            out = np.zeros((self.height, self.width), np.bool_)
        else:
            out.fill(False)
        if not core.expand_runs(self.runs, self.height, self.width, out):
            raise ValueError("the run lengths of a mask changed while it was made")
        return out
