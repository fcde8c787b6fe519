"""One shard file, read without the loader: its size, index, tiling, every chunk's checksum, its rows.

A second reading of docs/format.md on purpose: what a loader's mistake would hide is seen here.
"""

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from ...loader.format.layout import ArraySpec
from ...loader.format.metadata import ListedFile
from ...loader.format.regular_files import open_binary
from .files import stop_where_refused
from .findings import Finding, part_fault
from .packed import unpack_image

_ZSTD = Zstd()


def stated_bytes(header: bytes) -> int:
    """Return how many bytes a Zstandard frame says that it holds, -1 where it says nothing (RFC 8878, 3.1.1)."""
    if len(header) < 6 or header[:4] != bytes.fromhex("28b52ffd"):
        return -1
    descriptor = header[4]
    is_single_segment = bool(descriptor & 0x20)
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    at = 5 + (0 if is_single_segment else 1) + dictionary_bytes
    flag = descriptor >> 6
    if flag == 0 and not is_single_segment:
        return -1
    field = header[at : at + (1, 2, 4, 8)[flag]]
    return int.from_bytes(field, "little") + (256 if flag == 1 else 0)


class ShardFile:
    """A shard file of `length` rows; `check` must have run before rows are read."""

    def __init__(self, path: Path, spec: ArraySpec, length: int) -> None:
        self._path = path
        self._spec = spec
        self._length = length
        self._num_chunks = length if spec.row_chunks else min(length, 1)
        if spec.piece_rows:
            self._num_chunks = (length + spec.piece_rows - 1) // spec.piece_rows
        self._bytes = np.zeros(0, np.uint8)
        self._index: list[tuple[int, int]] = []
        self._sound = np.zeros(0, np.bool_)
        """Which chunks of a readable index are where it says and agree with their checksums."""

    def check(self, listed: ListedFile) -> Iterator[Finding]:
        """Yield every fault of the file that the part lists so."""
        try:
            with open_binary(self._path) as file:
                found = os.fstat(file.fileno()).st_size
                if found != listed.bytes:
                    yield self._fault("file-size", f"the file has {found:,} bytes", f"{listed.bytes:,}")
                if listed.bytes > self._max_bytes:
                    # A sparse file of terabytes takes no room, and a day to read.
                    expected = f"at most {self._max_bytes:,} for {self._length:,} rows"
                    yield self._fault("file-size", f"the part lists {listed.bytes:,} bytes", expected)
                    return
                if size := min(found, listed.bytes):
                    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
                    self._bytes = np.frombuffer(mapped, np.uint8)
        except OSError as err:
            stop_where_refused(err, self._path)
            yield self._fault("file-read", f"the file can't be read: {err}")
            return
        faults = list(self._check_index())
        yield from faults
        if not self._index:
            return
        self._sound = np.zeros(self._num_chunks, np.bool_)
        digest = hashlib.sha256()
        for row, (offset, size) in enumerate(self._index):
            if offset + size > self._index_start or not self._can_be(size):
                continue
            stored = self._bytes[offset + size - 4 : offset + size].tobytes()
            self._sound[row] = struct.pack("<I", crc32c(self._bytes[offset : offset + size - 4])) == stored
            digest.update(stored)
            if not self._sound[row]:
                text = "its bytes do not agree with its checksum"
                yield self._fault("row-checksum", text, row=None if self._spec.is_whole else row)
        digest.update(self._bytes[self._index_start :].tobytes())
        if not faults and self._sound.all() and digest.hexdigest() != listed.sha256:
            text = (
                "the file is sound in itself but is not the one that the part lists: swapped or written anew"
            )
            yield self._fault("file-digest", text, f"SHA-256 {listed.sha256[:16]}...")

    def _fault(self, check: str, found: str, expected: str = "", row: int | None = None) -> Finding:
        return part_fault(check, self._spec.path, found, row, expected)

    @property
    def _index_start(self) -> int:
        return len(self._bytes) - 16 * self._num_chunks - 4

    def _check_index(self) -> Iterator[Finding]:
        start = self._index_start
        if start < 0:
            text = f"{len(self._bytes)} bytes can't hold {self._num_chunks} chunks"
            yield self._fault("shard-index", text)
            return
        index = self._bytes[start:-4].tobytes()
        if struct.pack("<I", crc32c(index)) != self._bytes[-4:].tobytes():
            zero = " (the file is zero throughout)" if not self._bytes.any() else ""
            text = f"the index does not agree with its checksum{zero}; no row can be trusted"
            yield self._fault("shard-index", text)
            return
        self._index = list(struct.iter_unpack("<QQ", index))
        end = 0
        for row, (offset, size) in enumerate(self._index):
            if offset != end:
                text = f"chunk {row} begins at byte {offset}"
                yield self._fault("shard-tiling", text, f"byte {end}, without gap", row)
            if not self._can_be(size):
                text = f"chunk {row} has {size} bytes"
                yield self._fault("shard-tiling", text, f"{self._chunk_bytes + 4}", row)
            end = offset + size
        if end != start:
            text = f"the last chunk ends at byte {end}"
            yield self._fault("shard-tiling", text, f"byte {start}, at the index")

    @property
    def _chunk_bytes(self) -> int:
        return self._spec.row_bytes * (1 if self._spec.row_chunks else self._spec.piece_rows or self._length)

    @property
    def _max_chunk_bytes(self) -> int:
        """The most that a chunk can take with its checksum; compressed ones are never much larger than their row."""
        return self._chunk_bytes + 4 if self._spec.codec == "raw" else 2 * self._chunk_bytes + 1024

    @property
    def _max_bytes(self) -> int:
        return self._num_chunks * (self._max_chunk_bytes + 16) + 4

    def _can_be(self, size: int) -> bool:
        """Whether a chunk can have `size` bytes."""
        return (
            4 < size <= self._max_chunk_bytes if self._spec.codec != "raw" else size == self._max_chunk_bytes
        )

    def is_sound(self, row: int) -> bool:
        """Whether a row can be read."""
        chunk = row if self._spec.row_chunks else 0
        return chunk < len(self._sound) and bool(self._sound[chunk])

    def row(self, row: int) -> NDArray[Any]:
        """Return a row of an array with a chunk for each row, in its stored dtype; `bool` comes as uint8.

        Raises:
            ValueError: the row does not decode to its shape.
        """
        return self._decode(row).reshape(self._spec.row_shape)

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows of an array in pieces, of which those that hold them must be sound.

        Raises:
            ValueError: one is not.
        """
        step = self._spec.piece_rows
        pieces = range(start // step, (stop + step - 1) // step) if stop > start else range(0)
        if not all(piece < len(self._sound) and self._sound[piece] for piece in pieces):
            raise ValueError("a piece of it is damaged")
        joined = np.concatenate([np.zeros(0, self._dtype), *map(self._decode, pieces)])
        return joined[start % step : start % step + stop - start]

    def whole(self) -> NDArray[Any]:
        """Return an array that is one chunk, in its stored dtype; `bool` comes as uint8."""
        shape = (self._length, *self._spec.row_shape)
        return self._decode(0).reshape(shape) if self._length else np.zeros(shape, self._dtype)

    @property
    def _dtype(self) -> Any:
        # What bytes a bool array holds is to be checked, so they are not read as bool.
        return np.dtype("uint8" if self._spec.dtype == "bool" else self._spec.dtype).newbyteorder("<")

    def _decode(self, chunk: int) -> NDArray[Any]:
        offset, size = self._index[chunk]
        stored = self._bytes[offset : offset + size - 4]
        if self._spec.codec == "gradient":
            return unpack_image(stored, self._spec.row_shape)
        if self._spec.codec == "zstd":
            stated = stated_bytes(stored[:18].tobytes())
            if stated != self._chunk_bytes:
                # Before any memory is taken: a frame of 100 kB may state, and hold, gigabytes.
                raise ValueError(f"it states {stated} bytes, not {self._chunk_bytes}")
            try:
                decoded = np.frombuffer(_ZSTD.decode(stored), np.uint8)
            except (RuntimeError, ValueError) as err:
                raise ValueError(f"it does not decompress: {err}") from err
        else:
            decoded = stored
        if decoded.nbytes != self._chunk_bytes:
            raise ValueError(f"it decodes to {decoded.nbytes} bytes, not {self._chunk_bytes}")
        return decoded.view(self._dtype)
