"""Damages the structure of PNG and JPEG, with checksums made right again."""

import struct
import zlib
from functools import cache
from random import Random

from mutate_bytes import claim, duplicate, flip_bits, splice, truncate, zero

# PNG.


def change_png(content: bytes, chance: Random) -> bytes:
    """Change a chunk and make its checksum right."""
    chunks = [list(chunk) for chunk in png_chunks(content)]
    chunk = chance.choice(chunks)
    how = chance.randrange(7)
    if how == 0:
        chunks[0][1] = struct.pack(
            ">IIBBBBB",
            *(chance.choice((0, 1, 48, 64, 4000, 60_000, 2**31 - 1, 2**32 - 1)) for _ in range(2)),
            chance.choice((0, 1, 2, 8, 16, 32)),
            chance.choice((0, 2, 3, 4, 6, 7)),
            *(chance.choice((0, 0, 1, 9)) for _ in range(3)),
        )
    elif how == 1:
        chunks[0][1] = flip_bits(chunks[0][1], chance)
    elif how == 2 and len(chunks) > 2:
        chunks.remove(chunk)
    elif how == 3:
        chunks.insert(chance.randrange(len(chunks) + 1), list(chunk))
    elif how == 4:
        chunk[1] = chance.choice((flip_bits, truncate, zero, splice))(chunk[1], chance)
    elif how == 5:
        odd: tuple[tuple[bytes, bytes], ...] = (
            (b"zTXt", b"a\0\0" + _bomb(1 << 27)),
            (b"iCCP", b"a\0\0" + _bomb(1 << 27)),
            (b"iTXt", b"a\0\1\0\0\0" + _bomb(1 << 27)),
            (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
            (b"eXIf", b"II*\0\xff\xff\xff\x7f"),
            (b"eXIf", b"\xff" * 30),
            (b"tRNS", b"\0" * 300),
            (b"PLTE", b"\1\2\3" * 300),
            (b"PLTE", b"\1\2"),
            (b"acTL", struct.pack(">II", 2, 0)),
            (b"acTL", struct.pack(">II", 2**31, 2**31)),
            (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31, 2**31, 2**31, 2**31, 0, 0, 9, 9)),
            (b"fdAT", b"\0\0\0\1" + b"x" * 50),
            (b"gAMA", b""),
            (b"pHYs", b"\0"),
            (b"cHRM", b"\0" * 3),
            (b"sBIT", b"\xff" * 9),
            (b"AbCd", b"critical and unknown"),
            (b"IDAT", _bomb(1 << 25)),
            (b"IEND", b""),
        )
        chunks.insert(chance.randrange(1, len(chunks)), list(chance.choice(odd)))
    else:
        pixels = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
        pixels = chance.choice((flip_bits, truncate, duplicate, zero, claim))(pixels, chance)
        chunks = [pair for pair in chunks if pair[0] != b"IDAT"]
        chunks.insert(len(chunks) - 1, [b"IDAT", zlib.compress(pixels)])
    return content[:8] + b"".join(png_chunk(name, data) for name, data in chunks)


@cache
def _bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and data of each chunk.

    Raises:
        ValueError: one is cut short, or its checksum is wrong.
    """
    chunks, place = [], 8
    while not chunks or chunks[-1][0] != b"IEND":
        (length,) = struct.unpack(">I", content[place : place + 4].ljust(4, b"\0"))
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        if png_chunk(name, data) != content[place : place + 12 + length]:
            raise ValueError(f"damaged PNG: chunk {name!r} at byte {place}")
        chunks.append((name, data))
        place += 12 + length
    return chunks


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# JPEG.


def change_jpeg(content: bytes, chance: Random) -> bytes:
    """Change a segment: sizes, tables, components, EXIF."""
    starts = [at for at in range(len(content) - 4) if content[at] == 0xFF and 0xC0 <= content[at + 1] < 0xFF]
    starts = [at for at in starts if content[at + 1] not in range(0xD0, 0xDA)] or [2]
    at = chance.choice(starts)
    (length,) = struct.unpack(">H", content[at + 2 : at + 4])
    segment = content[at : at + 2 + length]
    frames = [start for start in starts if content[start + 1] in (0xC0, 0xC1, 0xC2)]
    how = chance.randrange(6)
    if how == 0 and frames:
        sides = (chance.choice((0, 1, 48, 64, 640, 30_000, 65_500, 65_535)) for _ in range(2))
        return content[: frames[0] + 5] + struct.pack(">HH", *sides) + content[frames[0] + 9 :]
    if how == 1 and frames:
        place = frames[0] + chance.choice((4, 9, 10, 11, 12, 14))
        return (
            content[:place]
            + bytes([chance.choice((0, 1, 3, 4, 8, 12, 0x11, 0x44, 0xFF))])
            + content[place + 1 :]
        )
    if how == 2:
        return content[:at] + segment + content[at:]
    if how == 3:
        return content[:at] + content[at + 2 + length :]
    if how == 4:
        tiff = chance.choice(
            (
                b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([chance.randrange(10)]) + b"\0" * 7,
                b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 24,
                b"MM\0*\0\0\0\x08" + b"\0" * 6,
                b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\xff\xff\xff\xff",
                b"",
            )
        )
        body = b"Exif\0\0" + tiff
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]
    return content[:at] + flip_bits(segment, chance) + content[at + len(segment) :]
