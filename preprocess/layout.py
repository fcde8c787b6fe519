"""The contract between writer and loader: arrays, tables, constants and the format version.

Standard library and numpy only: the loader imports this module at training time. docs/format.md says the same in
words; a test compares the two.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from preprocess.errors import FormatVersionError, StoreError

FORMAT_VERSIONS = (1, 2)
"""What this version reads; the newest is the last. A store has the oldest that says all of it."""

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

    @classmethod
    def of(cls, recipe: Mapping[str, Any]) -> "TensorSizes":
        """Return what the recipe in a store's root attributes says.

        Raises:
            KeyError: it says nothing of a tensor.
        """
        return cls(
            pixel_values=recipe["pixel_values"]["size"],
            g_pixel_values=recipe["g_pixel_values"]["size"],
            prompt_masks=recipe["prompt_masks"]["size"],
            masks=recipe["masks"]["size"],
            pixel_values_form=recipe["pixel_values"]["stored"],
            g_pixel_values_form=recipe["g_pixel_values"].get("stored", "uint8"),
        )

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


def part_name(part: int) -> str:
    """Return the folder of a part.

    >>> part_name(7)
    'part-00007'
    """
    return f"part-{part:05d}"


def read_attributes(store: Path) -> dict[str, Any]:
    """Return the root attributes of a complete store.

    Raises:
        StoreError: there is no complete store.
        FormatVersionError: it is of another format version.
    """
    try:
        encoded = (store / "zarr.json").read_bytes()
    except FileNotFoundError as err:
        if (store / JOB_FILE).exists():
            raise StoreError(
                f"{store} is not finished: run the same `resizeonce convert` again to finish it"
            ) from err
        raise StoreError(f"{store} is no store: {store / 'zarr.json'} is missing") from err
    except OSError as err:
        raise StoreError(f"can't read {store / 'zarr.json'}: {err.strerror or err}") from err
    return parse_attributes(encoded, str(store))


def parse_attributes(encoded: bytes, store: str) -> dict[str, Any]:
    """Return the root attributes in the `zarr.json` of a complete store.

    Args:
        encoded: the file's bytes.
        store: the store's path or URL, for messages.

    Raises:
        StoreError: they are damaged.
        FormatVersionError: they are of another format version.
    """
    path = f"{store}/zarr.json"
    try:
        attributes: dict[str, Any] = json.loads(encoded)["attributes"][ATTRIBUTES_KEY]
        version = attributes["format_version"]
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"{path} is damaged, or not of this project: {err!r}") from err
    if version not in FORMAT_VERSIONS:
        known = " and ".join(map(str, FORMAT_VERSIONS))
        raise FormatVersionError(
            f"{store} has format version {version!r}, this version of resizeonce reads {known}: "
            "read it with the version that wrote it, or convert again"
        )
    if attributes.get("sha256") != attributes_digest(attributes):
        raise StoreError(
            f"{path} is damaged: its attributes are not those that were written; run `resizeonce verify {store}`"
        )
    return attributes


def attributes_digest(attributes: Mapping[str, Any]) -> str:
    """Return what `sha256` in the root attributes is: the SHA-256 of all the others as compact JSON, keys sorted."""
    others = {name: value for name, value in attributes.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_part_attributes(part: Path) -> tuple[dict[str, Any], str]:
    """Return a part's attributes and the SHA-256 of the file they are in.

    Raises:
        FileNotFoundError: there is no such part.
        StoreError: its metadata is damaged.
    """
    encoded = (part / "zarr.json").read_bytes()
    return parse_part_attributes(encoded, str(part)), hashlib.sha256(encoded).hexdigest()


def parse_part_attributes(encoded: bytes, part: str) -> dict[str, Any]:
    """Return the attributes in the `zarr.json` of a part.

    Args:
        encoded: the file's bytes.
        part: the part's path or URL, for messages.

    Raises:
        StoreError: they are damaged.
    """
    try:
        attributes: dict[str, Any] = json.loads(encoded)["attributes"][ATTRIBUTES_KEY]
    except (ValueError, KeyError, TypeError) as err:
        raise StoreError(f"{part}/zarr.json is damaged ({err!r}): remove {part} and convert again") from err
    return attributes
