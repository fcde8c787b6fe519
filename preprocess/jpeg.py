"""Plain JPEG files decoded with simplejpeg, where it gives the same bytes as Pillow in half of the time.

Both wrap libjpeg-turbo with its exact transform and smooth chroma upsampling; Pillow then copies the picture through
two more forms. Only what is beyond doubt is decoded here: 8-bit baseline, extended or progressive files of one
component (grey) or three (YCbCr). CMYK, RGB stored as such, 12-bit, arithmetic and lossless files are Pillow's, as is
every file that libjpeg finds anything wrong with: Pillow then decides whether the damage is bearable.

Whether two builds agree is not assumed: `matches_pillow` compares them on small files that this package carries
(written by benchmarks/kernels.py), once per process.
"""

import struct
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg
except ImportError:
    # An optional extra. Without it `decode_jpeg` leaves every file to Pillow, and `matches_pillow` says so.
    simplejpeg = None

_START_OF_IMAGE = 0xD8
_START_OF_SCAN = 0xDA
_ADOBE = 0xEE
_FRAMES = range(0xC0, 0xD0)
"""Start of frame: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, then rarer ones (ITU-T T.81, table B.1)."""
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
"""Huffman tables, a reserved marker and arithmetic conditioning stand between the frame markers."""
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)
_YCBCR = 1
"""Adobe's transform flag of three components; 0 is RGB."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a JPEG file says before its first scan."""

    frame: int
    """The marker of its only frame."""
    bits: int
    height: int
    width: int
    components: bytes
    """Identifiers, one byte for each component."""
    transform: int | None
    """Adobe's colour transform, None without that segment."""

    @property
    def is_plain(self) -> bool:
        """Whether this is grey or YCbCr without any doubt."""
        if self.frame not in _PLAIN_FRAMES or self.bits != 8 or not self.height or not self.width:
            return False
        if len(self.components) == 1:
            return True
        # Without Adobe's or JFIF's word on it, libjpeg takes components named R, G, B for RGB.
        return len(self.components) == 3 and self.transform in (None, _YCBCR) and self.components != b"RGB"


def decode_jpeg(encoded: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of a plain, undamaged JPEG file as Pillow's `convert("RGB")` gives them.

    EXIF turns are not applied. Size limits are the caller's, who has read the header before.

    Args:
        encoded: the file's bytes.

    Returns:
        uint8 [H, W, 3], RGB; None where Pillow has to decide: another kind of file, any damage, or no simplejpeg.
    """
    if simplejpeg is None:
        return None
    header = _read_header(encoded)
    if header is None or not header.is_plain:
        return None
    try:
        # Strict: libjpeg's warnings (missing end, extraneous bytes, corrupt codes) are errors too.
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            encoded, colorspace="RGB", fastdct=False, fastupsample=False, strict=True
        )
    except (ValueError, MemoryError):
        return None
    return decoded if decoded.shape == (header.height, header.width, 3) else None


@cache
def matches_pillow() -> bool:
    """Whether simplejpeg is there and decodes every self-check file to Pillow's bytes, seen once per process."""
    folder = resources.files("preprocess") / "selfcheck"
    encoded = [file.read_bytes() for file in folder.iterdir() if file.name.endswith(".jpg")]
    return bool(encoded) and all(_agrees_with_pillow(file) for file in encoded)


def _agrees_with_pillow(encoded: bytes) -> bool:
    decoded = decode_jpeg(encoded)
    with Image.open(BytesIO(encoded)) as picture:
        return decoded is not None and np.array_equal(decoded, np.asarray(picture.convert("RGB")))


def _read_header(encoded: bytes) -> _Header | None:
    """Walk the segments up to the first scan; None if anything about them is out of the ordinary."""
    frame: tuple[int, bytes] | None = None
    transform = None
    if encoded[:2] != bytes((0xFF, _START_OF_IMAGE)):
        return None
    at = 2
    while at + 4 <= len(encoded):
        prefix, marker, length = struct.unpack_from(">BBH", encoded, at)
        segment = encoded[at + 4 : at + 2 + length]
        if prefix != 0xFF or length < 2 or len(segment) != length - 2:
            return None
        if marker == _START_OF_SCAN:
            return None if frame is None else _parse_frame(*frame, transform)
        if marker in _FRAMES and marker not in _NO_FRAMES:
            if frame is not None:
                return None
            frame = marker, segment
        elif marker == _ADOBE and segment[:5] == b"Adobe" and len(segment) >= 12:
            transform = segment[11]
        at += 2 + length
    return None


def _parse_frame(marker: int, segment: bytes, transform: int | None) -> _Header | None:
    """Return what a frame segment says: precision, height, width, and three bytes for each component."""
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        return None
    bits, height, width, _ = struct.unpack_from(">BHHB", segment)
    return _Header(marker, bits, height, width, segment[6::3], transform)
