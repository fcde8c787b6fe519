"""Writes one shard file of the Zarr v3 sharding codec.

::

    chunk 0 | crc32c | chunk 1 | crc32c | ... | index | crc32c of the index

A chunk's bytes (compressed or not) are followed by their CRC-32C, little-endian: that is the codec chain [bytes,
(zstd,) crc32c] (`loader.format.mask_codec`), or [resizeonce.gradient, crc32c] (`loader.format.gradient`). The index is one
pair (offset, bytes) of uint64, little-endian, for each chunk (zarr-specs, codecs/sharding-indexed). Rows are appended as
they come, so nothing but the index is kept in memory; zarr-python holds a whole shard and writes it at about a tenth of
the disk's speed.
"""

import hashlib
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import extend as extend_crc32c
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from ...loader.format.layout import Codec
from ...loader.format.shard import CHECKSUM_BYTES
from ..kernels.encode import compress_mask, pack_image
from .filesystem import begin_sync, make_parents

SYNC_BYTES = 8 << 20
"""How much of a file is written before the disk is set to work on it."""


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What identifies a file of a part."""

    bytes: int
    """Its size."""
    sha256: str
    """In a shard file, of the chunks' checksums and the index, which together cover its every byte."""


class ShardWriter:
    """Appends chunks to one shard file; leaving the `with` block without an exception writes the index.

    Syncing the file is left to whoever makes it visible.

    No file is made when no chunk was appended: an array of length 0 has none.

    Args:
        folder: the part's folder, which is there.
        name: the file's path below it; folders between are made.
        codec: how chunks are stored.
        piece_bytes: size of each chunk of an array in pieces; 0 of any other.
    """

    def __init__(self, folder: Path, name: str, codec: Codec, piece_bytes: int = 0) -> None:
        self._folder = folder
        self._name = name
        self._codec = codec
        self._piece_bytes = piece_bytes
        self._file: Any = None
        self._start = self._end = self._synced = 0
        self._checksum = 0
        # Offset and bytes of each chunk, in turns; as Python objects they would take ten times as much.
        self._index = array("Q")
        self._checksums = hashlib.sha256()
        self.digest: FileDigest | None = None
        """Set once the index is written; None where there is no file."""

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file is None:
            return
        try:
            if error is None:
                if self._end > self._start:
                    self.extend(bytes(self._piece_bytes and self._start + self._piece_bytes - self._end))
                if self._end > self._start:
                    self._end_chunk()
                self._write_index()
        finally:
            self._file.close()

    def append(self, chunk: NDArray[Any]) -> None:
        """Append one chunk, given as its decoded array in C order."""
        if self._codec == "gradient":
            encoded = pack_image(chunk)
        elif self._codec == "zstd":
            encoded = compress_mask(np.ascontiguousarray(chunk).view(np.bool_))
        else:
            encoded = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8)
        self.extend(encoded.data)
        self._end_chunk()

    def extend(self, piece: bytes | memoryview) -> None:
        """Append bytes as they are stored; a chunk ends when it is full, or else with the `with` block.

        For a raw array that is one chunk, or is in pieces, and need not be in memory as a whole.
        """
        if self._file is None:
            make_parents(self._folder, self._name)
            self._file = (self._folder / self._name).open("xb", buffering=0)
        left = memoryview(piece)
        while left:
            room = self._start + self._piece_bytes - self._end if self._piece_bytes else len(left)
            taken, left = left[:room], left[room:]
            self._checksum = extend_crc32c(self._checksum, np.frombuffer(taken, np.uint8))
            self._write(taken)
            self._end += len(taken)
            if len(taken) == room and self._piece_bytes:
                self._end_chunk()

    def _end_chunk(self) -> None:
        checksum = struct.pack("<I", self._checksum)
        self._checksum = 0
        self._write(memoryview(checksum))
        self._checksums.update(checksum)
        self._end += CHECKSUM_BYTES
        self._index.extend((self._start, self._end - self._start))
        self._start = self._end
        if self._end - self._synced >= SYNC_BYTES:
            begin_sync(self._file.fileno(), self._synced, self._end - self._synced)
            self._synced = self._end

    def _write_index(self) -> None:
        index = np.array(self._index, "<u8").tobytes()
        index += struct.pack("<I", crc32c(index))
        self._write(memoryview(index))
        self._checksums.update(index)
        self.digest = FileDigest(self._end + len(index), self._checksums.hexdigest())

    def _write(self, encoded: memoryview) -> None:
        # A raw file may write less than it is given.
        while encoded:
            encoded = encoded[self._file.write(encoded) :]
