"""A folder of npz files: two frames and the masks of the objects in both, or one image and its masks.

The format is this project's own, for data that has no public layout. Below the root, at any depth::

    juggler/00012.npz     paired:  image1, mask1 (the earlier frame), image2, mask2
    stills/000123.npz     single:  image, mask

- `image`: uint8 [H, W, 3], RGB, the original pixels. Nothing that was scaled or normalised, since the 0..255 image
  can't be had back from it: undoing that by guesswork is the fault that this project exists to prevent.
- `mask`: [H, W] or [K, H, W] in the size of its image, 0 and 1 or 0 and 255, in bool, any integer or float type.
  Floats are taken because masks are float 0.0 and 1.0 in the batch; a soft mask is not. In a pair both masks have the
  same K, and object k is the same object in both.
- `expressions`, optional: unicode strings. Of one object: any number of phrases. Of K objects: [K], a phrase for
  each, or [K, N], a row of phrases for each. Blank ones are left out.

A file that breaks any of this is rejected as a whole, with a reason that says what it looks like. Pickles
are never read. Compression is none or deflate, which is what numpy writes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import MAX_IMAGE_PIXELS, ImageDecoder, decode_image
from ..decode.segmentation import Rle
from ..errors import DecodeError, RecordError, SegmentationError
from .base import IndexedSource
from .files.folder_tree import list_tree
from .files.leftovers import LeftOut, describe_skips
from .files.npz_arrays import has_array, open_arrays, read_array
from .files.raw_files import RawPath, listing_digest, resolve_inside
from .options import SourceOptions
from .records import Frame, Mask, Pair, Record, Reject

MAX_OBJECTS = 1 << 16
"""Most masks in one member: an array of some kilobytes, packed, may hold a billion masks of one pixel."""

MAX_PHRASES = 1 << 20
"""Most phrases in one file, blank ones included: as Python objects they take many times their place in the array."""

_UNREAD = {
    ".npz": "file whose name does not end in .npz, not read: rename it",
    ".npy": ".npy file, not read: a scene is one .npz",
}

_LAST_CODE_POINT = 0x10FFFF


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for npz files."""

    paired: bool = True
    """Whether each file holds a pair of frames; otherwise one image."""
    dataset_type: DatasetType = "sav"
    """What `dataset_type` is in a batch."""
    image1: str = "image1"
    """Member with the earlier frame of a pair."""
    image2: str = "image2"
    """Member with the later frame."""
    mask1: str = "mask1"
    """Member with the masks of the earlier frame."""
    mask2: str = "mask2"
    """Member with the masks of the later frame."""
    image: str = "image"
    """Member with the image, where files are not paired."""
    mask: str = "mask"
    """Member with its masks."""
    expressions: str = "expressions"
    """Member with phrases; a file need not have it."""


@dataclass(frozen=True, slots=True)
class NpzScene:
    """One file."""

    key: str
    root: RawPath
    path: str
    options: Options

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the one image, or two frames at times 0 and 1 and a pair for each object."""
        names = [(self.options.image, self.options.mask)]
        if self.options.paired:
            names = [
                (self.options.image1, self.options.mask1),
                (self.options.image2, self.options.mask2),
            ]
        try:
            arrays, expressions = self._read_arrays(names)
        except RecordError as err:
            yield Reject.from_error(err, self.key, self.path)
            return
        for time, (image, masks) in enumerate(arrays):
            of_frame = tuple(
                Mask(str(number), Rle.of_array(mask), expressions=phrases)
                for number, (mask, phrases) in enumerate(zip(masks, expressions, strict=True))
            )
            key = f"{self.key}/{time + 1}" if self.options.paired else self.key
            yield Frame(key, self.path, image, of_frame, time)
        if self.options.paired:
            for number in range(len(expressions)):
                yield Pair(str(number), 0, 1, (f"{self.key}/1", f"{self.key}/2"))

    def _read_arrays(
        self, names: list[tuple[str, str]]
    ) -> tuple[list[tuple[NDArray[np.uint8], NDArray[np.bool_]]], list[tuple[str, ...]]]:
        """Return image and masks of each frame, and the phrases of each object."""
        with open_arrays(resolve_inside(self.root, self.path)) as file:
            arrays = []
            for image_name, mask_name in names:
                image = check_image(read_array(file, image_name), image_name)
                masks = check_masks(read_array(file, mask_name), mask_name, image.shape[:2])
                arrays.append((image, masks))
            counts = [len(masks) for _, masks in arrays]
            if len(set(counts)) > 1:
                raise RecordError(
                    f"{names[0][1]} has {counts[0]} objects and {names[1][1]} has {counts[1]}; "
                    "expected the same objects in both"
                )
            name = self.options.expressions
            if not has_array(file, name):
                return arrays, [()] * counts[0]
            return arrays, split_expressions(read_array(file, name), name, counts[0])


class NpzSource(IndexedSource[Options, str]):
    """A folder of npz files: one scene for each, in the order of their relative paths."""

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self.dataset_type = options.dataset_type
        self.paired = options.paired
        unread = LeftOut(_UNREAD)
        self._sizes, self.rejects = list_tree(root, (".npz",), "npz", unread)
        self.skips = unread.skips
        self._entries = list(self._sizes)
        if not self._entries and not self.rejects:
            raise SourceError(f"no .npz file below {root}{describe_skips(self.skips)}; check --root")

    def _scene(self, entry: str) -> NpzScene:
        return NpzScene(f"npz/{entry.removesuffix('.npz')}", self._root, entry, self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the files' names and sizes."""
        return {"files": listing_digest(f"{path} {size}" for path, size in self._sizes.items())}


def check_image(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return the array, which must be uint8 [H, W, 3]."""
    found = f"{name} is {array.dtype} {list(array.shape)}"
    expected = "expected the original pixels, uint8 [H, W, 3]"
    if array.dtype != np.uint8:
        raise DecodeError(f"{found}{_describe_values(array)}; {expected}")
    if array.ndim != 3 or array.shape[2] != 3:
        guess = ""
        if array.ndim == 3 and array.shape[0] == 3:
            guess = ": channels first"
        elif array.ndim == 3 and array.shape[2] == 4:
            guess = ": RGBA"
        elif array.ndim == 2:
            guess = ": grey"
        raise DecodeError(f"{found}{guess}; {expected}")
    height, width = array.shape[:2]
    if not 1 <= height * width <= MAX_IMAGE_PIXELS:
        raise DecodeError(f"{found}; expected between 1 and {MAX_IMAGE_PIXELS} pixels")
    return np.ascontiguousarray(array, np.uint8)


def check_masks(array: NDArray[Any], name: str, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the masks, bool [K, H, W]; they must have the `size` of their image and two values at most."""
    found = f"{name} is {array.dtype} {list(array.shape)}"
    height, width = size
    masks = array[None] if array.ndim == 2 else array
    if masks.ndim != 3 or masks.shape[1:] != (height, width):
        guess = ""
        if masks.ndim == 3 and masks.shape[:2] == (height, width):
            guess = ": objects last"
        elif masks.ndim == 3 and masks.shape[1:] == (width, height):
            guess = ": turned, width before height"
        raise SegmentationError(
            f"{found}{guess}; expected [{height}, {width}], as its image, or [K, {height}, {width}]"
        )
    if len(masks) == 0:
        raise SegmentationError(f"{found}: no object")
    if len(masks) > MAX_OBJECTS:
        raise SegmentationError(f"{found}: {len(masks)} objects, over the limit of {MAX_OBJECTS}")
    if masks.dtype == np.bool_:
        return np.ascontiguousarray(masks)
    if masks.dtype.kind not in "iuf":
        raise SegmentationError(f"{found}; expected bool, integers or floats")
    covered = masks != 0
    value = masks.max()
    if value not in (0, 1, 255) or not np.array_equal(masks == value, covered | (value == 0)):
        raise SegmentationError(
            f"{found} with values {_describe_range(masks)}; expected only 0 and 1, or only 0 and 255: "
            "threshold soft masks, and split label maps into [K, H, W]"
        )
    return np.ascontiguousarray(covered)


def split_expressions(array: NDArray[Any], name: str, num_objects: int) -> list[tuple[str, ...]]:
    """Return the phrases of each object."""
    if array.dtype.kind != "U":
        raise SegmentationError(f"{name} is {array.dtype}; expected unicode strings")
    rows = array.reshape(1, -1) if num_objects == 1 else array
    if rows.ndim not in (1, 2) or len(rows) != num_objects:
        raise SegmentationError(
            f"{name} has shape {list(array.shape)}; expected [{num_objects}] or [{num_objects}, N], "
            f"a row for each of {num_objects} objects"
        )
    if rows.size > MAX_PHRASES:
        raise SegmentationError(f"{name} holds {rows.size} phrases, over the limit of {MAX_PHRASES}")
    # NumPy makes a string of whatever number stands there; Python can do nothing with one that is no code point.
    numbers = (
        np.ascontiguousarray(rows).reshape(-1).view(np.dtype(np.uint32).newbyteorder(rows.dtype.byteorder))
    )
    if numbers.size and (largest := int(numbers.max())) > _LAST_CODE_POINT:
        raise SegmentationError(
            f"{name} holds the number {largest:#x} for a character, and Unicode ends at {_LAST_CODE_POINT:#x}: it is damaged, "
            "or of another type; write it with np.array([...], dtype=str)"
        )
    phrases = rows.reshape(num_objects, -1).tolist() if rows.size else [[]] * num_objects
    return [tuple(phrase for phrase in row if phrase.strip()) for row in phrases]


def _describe_values(array: NDArray[Any]) -> str:
    """Return what the values of an image that is not uint8 look like."""
    if array.dtype.kind not in "iuf" or array.size == 0:
        return ""
    low, high = float(array.min()), float(array.max())
    text = f" with values {_describe_range(array)}"
    if array.dtype.kind != "f" or not math.isfinite(low + high):
        return text
    if low >= -1 and high <= 1:
        return f"{text}: looks scaled to {'0..1' if low >= 0 else '-1..1'}"
    if -2.2 < low < 0 and high < 2.7:
        return f"{text}: looks ImageNet-normalised"
    return text


def _describe_range(array: NDArray[Any]) -> str:
    return f"{float(array.min()):.4g}..{float(array.max()):.4g}"
