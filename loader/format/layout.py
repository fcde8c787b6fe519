"""The contract between writer and loader: arrays, tables, constants and the format version.

The loader imports this module at training time: numpy and msgspec only. docs/format.md says the same in words; a test
compares the two.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np

from .recipe import ImageView, MaskView, Recipe, View

FORMAT_VERSIONS = (1, 2, 3)
"""What this version reads; the newest is the last. A store has the oldest that says all of it."""

ATTRIBUTES_KEY = "resizeonce"
"""Everything this project writes into Zarr attributes stands under this one key."""

REJECTS_FILE = "rejects.jsonl"

JOB_FILE = ".job.json"
"""Stands in the root of a store that is not finished, and says what it is made from."""

DatasetType = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
"""What `dataset_type` may be in a batch."""
Table = Literal["images", "masks", "expressions", "samples", "scenes"]
Codec = Literal["raw", "zstd", "gradient"]
Column = Literal["boxes", "sources", "hashes"]
"""Of those that a store has where its config asks for them."""

ZSTD_LEVEL = 3

RUNS_IN_PIECE = 1 << 12
"""Of masks at their own size: of most of them all lie in one chunk or two, which are read and checked."""
SOURCE_PIECE_BYTES = 1 << 16
"""Of the files that images were read from."""

MAX_MASK_PIXELS = 1 << 28
"""Of a mask at its own size (16,384 x 16,384): whoever unpacks one takes as many bytes of memory."""

COLUMNS: tuple[Column, ...] = ("boxes", "sources", "hashes")
"""In their order in the attributes."""

GRADIENT_CODEC = "resizeonce.gradient"
"""Name of the one codec that is not in Zarr's core set."""

SLACK_BYTES = 8
"""Zeros at the end of a row of that codec: whoever unpacks it reads eight bytes at a time."""

TABLES: tuple[Table, ...] = ("images", "masks", "expressions", "samples", "scenes")
"""Joined by row number: a sample names its masks, a mask and an expression name what they belong to."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a part: a Zarr v3 array in exactly one shard file."""

    table: Table
    name: str
    dtype: str
    """numpy name of the stored dtype."""
    row_shape: tuple[int, ...]
    dims: tuple[str, ...]
    """Zarr dimension names, the row's first."""
    codec: Codec = "raw"
    """"raw" rows are their plain bytes and can be mapped; "zstd" and "gradient" rows are compressed one by one."""
    row_chunks: bool = False
    """Whether each row is a chunk of its own."""
    piece_rows: int = 0
    """Rows of a chunk where it is neither one row nor, as 0 says, the whole array; the last one is filled up with zeros."""

    @property
    def is_whole(self) -> bool:
        """Whether the array is one chunk, read as a whole when it is first needed."""
        return not self.row_chunks and not self.piece_rows

    def num_chunks(self, length: int) -> int:
        """Return how many chunks an array of so many rows has."""
        if self.row_chunks:
            return length
        return -(-length // self.piece_rows) if self.piece_rows else min(length, 1)

    @property
    def path(self) -> str:
        """Path below the part, such as "images/pixel_values"."""
        return f"{self.table}/{self.name}"

    @property
    def row_bytes(self) -> int:
        """Size of one decoded row in bytes."""
        return int(np.prod(self.row_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


TEXT_COLUMNS: dict[Table, tuple[str, ...]] = {
    "images": ("key", "path"),
    "masks": ("object_id", "category"),
    "expressions": ("text",),
    "scenes": ("key",),
}
"""Columns of text, each stored as `<name>_offsets` int64 [N + 1] and `<name>_bytes` uint8 (UTF-8), as in Arrow."""


def array_specs(
    recipe: Recipe, frames_per_sample: int, columns: Collection[Column] = ()
) -> tuple[ArraySpec, ...]:
    """Return every array of a part, in the order of the tables, with some of the columns that not each store has.

    Frames of a sample are 1, or 2 where samples are pairs.
    """
    return (
        *(_image(name, view) for name, view in recipe.images.items()),
        ArraySpec("images", "size", "int32", (2,), ("image", "height_width")),
        ArraySpec("images", "scene", "int64", (), ("image",)),
        ArraySpec("images", "time", "int32", (), ("image",)),
        *_text("images", "key"),
        *_text("images", "path"),
        *(_SOURCES if "sources" in columns else ()),
        *(_HASHES if "hashes" in columns else ()),
        *(spec for name, view in recipe.masks.items() for spec in _mask(name, view)),
        ArraySpec("masks", "image", "int64", (), ("mask",)),
        ArraySpec("masks", "area", "int64", (), ("mask",)),
        *([ArraySpec("masks", "prompt_cells", "int32", (), ("mask",))] if recipe.prompt else []),
        *(_BOXES if "boxes" in columns else ()),
        *_text("masks", "object_id"),
        *_text("masks", "category"),
        ArraySpec("expressions", "mask", "int64", (), ("expression",)),
        *_text("expressions", "text"),
        ArraySpec("samples", "mask", "int64", (frames_per_sample,), ("sample", "frame")),
        *_text("scenes", "key"),
    )


def format_version_of(recipe: Recipe, columns: Collection[Column], *, empty_frames: bool) -> int:
    """Return the oldest format version that can say all of a store with these columns, and perhaps images without a mask."""
    return 3 if columns or empty_frames else recipe.format_version


def view_path(name: str, view: View) -> str:
    """Return the array of a part that a view is stored in; of one at its own size, what the names of its arrays begin with."""
    return f"{'images' if isinstance(view, ImageView) else 'masks'}/{name}"


def _image(name: str, view: ImageView) -> ArraySpec:
    return ArraySpec(
        "images",
        name,
        "float32" if view.stored == "float32" else "uint8",
        (3, *view.size),
        ("image", "channel", "y", "x"),
        codec="gradient" if view.stored == "compact" else "raw",
        row_chunks=True,
    )


def _mask(name: str, view: MaskView) -> tuple[ArraySpec, ...]:
    if view.size == "own":
        return (
            ArraySpec("masks", f"{name}_size", "int32", (2,), ("mask", "height_width")),
            ArraySpec("masks", f"{name}_offsets", "int64", (), ("mask_boundary",)),
            ArraySpec("masks", f"{name}_runs", "uint32", (), (f"{name}_run",), piece_rows=RUNS_IN_PIECE),
        )
    dims = ("mask", "y", "x")
    if view.role == "prompt":
        return (ArraySpec("masks", name, "bool", view.size, dims),)
    return (ArraySpec("masks", name, "bool", view.size, dims, codec="zstd", row_chunks=True),)


_SOURCES = (
    ArraySpec("images", "source_offsets", "int64", (), ("image_boundary",)),
    ArraySpec("images", "source_bytes", "uint8", (), ("source_byte",), piece_rows=SOURCE_PIECE_BYTES),
)
_HASHES = (ArraySpec("images", "pixel_sha256", "uint8", (32,), ("image", "byte")),)
_BOXES = (ArraySpec("masks", "box", "float32", (4,), ("mask", "x0_y0_x1_y1")),)


def _text(table: Table, name: str) -> tuple[ArraySpec, ArraySpec]:
    return (
        ArraySpec(table, f"{name}_offsets", "int64", (), (f"{table[:-1]}_boundary",)),
        ArraySpec(table, f"{name}_bytes", "uint8", (), (f"{name}_byte",)),
    )


PART_NAME = re.compile("part-[0-9]{5}")
"""What `part_name` gives."""


def part_name(part: int) -> str:
    """Return the folder of a part.

    >>> part_name(7)
    'part-00007'
    """
    return f"part-{part:05d}"
