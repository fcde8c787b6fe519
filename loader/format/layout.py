"""The contract between writer and loader: arrays, tables, constants and the format version.

Standard library and numpy only: the loader imports this module at training time. docs/format.md says the same in
words; a test compares the two.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

FORMAT_VERSIONS = (1, 2)
"""What this version reads; the newest is the last. A store has the oldest that says all of it."""

TENSOR_PATHS = {
    "pixel_values": "images/pixel_values",
    "g_pixel_values": "images/g_pixel_values",
    "prompt_masks": "masks/prompt_masks",
    "masks": "masks/masks",
}
"""The array of a part that each tensor of a batch is stored in."""

TENSORS = tuple(TENSOR_PATHS)
"""Names of the four; in pairs each is there twice, with the suffixes 1 and 2."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PIXEL_SIZE = 448
"""Side of the image for the vision-language model, in pixels (InternVL)."""
GROUNDING_SIZE = 1024
"""Side of the image and mask for the segmenter, in pixels (SAM2)."""
PROMPT_SIZE = PIXEL_SIZE // 14 // 2
"""Side of the prompt mask, in cells: patches of 14 pixels, joined 2 x 2 by pixel shuffle."""

ATTRIBUTES_KEY = "resizeonce"
"""Everything this project writes into Zarr attributes stands under this one key."""

REJECTS_FILE = "rejects.jsonl"

JOB_FILE = ".job.json"
"""Stands in the root of a store that is not finished, and says what it is made from."""

DATASET_TYPES = ("sav", "sa1b", "openimage", "refcoco", "coco")
"""What `dataset_type` may be in a batch."""

DatasetType = Literal["sav", "sa1b", "openimage", "refcoco", "coco"]
Table = Literal["images", "masks", "expressions", "samples", "scenes"]
Codec = Literal["raw", "zstd", "gradient"]
ImageForm = Literal["uint8", "compact"]
PixelForm = Literal["uint8", "float32", "compact"]

ZSTD_LEVEL = 3

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
    """Whether each row is a chunk of its own; otherwise the array is one chunk."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSizes:
    """Sides of the four tensors in pixels or cells, and the stored forms of the images."""

    pixel_values: int = PIXEL_SIZE
    g_pixel_values: int = GROUNDING_SIZE
    prompt_masks: int = PROMPT_SIZE
    masks: int = GROUNDING_SIZE
    pixel_values_form: PixelForm = "uint8"
    g_pixel_values_form: ImageForm = "uint8"

    @property
    def format_version(self) -> int:
        """The oldest format version that has these forms."""
        return 2 if "compact" in (self.pixel_values_form, self.g_pixel_values_form) else 1


def array_specs(sizes: TensorSizes, frames_per_sample: int) -> tuple[ArraySpec, ...]:
    """Return every array of a part, in the order of the tables.

    Args:
        sizes: sides of the four tensors.
        frames_per_sample: 1, or 2 where samples are pairs.
    """
    pixel, grounding, prompt, mask = (
        sizes.pixel_values,
        sizes.g_pixel_values,
        sizes.prompt_masks,
        sizes.masks,
    )
    mask_dims = ("mask", "y", "x")
    return (
        _image("pixel_values", sizes.pixel_values_form, pixel),
        _image("g_pixel_values", sizes.g_pixel_values_form, grounding),
        ArraySpec("images", "size", "int32", (2,), ("image", "height_width")),
        ArraySpec("images", "scene", "int64", (), ("image",)),
        ArraySpec("images", "time", "int32", (), ("image",)),
        *_text("images", "key"),
        *_text("images", "path"),
        ArraySpec("masks", "prompt_masks", "bool", (prompt, prompt), mask_dims),
        ArraySpec("masks", "masks", "bool", (mask, mask), mask_dims, codec="zstd", row_chunks=True),
        ArraySpec("masks", "image", "int64", (), ("mask",)),
        ArraySpec("masks", "area", "int64", (), ("mask",)),
        ArraySpec("masks", "prompt_cells", "int32", (), ("mask",)),
        *_text("masks", "object_id"),
        *_text("masks", "category"),
        ArraySpec("expressions", "mask", "int64", (), ("expression",)),
        *_text("expressions", "text"),
        ArraySpec("samples", "mask", "int64", (frames_per_sample,), ("sample", "frame")),
        *_text("scenes", "key"),
    )


def _image(name: str, form: PixelForm, size: int) -> ArraySpec:
    return ArraySpec(
        "images",
        name,
        "float32" if form == "float32" else "uint8",
        (3, size, size),
        ("image", "channel", "y", "x"),
        codec="gradient" if form == "compact" else "raw",
        row_chunks=True,
    )


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
