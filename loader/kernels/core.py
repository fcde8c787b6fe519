"""The compiled core of the loader, where there is one (`loader/kernels/core.c`)."""

import os
import warnings
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.core import VARIABLE, load_core, why_missing

LEFT, DONE, DAMAGED = range(3)
"""What becomes of a row: it is of a kind that the core does not know, or not whole; it is written; its checksum is wrong."""


class Action(IntEnum):
    """What `Core.fill_rows` makes of stored rows."""

    COPY = 0
    """Rows as they are."""
    NORMALIZE = 1
    """Of images uint8 [3, H, W], (level / scale - mean) / std: float32 [B, 3, H, W], each step rounded."""
    EXPAND = 2
    """Of masks in the frames of `loader.format.mask_codec`, float32 [B, H, W] of 0 and 1."""
    EXPAND_TO_BITS = 3
    """Of the same, bits: uint8 [B, H, (W + 7) // 8]."""
    UNPACK = 4
    """Of images that are stored compact, uint8 [B, 3, H, W]."""
    UNPACK_AND_NORMALIZE = 5
    """Of the same, what `NORMALIZE` makes of raw ones."""


class Core(Protocol):
    """What fills a batch: one tensor of several samples a call.

    All arrays are in C order. Sizes are looked at, and `ValueError` is raised before anything is written where one does not
    fit; dtypes are not. Other threads of Python run meanwhile.
    """

    def fill_rows(
        self,
        action: int,
        files: Sequence[NDArray[np.uint8]],
        spans: NDArray[np.int64],
        out: NDArray[Any],
        height: int,
        width: int,
        norm: NDArray[np.float32] | None,
        shown: NDArray[np.int64] | None,
        is_checked: bool,
    ) -> bytes:
        """Write stored rows into `out`, [B, ...]; return what became of each, [B]: of one that is not `DONE`, anything may be written.

        Args:
            action: what is made of them, an `Action`.
            files: what each row lies in, uint8 [N].
            spans: int64 [B, 2]: offset there, and bytes with the four of the CRC-32C that follows them.
            out: where to.
            height: of images and masks; of no meaning where rows are copied, as the width.
            width: of images and masks.
            norm: of what is normalised, float32 [7]: three means, three standard deviations, and the scale.
            shown: of what is normalised, int64 [B, 2], the height and width of what is picture, in the top left corner: the
                rest becomes 0; None where all is.
            is_checked: whether the checksum is compared, which is computed in the pass that reads a row.
        """

    def expand_runs(
        self,
        runs: Sequence[NDArray[np.uint32]],
        places: NDArray[np.int64],
        out: NDArray[np.bool_],
        is_zero: bool,
    ) -> int:
        """Write masks of run lengths down their columns, background first; return how many, up to the first that they don't fill.

        Args:
            runs: of each mask, uint32 [R], how many pixels each has.
            places: int64 [M, 3], of each mask its rows, its columns, and where in `out` it begins.
            out: bool, of any shape in C order; where runs don't fill a mask, anything may be written to its place.
            is_zero: whether `out` holds zeros; else the places of masks are filled with them first.
        """

    def normalize(
        self,
        images: NDArray[np.uint8],
        norm: NDArray[np.float32],
        shown: NDArray[np.int64] | None,
        out: NDArray[np.float32],
        height: int,
        width: int,
    ) -> None:
        """Write images uint8 [B, 3, H, W] into `out`, of the same shape, as `fill_rows` normalises stored ones."""

    def widen(self, pixels: NDArray[Any], out: NDArray[np.float32]) -> None:
        """Write bytes into `out`, of as many values: 0 where they are 0, else 1."""

    def widen_bits(self, packed: NDArray[np.uint8], out: NDArray[np.float32], width: int) -> None:
        """Write bits uint8 [..., (W + 7) // 8], the first in the highest bit, into `out`, float32 [..., W]."""

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""


CORE: Core | None = load_core(__package__)


@cache
def warn_without_core() -> None:
    """Warn once in a process that training is slower than it could be, unless `RESIZEONCE_CORE` asks for that."""
    if CORE is None and os.environ.get(VARIABLE) != "off":
        reason = why_missing(__package__)
        warnings.warn(
            f"batches are filled by numpy, to the same bytes but more slowly, for want of the compiled core: {reason}",
            # Where the trainer makes its loader.
            stacklevel=3,
        )
