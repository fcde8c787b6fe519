"""PNG files: written, and looked at for what Pillow passes over, since it stops reading once it believes to have all rows.

Pillow leaves the checksums of pixels out, does not look for the end of the file, and where the stream of pixels ends
early gives black rows.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DecodeError, RecordError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""How many numbers a pixel has, by colour type."""
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of the seven passes of an interlaced file (Adam7)."""
_BLOCK_BYTES = 1 << 16
"""What is inflated at a time."""
_MAX_PIXEL_BYTES = 1 << 30
"""Of pixels that are inflated: no picture that is decoded has more."""


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return an image, uint8 [H, W, 3], as a PNG file, which keeps every value."""
    encoded = io.BytesIO()
    # Frames of a video by the thousand: level 6, the default, takes several times as long for a few bytes in a hundred.
    Image.fromarray(image).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


def check_png(encoded: bytes) -> None:
    """Raise `RecordError` unless every chunk agrees with its checksum and the pixels are as many as the header says.

    What follows the end chunk does not matter.
    """
    header = b""
    pixels = io.BytesIO()
    for name, content in _chunks(encoded):
        if name == b"IHDR":
            header = header or content
        elif name == b"IDAT":
            pixels.write(content)
    expected = _count_bytes(header)
    if expected > _MAX_PIXEL_BYTES:
        raise _damaged(
            f"its header asks for {expected:,} bytes of pixels, over the limit of {_MAX_PIXEL_BYTES:,}"
        )
    _check_pixels(pixels.getbuffer(), expected)


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each chunk up to the end chunk."""
    at, name = len(PNG_SIGNATURE), b""
    view = memoryview(encoded)
    while name != b"IEND":
        if at + 12 > len(encoded):
            raise _damaged(f"it ends at byte {len(encoded)}, without an end chunk")
        length, name = struct.unpack_from(">I4s", encoded, at)
        stop = at + 8 + length
        if stop + 4 > len(encoded):
            raise _damaged(f"it ends at byte {len(encoded)}, within the chunk {_shown(name)} at byte {at}")
        if encoded[stop : stop + 4] != struct.pack(">I", zlib.crc32(view[at + 4 : stop])):
            raise _damaged(f"the checksum of the chunk {_shown(name)} at byte {at} does not match it")
        yield name, encoded[at + 8 : stop]
        at = stop + 4


def _count_bytes(header: bytes) -> int:
    """Return how many bytes the pixels of a file take once they are inflated."""
    if len(header) != 13:
        raise _damaged("it has no header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _CHANNELS:
        raise _damaged(f"its colour type is {colour}")
    bits = depth * _CHANNELS[colour]
    total = 0
    for row, column, down, right in _PASSES if interlaced else ((0, 0, 1, 1),):
        rows, columns = -(-(height - row) // down), -(-(width - column) // right)
        if rows > 0 and columns > 0:
            # Each row begins with the number of its filter.
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def _check_pixels(pixels: memoryview, expected: int) -> None:
    """Inflate the pixels, a block at a time, and count them."""
    inflater = zlib.decompressobj()
    found = 0
    try:
        for at in range(0, len(pixels), _BLOCK_BYTES):
            if inflater.eof or found > expected:
                break
            # No more than tells that there is too much: a block may hold a thousand times its size.
            found += len(inflater.decompress(pixels[at : at + _BLOCK_BYTES], expected - found + 1))
    except zlib.error as err:
        raise _damaged(f"its pixels can't be inflated: {err}") from err
    if found > expected:
        raise _damaged(f"its pixels are more than the {expected} bytes that its header asks for")
    if found < expected:
        raise _damaged(f"its pixels are {found} bytes, its header asks for {expected}")
    if not inflater.eof:
        raise _damaged("its stream of pixels has no end")


def _shown(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def _damaged(words: str) -> RecordError:
    return DecodeError(f"damaged PNG file: {words}")
