"""The compiled core of the converter, where there is one."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...loader.format.core import load_core


class Cells(NamedTuple):
    """One axis of a grid of cells over a mask, in units of which pixels and cells both have whole numbers."""

    length: int
    """Pixels of the mask, at least 1."""
    size: int
    """Cells, at least 1."""
    pixel: int
    """Units of a pixel, at least 1."""
    cell: int
    """Units of a cell, at least 1."""
    start: int
    """Where the first cell begins, from the mask's edge; may be negative."""


class Target(NamedTuple):
    """What is made of an image, and the tables of `preprocess.tensors.resample_weights`."""

    height: int
    """Rows that are made."""
    width: int
    """Columns that are made."""
    out_height: int
    """Rows of `out`, at least as many."""
    out_width: int
    """Columns of `out`, at least as many."""
    first_columns: NDArray[np.int64]
    """int64 [width], ascending: the first of the columns that make one."""
    column_weights: NDArray[np.int32]
    """int32 [width, any number]: what each of them counts, in units of 2**-22."""
    first_rows: NDArray[np.int64]
    """int64 [height], ascending: the first of the rows that make one."""
    row_weights: NDArray[np.int32]
    """int32 [height, any number]: what each of them counts, in units of 2**-22."""
    out: NDArray[np.uint8]
    """uint8 [3, out_height, out_width], contiguous; its top left corner is written, the rest stays."""


class Core(Protocol):
    """What `preprocess/kernels/core.c` offers. Every size and bound is looked at, and other threads run meanwhile.

    Arrays are in C order. Of one that is not, or must not be written to, the functions raise `ValueError` or `TypeError`.
    Dtypes are not looked at: what is of as many bytes is taken.
    """

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""

    # Run lengths (COCO's: down the columns, background first).

    def sample_runs(
        self,
        runs: NDArray[np.int64],
        height: int,
        width: int,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        out: NDArray[np.bool_],
    ) -> None:
        """Write where a mask covers a grid of its pixels; the rest stays.

        Args:
            runs: int64 [R].
            height: rows of the mask.
            width: columns of the mask.
            rows: int64 [M], ascending within the mask; they may repeat.
            columns: int64 [N], ascending within the mask; they may repeat.
            out: bool [M, N], zero.

        Raises:
            ValueError: the runs do not fill the mask, a position is outside of it, or they are not ascending.
        """

    def cover_runs(
        self, runs: NDArray[np.int64], rows: Cells, columns: Cells, least: int, out: NDArray[np.bool_], /
    ) -> None:
        """Write the cells of which twice the covered area is at least `least`, or else the most covered one, if any is.

        Args:
            runs: int64 [R].
            rows: of the grid of cells.
            columns: likewise.
            least: in units of both, at least 1.
            out: bool [rows.size, columns.size].

        Raises:
            ValueError: the runs do not fill the mask, a length is too large, or `out` is of another size.
        """

    def decompress_counts(self, counts: bytes, runs: NDArray[np.int64]) -> int:
        """Write the run lengths of a compressed counts string; return how many there are.

        Args:
            counts: characters "0" to "o", 5 bits each.
            runs: int64, as many as there are characters.

        Raises:
            ValueError: the counts are damaged, or a run is negative.
        """

    # Rows as they are stored.

    def make_frame(self, mask: NDArray[np.uint8], width: int, most_changes: int) -> bytes | None:
        """Return a mask as `loader.format.mask_sequences.make_frame` does, or None where that does.

        Args:
            mask: uint8 [N], its rows one after the other; N below 2**32.
            width: pixels of a row, 6 to 2**23.
            most_changes: how many pixels may differ from those above, at most N.

        Raises:
            ValueError: it is not whole rows of such a width.
        """

    def pack_image(self, image: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> int:
        """Write an image as `loader.format.gradient.pack_gradient` packs it; return how many bytes that takes.

        Args:
            image: uint8 [3, height, width].
            height: at least 1.
            width: at least 1.
            out: uint8, `loader.format.gradient.packed_bound` at least; it shares no memory with `image`.

        Raises:
            ValueError: it is of another size, or `out` too small.
        """

    # Images.

    def resize(
        self, image: NDArray[np.uint8], height: int, width: int, targets: tuple[Target, ...], /
    ) -> None:
        """Resize an image to as many as sixteen sizes, in one pass over its rows.

        Args:
            image: uint8 [height, width, 3], contiguous.
            height: rows of the image.
            width: columns of the image.
            targets: what is made of it.

        Raises:
            ValueError: an array is too short or too long, a window leaves the image or begins before the one above it,
                or the size of a weight exceeds 2**23 - 2**16; then nothing is written.
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
            ValueError, MemoryError: as in `resize`.
        """


CORE: Core | None = load_core(__package__)
