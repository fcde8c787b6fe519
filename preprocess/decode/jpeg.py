"""JPEG files decoded with simplejpeg, which says what libjpeg has to say about them; Pillow keeps that to itself.

libjpeg goes on where a file is damaged: it fills with grey, or with what the bits after a hole happen to mean, and
warns. simplejpeg in its strict mode makes an error of the first warning, so every JPEG file is decoded by it once,
whoever's pixels are used in the end.

Its pixels are used for plain files: both wrap libjpeg-turbo with its exact transform and smooth chroma upsampling, and
Pillow takes twice the time to copy the picture through two more forms. Plain are 8-bit baseline, extended or
progressive files of one component (grey) or three (YCbCr). Of CMYK, RGB stored as such and arithmetic files the pixels
are Pillow's, once simplejpeg had nothing to say against them.

Whether two builds agree is not assumed: `matches_pillow` compares them on small files that this package carries
(written by tests/fuzz/fuzz_kernels.py), once per process.

One kind of damage is looked for here, since libjpeg does not always see it: a run of zeros in the coded pixels, as an
interrupted download or a bad disk leaves. What else libjpeg can't notice is not found, but for a 0 in a quantisation table
(preprocess/decode/images.py): a JPEG file has no checksums, and a changed bit may well give another valid picture.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from ..errors import DecodeError, RecordError

_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_HUFFMAN = 0xC4
_DETAIL_TABLE = 0x10
"""Class of the Huffman tables for all frequencies of a block but its mean."""
_ADOBE = 0xEE
_COMMENT = 0xFE
_APPLICATION = range(0xE0, 0xF0)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start of frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, then rarer ones (ITU-T T.81, table B.1).

Huffman tables, a reserved marker and arithmetic conditioning stand between them.
"""
_PROGRESSIVE = 0xC2
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)
_YCBCR = 1
"""Adobe's transform flag of three components; 0 is RGB."""

_UNSUPPORTED = (
    "subsampling", "not supported", "Unsupported JPEG", "Unsupported color", "Sorry", "not implemented",
)  # fmt: skip
"""Words by which simplejpeg says that it does not decode files of this kind, damaged or not."""
_JUNK = "extraneous bytes before marker"
_HOLE = bytes(32)
"""Zeros in a row that are not taken for coded pixels without a second look."""
_MARKER = re.compile(rb"\xff+[^\x00\x01\xff\xd0-\xd7]")
"""A marker that something belongs to. In coded pixels a zero follows each 0xFF, and there are restarts."""


class Jpeg(NamedTuple):
    """A decoded file that libjpeg had nothing to say against."""

    pixels: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB."""
    is_plain: bool
    """Whether these are the pixels that Pillow's `convert("RGB")` gives, too."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A marker and what belongs to it; coded pixels follow a scan's."""

    marker: int
    start: int
    """Where its marker begins; what lies between the segment before and here is junk, or filling."""
    content: bytes
    stop: int
    """Where it ends."""


def decode_jpeg(encoded: bytes) -> Jpeg:
    """Decode a JPEG file, and take no warning for an answer.

    EXIF turns are not applied. Size limits are the caller's, who has read the header before.

    Args:
        encoded: the file's bytes; what follows the end marker does not matter.

    Raises:
        RecordError: libjpeg warns about the file or can't decode it, in its own words; or it is of a kind that no
            decoder takes which could be asked for warnings.
    """
    segments = []
    for segment in _segments(encoded):
        segments.append(segment)
        if segment.marker == _START_OF_SCAN:
            break
    has_junk = False
    try:
        pixels = _decode_strictly(encoded)
    except RecordError as err:
        # libjpeg tells its first warning only, so the file is asked about again without that which does no harm.
        cleaned = _without_harmless_junk(encoded, segments) if _JUNK in err.reason else encoded
        has_junk = cleaned != encoded
        if not has_junk:
            raise
        pixels = _decode_strictly(cleaned)
    if encoded.find(_HOLE, segments[-1].stop if segments else 0) >= 0:
        _check_holes(encoded)
    return Jpeg(pixels, is_plain=_is_plain(segments, pixels.shape) and not has_junk)


@cache
def matches_pillow() -> bool:
    """Whether simplejpeg decodes every self-check file to Pillow's bytes, seen once per process."""
    folder = resources.files(__package__) / "selfcheck"
    encoded = [file.read_bytes() for file in folder.iterdir() if file.name.endswith(".jpg")]
    return bool(encoded) and all(_agrees_with_pillow(file) for file in encoded)


def _agrees_with_pillow(encoded: bytes) -> bool:
    pixels, is_plain = decode_jpeg(encoded)
    with Image.open(BytesIO(encoded)) as picture:
        return is_plain and np.array_equal(pixels, np.asarray(picture.convert("RGB")))


def _decode_strictly(encoded: bytes) -> NDArray[np.uint8]:
    """Return the pixels, uint8 [H, W, 3]."""
    try:
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            encoded, colorspace="RGB", fastdct=False, fastupsample=False, strict=True
        )
    except ValueError as err:
        if any(word in str(err) for word in _UNSUPPORTED):
            raise DecodeError(
                f"a JPEG file of a kind whose damage can't be seen ({err}); expected a plain JPEG or a PNG"
            ) from err
        raise _damaged(str(err)) from err
    return decoded


def _damaged(words: str) -> RecordError:
    return DecodeError(f"damaged JPEG file: {words}")


def _segments(encoded: bytes) -> Iterator[_Segment]:
    """Yield the segments, the end marker's too, as libjpeg finds them: bytes that are no marker are passed over."""
    at = 2
    while found := _MARKER.search(encoded, at):
        start, place = found.start(), found.end()
        marker = encoded[place - 1]
        length = 0 if marker == _END_OF_IMAGE else int.from_bytes(encoded[place : place + 2], "big")
        stop = place + length
        if stop > len(encoded) or length == 1:
            return
        yield _Segment(marker, start, encoded[place + 2 : stop], stop)
        if length == 0:
            return
        at = stop


def _check_holes(encoded: bytes) -> None:
    """Raise `RecordError` where a run of zeros lies in coded pixels and can't be pixels.

    libjpeg reads zeros as codes, and often enough finds its way back behind them.
    """
    symbols: dict[int, int] = {}
    is_progressive = False
    for segment, following in pairwise(_segments(encoded)):
        if segment.marker == _HUFFMAN:
            symbols.update(_symbols_of_zeros(segment.content))
        is_progressive |= segment.marker == _PROGRESSIVE
        if segment.marker == _START_OF_SCAN and _zeros_are_detail(segment.content, is_progressive, symbols):
            hole = encoded.find(_HOLE, segment.stop, following.start)
            if hole >= 0:
                raise _damaged(f"from byte {hole} on it holds zeros where pixels are expected")


def _symbols_of_zeros(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield class and number of each Huffman table in a segment, and which symbol has the code of zeros alone."""
    at = 0
    while at + 17 < len(content):
        # Codes are counted up from zero, so the first symbol has it.
        yield content[at], content[at + 17]
        at += 17 + sum(content[at + 1 : at + 17])


def _zeros_are_detail(scan: bytes, is_progressive: bool, symbols: Mapping[int, int]) -> bool:
    """Whether zeros in this scan would be one and the same number for each frequency of block after block.

    Where the code of zeros says that a block has no detail, they may be a flat area. A progressive file has scans of
    means alone, in which zeros may be a flat area, too.
    """
    num_components, first_frequency = scan[0], scan[-3]
    if is_progressive and first_frequency == 0:
        return False
    tables = [_DETAIL_TABLE | scan[2 + 2 * number] & 15 for number in range(num_components)]
    # The lower half of a symbol is the number of bits of the number that follows.
    return any(symbols.get(table, 0) & 15 for table in tables)


def _without_harmless_junk(encoded: bytes, segments: list[_Segment]) -> bytes:
    """Return the file without the junk that lies after comments and application data, where it can't matter.

    After a table it may be the table's own end, pushed out by a byte too many: that junk stays, for libjpeg to tell.
    """
    pieces, at, is_harmless = [encoded[:2]], 2, True
    for segment in segments:
        pieces.append(encoded[segment.start if is_harmless else at : segment.stop])
        at = segment.stop
        is_harmless = segment.marker == _COMMENT or (
            segment.marker in _APPLICATION and segment.marker != _ADOBE
        )
    return b"".join([*pieces, encoded[at:]])


def _is_plain(segments: list[_Segment], shape: tuple[int, ...]) -> bool:
    """Whether a file with pixels of this shape is grey or YCbCr without any doubt, by its one frame and Adobe's word."""
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1 or frames[0].marker not in _PLAIN_FRAMES:
        return False
    # Precision, height, width, and three bytes for each component, the first of which identifies it.
    content = frames[0].content
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        return False
    bits, height, width, num_components = struct.unpack_from(">BHHB", content)
    if bits != 8 or (height, width, 3) != shape:
        return False
    adobe = [
        segment.content
        for segment in segments
        if segment.marker == _ADOBE and segment.content[:5] == b"Adobe" and len(segment.content) >= 12
    ]
    # Without Adobe's or JFIF's word on it, libjpeg takes components named R, G, B for RGB.
    is_ycbcr = num_components == 3 and content[6::3] != b"RGB" and (not adobe or adobe[-1][11] == _YCBCR)
    return num_components == 1 or is_ycbcr
