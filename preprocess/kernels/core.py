"""The compiled core of the converter, where there is one."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...loader.format.core import load_core


class Target(NamedTuple):
    """A square to resize to, and the tables of `preprocess.tensors.resample_weights`."""

    size: int
    """Columns and rows."""
    first_columns: NDArray[np.int64]
    """int64 [size], ascending: the first of the columns that make one."""
    column_weights: NDArray[np.int32]
    """int32 [size, any number]: what each of them counts, in units of 2**-22."""
    first_rows: NDArray[np.int64]
    """int64 [size], ascending: the first of the rows that make one."""
    row_weights: NDArray[np.int32]
    """int32 [size, any number]: what each of them counts, in units of 2**-22."""
    out: NDArray[np.uint8]
    """uint8 [3, size, size], contiguous, to write to."""


class Core(Protocol):
    """What `preprocess/kernels/core.c` offers. Every shape and bound is looked at, and other threads run meanwhile."""

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""

    def resize(
        self, image: NDArray[np.uint8], height: int, width: int, targets: tuple[Target, ...], /
    ) -> None:
        """Resize an image to one or two squares, in one pass over its rows.

        Args:
            image: uint8 [height, width, 3], contiguous.
            height: rows of the image.
            width: columns of the image.
            targets: what is made of it.

        Raises:
            ValueError: an array is too short or too long, a window leaves the image or begins before the one above it,
                or a weight reaches 2**23 - 2**16; then nothing is written.
            BufferError: an array is not contiguous, or `out` is read-only.
            MemoryError: there is none for the rows that wait.
        """

    def resize_lines(
        self,
        image: NDArray[np.uint8],
        height: int,
        line: int,
        size: int,
        first: NDArray[np.int64],
        weights: NDArray[np.int32],
        out: NDArray[np.uint8],
        /,
    ) -> None:
        """Resize lines vertically, whatever they hold.

        Args:
            image: uint8 [height, line], contiguous.
            height: how many lines there are.
            line: bytes of each.
            size: how many are made.
            first: as `Target.first_rows`.
            weights: as `Target.row_weights`.
            out: uint8 [size, line], contiguous, to write them to.

        Raises:
            ValueError, BufferError, MemoryError: as in `resize`.
        """


CORE: Core | None = load_core(__package__)
