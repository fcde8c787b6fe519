"""The members of a plain tar file by offset, so that a dataset can be read from its tars without extracting them.

Only headers are read, one block of 512 bytes each, and the contents are seeked over: ustar, and the GNU and pax
extensions for long names and large sizes. `tarfile` itself isn't used to walk, for two reasons: damage in the middle
of a file looks like its end to it, and it reads an extended header of any claimed size into memory. Nothing is ever
extracted, so the names of members lead nowhere; those that would outside are refused all the same.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import PurePosixPath
from typing import NamedTuple

from ...errors import RecordError
from ...remote.path import RangedFile, RemotePath
from .raw_files import RawPath, check_content, compression_of, stop_where_limited

MAX_EXTENSION_BYTES = 1 << 20
"""Largest extended header (a long name, pax records) that is read into memory."""

MAX_PADDING_BYTES = 1 << 20
"""How much may follow the end of an archive: tar pads to its record size, 10 KiB unless told otherwise."""

_BLOCK = 512
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class Member(NamedTuple):
    """One member of a tar file."""

    name: str
    """As written, without a leading "./"."""
    offset: int
    """Of its first byte in the tar file."""
    size: int
    problem: str = ""
    """Why it can't be read; "" for a regular file."""


def scan_tar(path: RawPath) -> Iterator[Member]:
    """Yield the members that are no directories, in the order of the file.

    Raises:
        RecordError: the file is no tar file, or is damaged from some point on; what came before was yielded.
    """
    try:
        if not path.is_file():
            raise RecordError("the file is missing or is no regular file")
        opened = (
            nullcontext(path.open_ranges()) if isinstance(path, RemotePath) else path.open("rb", buffering=0)
        )
        with opened as file:
            yield from _scan(file, path.stat().st_size)
    except OSError as err:
        stop_where_limited(err, path)
        raise RecordError(f"can't read the tar file: {err}") from err


def read_member(path: RawPath, offset: int, size: int, limit: int) -> bytes:
    """Return the bytes of a member that `scan_tar` found."""
    if size > limit:
        raise RecordError(f"the member has {size} bytes, over the limit of {limit}")
    try:
        if isinstance(path, RemotePath):
            content = path.read_range(offset, size)
        elif not path.is_file():
            raise RecordError("the tar file is missing or is no regular file")
        else:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(size)
    except OSError as err:
        stop_where_limited(err, path)
        raise RecordError(f"can't read the tar file: {err}") from err
    if len(content) != size:
        raise RecordError(
            f"the tar file ends {size - len(content)} bytes early: it changed after it was indexed"
        )
    check_content(content)
    return content


def _scan(file: io.FileIO | RangedFile, end: int) -> Iterator[Member]:
    offset = 0
    records: dict[str, str] = {}
    while True:
        file.seek(offset)
        header = file.read(_BLOCK)
        if len(header) == _BLOCK and not header.strip(b"\0"):
            _check_end(file, end)
            return
        info = _parse_header(header, offset)
        start = offset + _BLOCK
        if info.type in _EXTENSIONS:
            records |= _read_extension(file, info, start)
            offset = start + _padded(info.size)
            continue
        if info.type == tarfile.GNUTYPE_SPARSE:
            start += _skip_sparse_map(file, header)
        member = _describe(info, records, start)
        # Links, devices and directories have no content, whatever size their headers give.
        has_content = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
        if has_content and start + member.size > end:
            raise RecordError(
                f"the tar file ends at byte {end} inside {member.name!r}, which should have {member.size} bytes "
                f"from byte {start} on: the file is cut short; the members before are used"
            )
        offset = start + (_padded(member.size) if has_content else 0)
        records = {}
        # A directory has no size: with one it is another member whose header is damaged.
        if not info.isdir() or member.size:
            yield member


def _parse_header(header: bytes, offset: int) -> tarfile.TarInfo:
    used = "; the members before are used" if offset else ""
    if not offset:
        check_content(header)
    if not offset and (kind := compression_of(header)):
        reason = f"the file is compressed ({kind}), expected a plain tar: decompress it, members are read by offset"
        raise RecordError(reason)
    if not header and not offset:
        raise RecordError("the file is empty (0 bytes)")
    if len(header) < _BLOCK:
        raise RecordError(
            f"the file ends at byte {offset + len(header)} without the end mark of a tar: it is cut short{used}"
        )
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "backslashreplace")
    except tarfile.HeaderError as err:
        raise RecordError(
            f"found {header[:12]!r} at byte {offset}, expected a tar header ({err}){used}"
        ) from err
    if info.size < 0:
        raise RecordError(f"the tar header at byte {offset} gives a size of {info.size} bytes{used}")
    return info


def _describe(info: tarfile.TarInfo, records: dict[str, str], start: int) -> Member:
    """Return the member of a header and of the extended headers before it."""
    name = records.get("path", info.name)
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    problem = ""
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in records):
        problem = "a sparse member, expected a plain file"
    elif not info.isreg():
        kind = "link" if info.islnk() or info.issym() else "special"
        problem = f"a {kind} member (type {info.type!r}), expected a plain file"
    elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        problem = f"the member's name {name!r} leads out of the archive"
    size = records.get("size", str(info.size))
    if not (size.isascii() and size.isdigit() and len(size) < 20):
        raise RecordError(f"the pax size of {name!r} is {size[:40]!r}, expected a number of bytes")
    return Member(name, start, int(size), problem)


def _read_extension(file: io.FileIO | RangedFile, info: tarfile.TarInfo, start: int) -> dict[str, str]:
    """Return what an extended header says about the member after it."""
    if info.size > MAX_EXTENSION_BYTES:
        raise RecordError(
            f"the extended tar header at byte {start - _BLOCK} has {info.size} bytes, "
            f"over the limit of {MAX_EXTENSION_BYTES}"
        )
    content = file.read(info.size)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "backslashreplace")}
    return _parse_pax(content) if info.type in _PAX else {}


def _parse_pax(content: bytes) -> dict[str, str]:
    """Return the records of a pax header: lines of "<length> <key>=<value>", the length counting itself."""
    records: dict[str, str] = {}
    place = 0
    while place < len(content) and content[place]:
        digits, space, _ = content[place : place + 20].partition(b" ")
        end = place + (int(digits) if digits.isdigit() else 0)
        key, equals, value = content[place + len(digits) + 1 : end - 1].partition(b"=")
        if not (space and equals and content[end - 1 : end] == b"\n"):
            raise RecordError(f"damaged pax header: found {content[place : place + 40]!r}")
        records[key.decode("utf-8", "backslashreplace")] = value.decode("utf-8", "backslashreplace")
        place = end
    return records


def _skip_sparse_map(file: io.FileIO | RangedFile, header: bytes) -> int:
    """Return how many bytes of map follow a sparse member's header; each block says whether another follows."""
    length = 0
    more = header[482] != 0
    while more:
        length += _BLOCK
        more = file.read(_BLOCK)[504:505] not in (b"", b"\0")
    return length


def _check_end(file: io.FileIO | RangedFile, end: int) -> None:
    """Raise if more than padding follows: a hole of zeros in a broken download looks like the end mark."""
    position = file.tell()
    if end - position > MAX_PADDING_BYTES or file.read(MAX_PADDING_BYTES).strip(b"\0"):
        raise RecordError(
            f"an end mark stands at byte {position - _BLOCK} but the tar file has {end} bytes: "
            "a hole, or several tars in one file; only the members before are used"
        )


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
