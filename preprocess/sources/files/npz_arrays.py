"""Arrays of an npz file from a stranger: no pickles, and no size believed before it was compared.

A zip member can claim any size twice, in the zip's index and in its own npy header. Both must agree and be within the
limit before anything is read, and then memory grows only with what is really there.
"""

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ...errors import RecordError
from ...remote.local_copies import local_file
from .raw_files import HEAD_BYTES, RawPath, check_content, check_file, stop_where_limited

MAX_ARRAY_BYTES = 1 << 29
"""Largest array that is read, decompressed."""

MAX_HEADER_BYTES = 1 << 10
"""Largest npy header that is parsed; numpy writes 128 bytes."""

MAX_READ_BYTES = 1 << 20
"""Largest single read. zipfile reads a zip's index in one go, so this limits the index, too."""

# What zipfile, zlib and numpy's header parser raise on damaged files, found by feeding them such files.
_ZIP_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, RuntimeError,
    SyntaxError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error,
)  # fmt: skip

_SHORT = (
    "memory ran out while the file was read: it claims more than it holds, or the limit is too low for it (ulimit -v, or the "
    "container's)"
)

_HEADER_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


class _LimitedFile(io.FileIO):
    """A file that refuses to be read in large pieces."""

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes, all that is left by default; `RecordError` where that is more than `MAX_READ_BYTES`."""
        wanted = MAX_READ_BYTES + 1 if size is None or size < 0 else size
        content = super().read(min(wanted, MAX_READ_BYTES + 1)) or b""
        if len(content) > MAX_READ_BYTES:
            raise RecordError(f"the zip's index is over the limit of {MAX_READ_BYTES} bytes")
        return content


@contextmanager
def open_arrays(path: RawPath) -> Iterator[zipfile.ZipFile]:
    """Open an npz file."""
    with local_file(path) as local:
        check_file(local)
        try:
            content = _LimitedFile(local)
        except OSError as err:
            stop_where_limited(err, path)
            raise RecordError(f"can't read the file: {err}") from err
        with content:
            try:
                file = zipfile.ZipFile(content)
            except MemoryError as err:
                raise RecordError(_SHORT) from err
            except _ZIP_ERRORS as err:
                content.seek(0)
                check_content(content.read(HEAD_BYTES))
                raise RecordError(f"no readable npz (a zip of npy arrays): {err}") from err
            with file:
                yield file


def has_array(file: zipfile.ZipFile, name: str) -> bool:
    """Whether the file holds an array of this name."""
    return f"{name}.npy" in file.NameToInfo


def read_array(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array, of plain numbers or text."""
    try:
        member = file.getinfo(f"{name}.npy")
    except KeyError as err:
        held = ", ".join(found.removesuffix(".npy") for found in file.namelist()[:8])
        raise RecordError(f"no array {name!r}; the file holds {held or 'nothing'}") from err
    if (count := file.namelist().count(member.filename)) > 1:
        raise RecordError(f"the file holds {count} arrays {name!r}: which is meant is not known")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RecordError(f"{name} is compressed by another method than deflate")
    try:
        with file.open(member) as content:
            return _parse_npy(content, member.file_size, name)
    except MemoryError as err:
        raise RecordError(f"{name}: {_SHORT}") from err
    except _ZIP_ERRORS as err:
        raise RecordError(f"{name} is damaged: {err}") from err


def _parse_npy(content: IO[bytes], content_bytes: int, name: str) -> NDArray[Any]:
    """Return the array of an npy file whose size, as the zip says, is `content_bytes`."""
    head = content.read(MAX_HEADER_BYTES + 12)
    stream = io.BytesIO(head)
    version = npy_format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise RecordError(f"{name} has npy version {version}; expected (1, 0) or (2, 0)")
    with warnings.catch_warnings():
        # Headers written by Python 2 are announced by a warning; they are as good as any.
        warnings.simplefilter("ignore")
        shape, fortran_order, dtype = _HEADER_READERS[version](stream, max_header_size=MAX_HEADER_BYTES)
    if dtype.hasobject or dtype.kind == "V" or dtype.itemsize == 0:
        raise RecordError(f"{name} holds {dtype}, not plain numbers or text; pickles are never read")
    array_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or array_bytes > MAX_ARRAY_BYTES:
        raise RecordError(
            f"{name} claims {dtype} {list(shape)}, which is not between 0 and the limit of {MAX_ARRAY_BYTES} bytes"
        )
    begin = stream.tell()
    if begin + array_bytes != content_bytes:
        raise RecordError(
            f"{name} claims {dtype} {list(shape)}, {array_bytes} bytes, but the zip holds {content_bytes - begin}"
        )
    # Memory grows with what is really there, not with what was claimed.
    array = bytearray(head[begin:])
    while len(array) < array_bytes:
        piece = content.read(min(MAX_READ_BYTES, array_bytes - len(array)))
        if not piece:
            raise RecordError(f"{name} ends after {len(array)} of {array_bytes} bytes")
        array += piece
    return np.frombuffer(array, dtype).reshape(shape, order="F" if fortran_order else "C")
