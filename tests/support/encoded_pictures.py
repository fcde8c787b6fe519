"""Pictures as files, by Pillow's writers and by hand."""

import io
import struct
import zlib

import numpy as np
from miniature.shapes import picture_of
from PIL import Image

PICTURE = picture_of(37, 61, 1)


def save(array: np.ndarray, extension: str = "png", orientation: int = 0, **options: object) -> bytes:
    stream = io.BytesIO()
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    Image.fromarray(array).save(stream, extension, **options)
    return stream.getvalue()


def png(
    height: int, width: int, depth: int, colour: int, rows: list[bytes], *chunks: bytes, filter_type: int = 0
) -> bytes:
    """Write a PNG by hand: what Pillow's own writer can't be asked for."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    pixels = zlib.compress(b"".join(bytes([filter_type]) + row for row in rows))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [chunk(part[:4], part[4:]) for part in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])
