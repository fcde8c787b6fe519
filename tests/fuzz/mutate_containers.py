"""Damages the structure of npz, tar and mp4, with checksums made right again."""

import io
import re
import struct
import tarfile
import zipfile
from random import Random

import numpy as np
from mutate_bytes import BYTES, claim, flip_bits, zero
from mutate_text import BIG, NO_CODE_POINTS

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
