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
    """What `preprocess/kernels/core.c` offers; other threads run meanwhile.

    Arrays are in C order; of one that is not, or must not be written to, the functions raise `ValueError` or `TypeError`. Sizes,
    positions and bounds are looked at, and `ValueError` is raised where one does not fit. Dtypes are not: what is of as many
    bytes is taken.
    """

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""

    # Run lengths, int64 [R]: COCO's, down the columns, background first. They must fill the mask.

    def sample_runs(
        self,
        runs: NDArray[np.int64],
        height: int,
        width: int,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        out: NDArray[np.bool_],
    ) -> None:
        """Write where a mask covers a grid of its pixels into `out`, bool [M, N], zero before.

        The grid's `rows`, int64 [M], and `columns`, int64 [N], ascend within the mask, and may repeat.
        """

    def cover_runs(
        self, runs: NDArray[np.int64], rows: Cells, columns: Cells, least: int, out: NDArray[np.bool_], /
    ) -> None:
        """Write the cells of which twice the covered area is at least `least`, or else the most covered one, if any is.

        `least`, at least 1, is in units of rows times columns; `out` is bool [rows.size, columns.size].
        """

    def decompress_counts(self, counts: bytes, runs: NDArray[np.int64]) -> int:
        """Write the run lengths of a compressed counts string, 5 bits in each of "0" to "o"; return how many there are.

        `runs` has room for as many as there are characters. `ValueError` says that counts are damaged, or a run is negative.
        """

    # Rows as they are stored.

    def make_frame(self, mask: NDArray[np.uint8], width: int, most_changes: int) -> bytes | None:
        """Return a mask as `loader.format.mask_sequences.make_frame` does, or None where that does.

        `mask` is uint8 [N], N below 2**32: whole rows of `width` pixels, 6 to 2**23. At most `most_changes` of its pixels, up to N,
        differ from those above.
        """

    def pack_image(self, image: NDArray[np.uint8], height: int, width: int, out: NDArray[np.uint8]) -> int:
        """Write an image as `loader.format.gradient.pack_gradient` packs it; return how many bytes that takes.

        `image` is uint8 [3, height, width]; `out`, uint8 [`packed_bound` of that module], shares no memory with it.
        """

    # Images.

    def resize(
        self, image: NDArray[np.uint8], height: int, width: int, targets: tuple[Target, ...], /
    ) -> None:
        """Resize an image, uint8 [height, width, 3], to up to sixteen sizes in one pass over its rows.

        Windows ascend within the image, and weights are up to 2**23 - 2**16; else nothing is written. `MemoryError` says that
        there is no memory for the rows that wait.
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
        """Resize lines vertically, uint8 [height, line] to [size, line], whatever they hold.

        `first` and `weights` are as a `Target` has them of rows; errors are those of `resize`.
        """


CORE: Core | None = load_core(__package__)
