"""Damages raw files in every way a stranger's file may be damaged: by accident, by bad tools, and on purpose.

Bytes of any file, then the structure of each format, with whatever checksums it has made right again, so that the damage
gets past the first check; then what stands where the file is expected.
"""

import io
import json
import os
import pickle
import re
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

Change = Callable[[bytes, Random], bytes]
"""Takes a file's bytes; returns others."""

BIG = 10**400
NUMBERS: tuple[Any, ...] = (
    0, -1, -0.0, 0.5, 1e-320, 1e308, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), BIG, -BIG,
    float("nan"), float("inf"), float("-inf"), True, 65500, 100_000,
)  # fmt: skip
NO_TEXTS = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"a\x80")
"""What is no UTF-8: no first byte, too long a form, half of a surrogate pair, beyond the last code point, cut short."""
NO_CODE_POINTS = (0xD800, 0xDFFF, 0x110000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What NumPy makes characters of, and nobody else."""
TEXTS = (
    "", ".", "..", "../../etc/passwd", "/etc/passwd", "/dev/zero", "a/../../b", "a\0b", "x" * 5000, "a/" * 3000, "\ud800",
    "\udcff", "\u202e", "con:", "\\\\host\\share", "00000", "train", "\n", "-1", "1e999", "file:///etc/passwd", "=1+1",
)  # fmt: skip


def deep(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def rles() -> tuple[Any, ...]:
    """Return segmentations that no image has."""
    return (
        {"size": [2**31, 2**31], "counts": [2**62]},
        {"size": [60000, 60000], "counts": [60000 * 60000]},
        {"size": [BIG, 1], "counts": [BIG]},
        {"size": [-4, -4], "counts": [16]},
        {"size": [0, 0], "counts": []},
        {"size": [48.0, 64.0], "counts": [1.0, 48 * 64 - 1]},
        {"size": [48, 64], "counts": [48 * 64 + 5, -5]},
        {"size": [48, 64], "counts": "o" * 4000},
        {"size": [48, 64], "counts": "0" * 200_000},
        {"size": [48, 64], "counts": "\ud800"},
        {"size": [48, 64], "counts": [0] * 100_000 + [48 * 64]},
        {"size": [48, 64], "counts": {"0": 1}},
        {"size": [64, 48], "counts": [10, 48 * 64 - 10]},
        [[0, 0, 999_999, 999_999, -999_999, 999_999]],
        [[1, 1, 10, 1, 10]],
        [[1, 1, 5, 5]],
        [[float("nan")] * 8],
        [[1e300, 0, 0, 1e300, 5, 5]],
        [[3, 3, 3, 3, 3, 3]],
        [[0, 0, 10, 0, 10, 10]] * 3000,
        [[]],
        [None],
        "i\\Y4<",
    )


# Any file.


def flip_bits(content: bytes, chance: Random) -> bytes:
    """Flip 1 to 8 bits."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8)) if damaged else 0):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, chance: Random) -> bytes:
    """Cut the end off."""
    cut = chance.choice((chance.randrange(len(content) + 1), len(content) - chance.randint(1, 40), 0))
    return content[: max(cut, 0)]


def zero(content: bytes, chance: Random) -> bytes:
    """Fill a stretch with zeros, as a broken download does."""
    first, stop = _span(content, chance)
    return content[:first] + bytes(stop - first) + content[stop:]


def duplicate(content: bytes, chance: Random) -> bytes:
    """Repeat a stretch, a few or many times."""
    first, stop = _span(content, chance)
    return content[:stop] + content[first:stop] * chance.choice((1, 2, 50)) + content[stop:]


def remove(content: bytes, chance: Random) -> bytes:
    """Leave a stretch out."""
    first, stop = _span(content, chance)
    return content[:first] + content[stop:]


def splice(content: bytes, chance: Random) -> bytes:
    """Put a stretch of the file, or noise, somewhere else in it."""
    first, stop = _span(content, chance)
    piece = content[first:stop] if chance.random() < 0.5 else chance.randbytes(chance.randint(1, 64))
    place = chance.randrange(len(content) + 1)
    over = len(piece) if chance.random() < 0.5 else 0
    return content[:place] + piece + content[place + over :]


def claim(content: bytes, chance: Random) -> bytes:
    """Write an extreme number over some bytes, in either byte order: a count, a length, an offset."""
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice((0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)) % (
        1 << 8 * size
    )
    place = chance.randrange(len(content) + 1)
    # Headers are where sizes are.
    place = place if chance.random() < 0.5 else place % 200
    return content[:place] + value.to_bytes(size, chance.choice(("little", "big"))) + content[place + size :]


def junk(content: bytes, chance: Random) -> bytes:
    """Put something foreign in front, behind, or in place of all."""
    pieces = (
        b"<html><body>404</body></html>",
        b"\xef\xbb\xbf",
        b"\0" * 5000,
        b"\xff\xfe",
        b"\x1f\x8b\x08\0",
        b"\r\n",
    )
    piece = chance.choice(pieces)
    return chance.choice((piece + content, content + piece, piece))


BYTES: dict[str, Change] = {
    change.__name__: change for change in (flip_bits, truncate, zero, duplicate, remove, splice, claim, junk)
}


def _span(content: bytes, chance: Random) -> tuple[int, int]:
    length = min(chance.choice((1, 4, 40, 400, 4000)), len(content))
    first = chance.randrange(len(content) - length + 1)
    return first, first + length


# JSON.


def change_json(content: bytes, chance: Random) -> bytes:
    """Replace, remove or repeat a value anywhere in a document."""
    tree = json.loads(content)
    holder, key = _place(tree, chance)
    _change_place(holder, key, chance)
    if chance.random() < 0.2:
        _change_place(*_place(tree, chance), chance)
    return json.dumps(tree, ensure_ascii=chance.random() < 0.8).encode("utf-8", "surrogatepass")


def write_json_oddly(content: bytes, chance: Random) -> bytes:
    """Write what a JSON writer would not: huge numbers, broken text, deep nesting, a key twice."""
    odd = chance.choice(
        (
            b"1" * 5000, b"-1e99999", b"0.1e-99999", b"NaN", b"Infinity", b"01", b"0x1F", b"1_000", b"'a'", b"[1,]",
            b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\\u0000"', b'"\\x"', b'"\xc0\xaf"', b'"\xed\xa0\x80"',
            b"[" * 100_000, b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"0" + b"}" * 3000, b"", b"/* */ 1", b'"a\nb"',
        )
    )  # fmt: skip
    values = list(re.finditer(rb'(?<=: )(-?[0-9.]+|"[^"]*"|null|true|false)', content))
    value = chance.choice(values)
    if chance.random() < 0.2:
        # A key for the second time, before the first.
        keys = list(re.finditer(rb'[{]"([a-z_]+)": ', content))
        key = chance.choice(keys)
        return content[: key.start() + 1] + b'"' + key[1] + b'": ' + odd + b", " + content[key.start() + 1 :]
    return content[: value.start()] + odd + content[value.end() :]


def encode_otherwise(content: bytes, chance: Random) -> bytes:
    """Write the text in another encoding."""
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")))


def _place(tree: Any, chance: Random) -> tuple[Any, Any]:
    """Return a container of the tree and a key of it; shallow and deep ones are equally likely."""
    holder, key = [tree], 0
    for _ in range(chance.randint(1, 7)):
        value = holder[key]
        if not (isinstance(value, dict | list) and value):
            break
        holder, key = (
            value,
            chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value)),
        )
    return holder, key


def _change_place(holder: Any, key: Any, chance: Random) -> None:
    how = chance.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.insert(chance.randrange(len(holder) + 1), holder[key])
    elif how == 2 and isinstance(holder, list):
        holder.append(_value(chance))
    elif how == 3 and isinstance(holder, dict):
        holder[chance.choice(list(holder))] = holder[key]
    elif how == 4 and isinstance(holder, dict) and "segmentation" in holder:
        holder["segmentation"] = chance.choice(rles())
    elif how == 5 and isinstance(holder, dict):
        holder[chance.choice(TEXTS)] = holder.pop(key)
    else:
        holder[key] = _value(chance)


def _value(chance: Random) -> Any:
    fixed = (None, [], {}, [[]], {"a": 1}, [0] * 1000, deep(400), True)
    return chance.choice(
        (chance.choice(NUMBERS), chance.choice(TEXTS), chance.choice(fixed), chance.choice(rles()))
    )


# Pickles.


def change_pickle(content: bytes, chance: Random) -> bytes:
    """Replace, remove or repeat a value anywhere in a pickled list, written in any protocol."""
    tree = pickle.loads(content)
    for _ in range(chance.randint(1, 3)):
        holder, key = _place(tree, chance)
        _change_place(holder, key, chance)
    if chance.random() < 0.3:
        holder, key = _place(tree, chance)
        foreign: tuple[Any, ...] = (
            b"bytes",
            (1, (2,)),
            {1, 2},
            1j,
            Random,
            frozenset(),
            bytearray(b"a"),
            tree,
            range(3),
        )
        if not isinstance(holder, list) or key < len(holder):
            holder[key] = chance.choice(foreign)
    return pickle.dumps(tree, chance.randrange(6))


def write_pickle_oddly(content: bytes, chance: Random) -> bytes:
    """Put instructions in that no refs file needs."""
    odd = chance.choice(
        (
            b"cos\nsystem\n(S'false'\ntR.", b"(i__builtin__\nexit\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
            b"r\xff\xff\xff\x7f", b"p99999999999\n", b"j\xff\xff\xff\xff", b"\x8a\xff" + b"\xff" * 255,
            b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"(" * 50_000, b"]" * 5000 + b"a" * 5000,
            b"I" + b"9" * 10_000 + b"\n", b"L" + b"9" * 10_000 + b"L\n", b"F1e999\n", b"V\\ud800\n", b"S'\\xff'\n",
            b"P1\n", b"Q", b"\x82\x01", b"0" * 10, b"2" * 1000, b"t", b"\x95" + b"\xff" * 8, b"\x80\xff", b"e" * 100, b".",
        )
    )  # fmt: skip
    lines = [found.end() for found in re.finditer(rb"\n", content)]
    place = chance.choice((0, chance.randrange(len(content)), chance.choice(lines or [0])))
    over = chance.choice((0, len(odd)))
    return content[:place] + odd + content[place + over :]


def write_pickle_text(content: bytes, chance: Random) -> bytes:
    """Put what is no text, or no number that anybody can use, in the place of a text: of the right length, and well formed."""
    content = pickle.dumps(pickle.loads(content), 3)
    texts = list(re.finditer(rb"X(..\0\0)", content, re.DOTALL))
    found = chance.choice(texts)
    stop = found.end() + int.from_bytes(found[1], "little")
    odd = chance.choice(
        (
            *(b"X" + struct.pack("<I", len(text)) + text for text in NO_TEXTS), b"V\\U00110000\n", b"V\\ud800\n", b"V\\u12\n",
            b"S'\\xff\\xed'\n", b"T\x02\0\0\0\xff\xfe", b"X\x01\0\0\0\0", b"\x8a\xff" + b"\x7f" * 255, b"Fnan\n", b"Finf\n",
            b"I" + b"9" * 4301 + b"\n", b"G\x7f\xf0" + bytes(6), b"X" + struct.pack("<I", 100_000) + b"\xc4\x80" * 50_000,
        )
    )  # fmt: skip
    return content[: found.start()] + odd + content[stop:]


# CSV and lists.


def change_csv(content: bytes, chance: Random) -> bytes:
    """Replace, move, remove or repeat a field or a line."""
    lines = [line.split(b",") for line in content.splitlines()]
    line = chance.choice(lines)
    texts = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    odd = [
        b'"',
        b'""',
        b'"a,b',
        b"\xff\xfe",
        b'"' + b"x" * (1 << 21),
        b"a;b",
        b"\t",
        b" ",
        b"1" * 500,
        b",,,,",
        b"\r",
    ]
    place = chance.randrange(len(line))
    how = chance.randrange(6)
    if how < 3:
        line[place] = chance.choice(texts + odd)
    elif how == 3:
        other = chance.choice(lines)
        line[place], other[-1] = other[-1], line[place]
    elif how == 4:
        del line[place]
    else:
        lines.insert(chance.randrange(len(lines) + 1), list(line))
    end = chance.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\0"))
    return end.join(b",".join(fields) for fields in lines) + chance.choice((b"", end))


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


# npz.


def change_npz(content: bytes, chance: Random) -> bytes:
    """Change an array, its header, or what the zip says about it; checksums are right."""
    members = read_zip(content)
    name = chance.choice(list(members))
    npy = members[name]
    end = npy.index(b"\n") + 1
    how = chance.randrange(7)
    if how == 0:
        shapes = (
            "(0, 0, 3)",
            "(-1, 4, 3)",
            "(99999, 99999, 3)",
            f"({BIG},)",
            "(48, 64)",
            "()",
            "(3, 48, 64)",
            "(64, 48, 3)",
        )
        types = (
            "|O",
            "<U9",
            "<f4",
            ">f8",
            "|V5",
            "<M8[ns]",
            "|b1",
            "[('a', '<i4')]",
            "|S0",
            "<i8",
            "nonsense",
        )
        npy = _npy(chance.choice(types), chance.choice(shapes), chance) + npy[end:]
    elif how == 1:
        npy = chance.choice(list(BYTES.values()))(npy, chance)
    elif how == 2:
        npy = npy[:end] + chance.choice((flip_bits, zero, claim))(npy[end:], chance)
    elif how == 3:
        members[
            chance.choice(("../evil.npy", "/etc/evil.npy", "image1.npy/", "x" * 3000, "expressions.npy"))
        ] = npy
    elif how == 4:
        del members[name]
        return write_zip(members, chance)
    elif how == 5:
        members[chance.choice(list(members))] = npy
    else:
        zipped = write_zip(members, chance)
        # Sizes and checksums stand twice in a zip; both copies may lie, or one.
        marks = [found.start() for found in re.finditer(b"PK\x01\x02|PK\x03\x04|PK\x05\x06", zipped)]
        at = chance.choice(marks) + chance.randrange(4, 46)
        return zipped[:at] + struct.pack("<I", chance.choice((0, 1, 2**31, 2**32 - 1))) + zipped[at + 4 :]
    members[name] = npy
    return write_zip(members, chance)


def write_npz_oddly(content: bytes, chance: Random) -> bytes:
    """Put a well-formed array in that nobody expects: no text, no numbers, too many objects or phrases."""
    members = read_zip(content)
    name = chance.choice(list(members))
    if chance.random() < 0.5:
        name = "expressions.npy"
        array = np.array(["the wide shape", "the other \u0100 one"], chance.choice(("<U20", ">U20")))
        order = ">u4" if array.dtype.byteorder == ">" else "<u4"
        place = chance.choice((0, 5, 19, 39))
        array.view(order)[place:] = chance.choice((*NO_CODE_POINTS, 0, 0x10FFFF))
    else:
        array = chance.choice(
            (
                np.zeros((1 << 24, 1, 1), np.bool_),
                np.zeros(1 << 22, "<U1"),
                np.full((48, 64), np.nan),
                np.full((48, 64), np.inf, np.float16),
                np.full((48, 64, 3), 1e300),
                np.full((48, 64), np.longdouble("1e4000")),
                np.full((2, 48, 64), 2**64 - 1, np.uint64),
                np.zeros((48, 64), "M8[s]"),
                np.ones((48, 64), complex),
                np.zeros((2, 2, 2, 2, 2)),
                np.array("text"),
                np.array([b"\xff", b"a"]),
            )
        )
    file = io.BytesIO()
    np.save(file, array)
    return write_zip(members | {name: file.getvalue()}, chance)


def read_zip(content: bytes) -> dict[str, bytes]:
    """Return the members of a zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def write_zip(members: dict[str, bytes], chance: Random) -> bytes:
    """Return a zip file of the members, in any method of compression."""
    methods = (
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_STORED,
        zipfile.ZIP_BZIP2,
        zipfile.ZIP_LZMA,
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", chance.choice(methods)) as file:
        for name, data in members.items():
            # No time of day: the same seed gives the same bytes.
            file.writestr(zipfile.ZipInfo(name), data, file.compression)
    return written.getvalue()


def _npy(descr: str, shape: str, chance: Random) -> bytes:
    quoted = descr if descr.startswith("[") else repr(descr)
    header = f"{{'descr': {quoted}, 'fortran_order': {chance.choice((True, False))}, 'shape': {shape}, }}\n"
    version = chance.choice((1, 1, 2, 3, 9))
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode()


# tar.


def change_tar(content: bytes, chance: Random) -> bytes:
    """Change a header and make its checksum right: sizes, types, names, extensions."""
    headers = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    at = chance.choice(headers)
    header = bytearray(content[at : at + 512])
    how = chance.randrange(5)
    if how == 0:
        sizes = (
            b"00000000000\0",
            b"77777777777\0",
            b"-0000000001\0",
            b"\x80" + b"\0" * 6 + b"\x7f" + b"\xff" * 4,
            b"\xff" * 12,
        )
        header[124:136] = chance.choice(sizes)
    elif how == 1:
        header[156:157] = chance.choice(
            (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"x", b"g", b"L", b"K", b"S", b"\0", b"Z")
        )
        header[157:257] = b"/etc/passwd".ljust(100, b"\0")
    elif how == 2:
        names = (
            b"../sa_1.jpg",
            b"/etc/sa_1.jpg",
            b"sa_1.jpg",
            b"\xff\xfe.jpg",
            b"sa_" + b"9" * 80 + b".jpg",
            b"",
            b"./" * 40,
        )
        header[0:100] = chance.choice(names)[:100].ljust(100, b"\0")
    elif how == 3:
        records = (
            b"30 path=../../etc/sa_1.json\n", b"20 size=99999999999\n", b"999999999 path=a\n", b"-5 path=a\n", b"6 a=b\n",
            b"12 size=1e9\n", b"9 size=-1\n", b"31 GNU.sparse.realsize=9999999\n", b"99999999999999999999999 a=b\n", b"\xff" * 60,
        )  # fmt: skip
        record = chance.choice(records)
        extension = bytearray(header)
        extension[156:157] = chance.choice((b"x", b"x", b"g", b"L", b"K"))
        extension[124:136] = b"%011o\0" % len(record)
        return content[:at] + _sum_header(extension) + record.ljust(512, b"\0") + content[at:]
    else:
        header = bytearray(flip_bits(bytes(header), chance))
    return content[:at] + _sum_header(header) + content[at + 512 :]


def _sum_header(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    try:
        tarfile.TarInfo.frombuf(bytes(header), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        # It is damaged beyond its checksum, which is just as well.
        return bytes(header)
    return bytes(header)


# mp4.


def change_mp4(content: bytes, chance: Random) -> bytes:
    """Change a box: its size, its name, or a number in it."""
    names = b"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|stbl|stsd|avc1|mp4v|avcC|esds|stts|ctts|stss|stsc|stsz|stco|mdat"
    boxes = [found.start() for found in re.finditer(names, content)]
    at = chance.choice(boxes)
    how = chance.randrange(5)
    if how == 0:
        size = struct.pack(">I", chance.choice((0, 1, 7, 8, 2**31, 2**32 - 1)))
        return content[: at - 4] + size + content[at:]
    if how == 1:
        return (
            content[:at]
            + chance.choice((b"free", b"trak", b"stsz", b"moof", b"\0\0\0\0", b"dref"))
            + content[at + 4 :]
        )
    (size,) = struct.unpack(">I", content[at - 4 : at])
    stop = max(min(at - 4 + size, len(content)), at + 12)
    if how == 2:
        place = chance.randrange(at + 4, stop - 4)
        value = struct.pack(">I", chance.choice((0, 1, 2, 255, 2**24, 2**31 - 1, 2**32 - 1)))
        return content[:place] + value + content[place + 4 :]
    if how == 3:
        return content[: at + 4] + flip_bits(content[at + 4 : stop], chance) + content[stop:]
    return content[: at - 4] + content[stop:]


STRUCTURE: dict[str, tuple[Change, ...]] = {
    "json": (change_json, change_json, change_json, write_json_oddly, encode_otherwise),
    "pickle": (change_pickle, change_pickle, write_pickle_oddly, write_pickle_text),
    "csv": (change_csv, change_csv, encode_otherwise),
    "png": (change_png,),
    "jpeg": (change_jpeg,),
    "npz": (change_npz, write_npz_oddly),
    "tar": (change_tar,),
    "mp4": (change_mp4,),
    "image": (),
}
"""Changes that know a format, by its name; a change that stands there twice is made twice as often."""


# What stands where the file is expected. Each takes the file and a folder outside of the dataset's root.


def put_folder(path: Path, _: Path) -> None:
    path.mkdir()


def put_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def put_socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        # A socket's path may have 107 bytes.
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(here)


def put_nothing(_: Path, __: Path) -> None:
    """Leave the file out."""


def put_link_to_nothing(path: Path, _: Path) -> None:
    path.symlink_to("not-there")


def put_link_to_itself(path: Path, _: Path) -> None:
    path.symlink_to(path.name)


def put_link_to_long_name(path: Path, _: Path) -> None:
    path.symlink_to("x" * 300)


def put_link_to_odd_name(path: Path, outside: Path) -> None:
    # The name that it leads to is no UTF-8.
    path.symlink_to(outside / os.fsdecode(b"\xff\xfe"))


def put_link_to_device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def put_link_out(path: Path, outside: Path) -> None:
    # The very file, but outside of the root.
    path.symlink_to(outside / "original")


def put_link_to_folder_out(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def put_huge(path: Path, _: Path) -> None:
    """Put a file of zeros that takes no room on the disk."""
    path.touch()
    os.truncate(path, 1 << 40)


PLACES: tuple[Callable[[Path, Path], None], ...] = (
    put_folder, put_fifo, put_socket, put_nothing, put_link_to_nothing, put_link_to_itself, put_link_to_long_name, put_link_to_odd_name, put_link_to_device,
    put_link_out, put_link_to_folder_out, put_huge,
)  # fmt: skip

ODD_NAMES = (b"\xff\xfe", b"a\nb", b"\xe2\x80\xae", b"x" * 200, b" ", b"sa_01", b"sa_" + b"9" * 100, b"..a")
"""Names for files that should not be there; the ending of a real one is put behind."""


def add_oddly_named(path: Path, chance: Random) -> None:
    """Put a copy of the file, or a folder, beside it, under a name that nobody gives."""
    suffix = b"_manual.json" if path.name.endswith("_manual.json") else os.fsencode(path.suffix)
    odd = path.with_name(os.fsdecode(chance.choice(ODD_NAMES) + suffix))
    if chance.random() < 0.3:
        odd.mkdir()
    else:
        odd.hardlink_to(path)
