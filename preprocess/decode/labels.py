"""Label maps: picture files in which each object is a value, 0 is background and one value means "ignored".

Rules, each with its reason:

- A palette's numbers count, not its colours. But where number 0 is coloured and another one in use is black, as
  programs that build palettes by how often a colour occurs leave it, it is not known which of them is background.
- Grey of 2 and 4 bits is spread over 0..255 by decoders: it is taken back to the numbers that the file holds.
- Grey may be stored as RGB of equal channels. Other colours have lost the numbers, and are refused.
- Soft edges would give an object for each shade. They show in that most of a file's values are nowhere thicker than an
  edge.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ..errors import SegmentationError
from .images import check_palette, covered_by, decode_exact
from .segmentation import Rle

IGNORED = 255
"""The value of pixels that are part of no object and not background either, unless a config says otherwise."""

MAX_EDGE_VALUES = 4
"""So many values that are edges only may be objects of a few pixels; of more, half tell soft edges."""

_GREY_STEPS = {2: 85, 4: 17}
"""How far apart a decoder puts neighbouring values of a PNG of so many bits."""


def decode_labels(encoded: bytes, ignored: int = IGNORED) -> NDArray[np.uint16]:
    """Decode a label map, uint16 [H, W]; `ignored` is the value that is no object's.

    Raises:
        RecordError: the file is damaged, lossy, coloured, transparent in places, or it is not known what its values mean.
    """
    return _labels_of(*decode_exact(encoded), encoded, ignored)


def decode_object(encoded: bytes, *, any_value: bool) -> tuple[NDArray[np.bool_], int]:
    """Decode a mask file of one object, which has 0 and one other value; with `any_value`, a palette may have several.

    Returns:
        What is covered, bool [H, W], and the value that this has; 0 where it has none, or several.

    Raises:
        RecordError: as in `decode_labels` of a file with a palette, as in `decode_bitmap` of any other.
    """
    picture, array = decode_exact(encoded)
    if picture.mode == "P":
        labels = _labels_of(picture, array, encoded, IGNORED)
        if any_value:
            return labels != 0, 0
    covered = covered_by(picture, array)
    value = _numbers_of(picture, array, encoded).max() if array.ndim == 2 else 0
    return covered, int(value)


def split_labels(labels: NDArray[np.uint16]) -> dict[int, Rle]:
    """Return where each value but 0 is, in the order of the values; run lengths, since there may be thousands."""
    height, width = labels.shape
    flat = labels.ravel(order="F")
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    values, ends = flat[starts], np.concatenate((starts[1:], [flat.size]))
    order = np.argsort(values, kind="stable")
    return {
        int(values[run[0]]): Rle(height, width, _runs(starts[run], ends[run], flat.size))
        for run in np.split(order, np.flatnonzero(np.diff(values[order])) + 1)
        if values[run[0]]
    }


def _runs(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the run lengths, background first, of what is covered from each of `starts` up to each of `ends`."""
    bounds = np.stack((starts, ends), axis=1).ravel()
    if bounds[-1] < size:
        bounds = np.append(bounds, size)
    return np.diff(bounds, prepend=0)


def _labels_of(
    picture: ImageFile.ImageFile, array: NDArray[np.generic], encoded: bytes, ignored: int
) -> NDArray[np.uint16]:
    alpha = array[..., -1] if picture.mode in ("LA", "PA", "RGBA") else None
    if alpha is not None:
        array = array[..., :-1]
    if array.ndim == 3 and (array != array[..., :1]).any():
        colours = len(np.unique(array.reshape(-1, array.shape[2]), axis=0))
        raise SegmentationError(
            f"the mask is a picture of {colours} colours (mode {picture.mode}), whose numbers are lost; expected a number "
            "for each object: save it with its palette, or as grey"
        )
    values: NDArray[Any] = array[..., 0] if array.ndim == 3 else array
    is_wide = values.dtype.itemsize > 2 and not ((values >= 0) & (values < 1 << 16)).all()
    if values.dtype.kind == "f" or is_wide:
        raise SegmentationError(f"the mask has mode {picture.mode!r}, expected numbers of 0 to 65535")
    labels = _numbers_of(picture, values, encoded)
    if alpha is not None and len(np.unique(alpha)) > 1 and ((alpha == 0) & (labels != 0)).any():
        raise SegmentationError("the mask has values where its alpha channel is 0: save it without alpha")
    _check_values(labels, picture, ignored)
    return labels


def _numbers_of(picture: ImageFile.ImageFile, values: NDArray[Any], encoded: bytes) -> NDArray[np.uint16]:
    """Return the numbers that a file holds, from the values that its decoder gives, uint16 [H, W]."""
    # Not astype alone: the bytes of Pillow's 1-bit pictures are 0 and 255.
    values = values != 0 if values.dtype == np.bool_ else values
    # The 25th byte of a PNG file is its depth in bits.
    is_grey_png = picture.format == "PNG" and picture.mode == "L"
    step = _GREY_STEPS.get(encoded[24], 1) if is_grey_png else 1
    numbers: NDArray[np.uint16] = values.astype(np.uint16) // np.uint16(step)
    return numbers


def _check_values(labels: NDArray[np.uint16], picture: Image.Image, ignored: int) -> None:
    """Raise `RecordError` where it is not known what the values of a label map mean."""
    used = np.flatnonzero(np.bincount(labels.ravel()))
    if picture.mode in ("P", "PA"):
        check_palette(picture, used.tolist())
    if ignored == IGNORED and IGNORED in used and used[-1] > IGNORED:
        raise SegmentationError(
            f"the mask has values of 16 bits up to {used[-1]}, and {IGNORED}, which is an object or means ignored: "
            "set source.ignored=65535 if it is an object"
        )
    edges = _edge_values(labels, used)
    if len(edges) > MAX_EDGE_VALUES and 2 * len(edges) > len(used):
        raise SegmentationError(
            f"the mask has {len(used)} values, of which {len(edges)} are nowhere thicker than an edge: it is "
            "anti-aliased or blurred; save it anew from its source, or threshold it"
        )


def _edge_values(labels: NDArray[np.uint16], used: NDArray[np.intp]) -> set[int]:
    """Return the values no pixel of which has only its own value around it; none where few are used."""
    if len(used) <= MAX_EDGE_VALUES:
        return set()
    inner = labels[1:-1, 1:-1]
    neighbours = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    is_inner = np.logical_and.reduce([inner == neighbour for neighbour in neighbours])
    return set(used.tolist()) - set(np.flatnonzero(np.bincount(inner[is_inner])).tolist())
