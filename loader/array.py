"""One array of a part: a Zarr v3 shard file, mapped into memory and read row by row.

The file is chunks, each followed by its CRC-32C, then the index of (offset, bytes) pairs and the index's CRC-32C
(docs/format.md). A raw row is viewed in place; others are decoded, straight into the caller's array.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from .format.errors import DamageError, StoreError
from .format.layout import ArraySpec, Codec
from .format.limits import describe_limit
from .format.shard import CHECKSUM_BYTES, INDEX_ENTRY_BYTES
from .kernels.batch_kernels import unpack_image
from .readahead.mapped_file import MappedFile


class MappedArray:
    """The rows of one array.

    Args:
        path: the shard file; it need not exist where there are no rows.
        spec: what the layout says of the array.
        length: number of rows.
        check_rows: whether each chunk's checksum is compared whenever it is read.
        huge_pages: whether to ask for huge pages where the file is mapped.
        content: the file's bytes where they are in memory, so that nothing is mapped.

    Raises:
        DamageError: the file is cut short, or its index is damaged.
        StoreError: it can't be mapped.
    """

    def __init__(
        self,
        path: Path,
        spec: ArraySpec,
        length: int,
        *,
        check_rows: bool = True,
        huge_pages: bool = False,
        content: bytes | None = None,
    ) -> None:
        self.path = path
        """The shard file."""
        self.form: tuple[Codec, str, tuple[int, ...], bool] = (
            spec.codec,
            spec.dtype,
            spec.row_shape,
            check_rows,
        )
        """How rows are stored, dtype and shape of one, and whether checksums are compared."""
        self._spec = spec
        self._length = length
        self._check_rows = check_rows
        self._dtype = np.dtype(spec.dtype)
        self._file = _map(path, huge_pages=huge_pages) if length and content is None else None
        self.content = self._file.bytes if self._file else np.frombuffer(content or b"", np.uint8)
        """The file's bytes, uint8 [N], read-only."""
        self._offsets, self._sizes = self._read_index(spec.num_chunks(length))

    def __len__(self) -> int:
        return self._length

    def whole(self) -> NDArray[Any]:
        """Return an array that is one chunk, as a read-only view."""
        shape = (self._length, *self._spec.row_shape)
        if not self._length:
            return np.zeros(shape, self._dtype)
        return self._chunk(0).view(self._dtype).reshape(shape)

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows of an array in pieces, checked where any are; read-only where they lie in one piece."""
        step = self._spec.piece_rows
        first, last = start // step, -(-stop // step)
        pieces = [self._chunk(number).view(self._dtype) for number in range(first, last)]
        if not pieces:
            return np.zeros(0, self._dtype)
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return joined[start - first * step : stop - first * step]

    def advise_slice(self, start: int, stop: int) -> bool:
        """Do what `advise` does, for what `slice` will read."""
        if self._file is None or start >= stop:
            return True
        step = self._spec.piece_rows
        first, last = self._offsets.item(start // step), (stop - 1) // step
        return self._file.advise(first, max(sum(self.span(last)) - first, 0))

    @property
    def is_raw(self) -> bool:
        """Whether rows are views of the file; others are decoded."""
        return self._spec.codec == "raw"

    def row(self, number: int) -> NDArray[Any]:
        """Return one row: a read-only view where rows are raw, else decoded."""
        if self.is_raw:
            return self._chunk(number).view(self._dtype).reshape(self._spec.row_shape)
        row = np.empty(self._spec.row_shape, self._dtype)
        if self._spec.codec == "zstd":
            self._decompress(number, row)
            return row
        try:
            unpack_image(self._chunk(number), row)
        except ValueError as err:
            raise self.damage(number, str(err)) from err
        return row

    def _decompress(self, number: int, out: NDArray[Any]) -> None:
        chunk = self._chunk(number)
        # The decoder leaves the rest of a larger `out` as it was, which is whatever the memory held.
        if (found := _content_bytes(chunk)) != out.nbytes:
            raise self.damage(number, f"it holds {found} bytes, expected {out.nbytes}")
        try:
            _zstd().decode(chunk, out)
        except (RuntimeError, ValueError) as err:
            raise self.damage(number, str(err)) from err

    def span(self, number: int) -> tuple[int, int]:
        """Return where a row lies in the file: (offset, bytes), checksum included."""
        return self._offsets.item(number), self._sizes.item(number)

    def checksum(self, number: int) -> int:
        """Return the CRC-32C that a row is stored with; the row itself is not read."""
        end = sum(self.span(number))
        return int.from_bytes(self.content[end - CHECKSUM_BYTES : end].tobytes(), "little")

    def advise(self, number: int) -> bool:
        """Ask the system to read a row ahead of its use; return whether it is known to be in memory."""
        return self._file is None or self._file.advise(*self.span(number))

    @property
    def is_mapped(self) -> bool:
        """Whether rows are read from a mapped file; others were read already, or are none."""
        return self._file is not None

    def check_length(self) -> None:
        """Raise `DamageError` where the file is shorter than it was when it was mapped: reading it kills the process (SIGBUS)."""
        if self._file is not None and self._file.has_shrunk():
            raise DamageError(
                f"{self.path} shrank while it was mapped: something writes over the store (replace one that is in use by "
                "renaming another folder to its name)"
            )

    def _chunk(self, number: int) -> NDArray[np.uint8]:
        start, size = self.span(number)
        chunk = self.content[start : start + size - CHECKSUM_BYTES]
        if self._check_rows and crc32c(chunk) != self.checksum(number):
            raise self.damage(number)
        return chunk

    def _read_index(self, num_chunks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offset and size of each chunk, after checking that they can be true."""
        if num_chunks == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        index_bytes = num_chunks * INDEX_ENTRY_BYTES + CHECKSUM_BYTES
        start = len(self.content) - index_bytes
        if start < 0:
            raise DamageError(f"{self.path} has {len(self.content)} bytes, too few for {num_chunks} chunks")
        index = self.content[start:-CHECKSUM_BYTES]
        if crc32c(index) != int.from_bytes(self.content[-CHECKSUM_BYTES:].tobytes(), "little"):
            raise DamageError(f"{self.path}: the index of the shard is damaged")
        pairs = index.view("<u8").reshape(num_chunks, 2)
        offsets, sizes = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
        inside = (offsets >= 0) & (sizes > CHECKSUM_BYTES) & (offsets <= start) & (sizes <= start - offsets)
        if self.is_raw:
            rows = 1 if self._spec.row_chunks else self._spec.piece_rows or self._length
            inside &= sizes == rows * self._spec.row_bytes + CHECKSUM_BYTES
        if not inside.all():
            bad = int(np.flatnonzero(~inside)[0])
            raise DamageError(f"{self.path}: chunk {bad} of the index can't be where it says")
        return offsets, sizes

    def damage(self, number: int, reason: str = "its checksum is wrong") -> DamageError:
        """Return the error that says of a row what is wrong with it."""
        kind = "piece" if self._spec.piece_rows else "row"
        return DamageError(f"{self.path}: {kind} {number} is damaged ({reason})")


@cache
def _zstd() -> Any:
    # Loaded when it is needed: that takes as long as a tenth of all that a worker loads, and few masks are for libzstd.
    from numcodecs.zstd import Zstd

    return Zstd()


def _content_bytes(frame: NDArray[np.uint8]) -> int:
    """Return the decoded size that a zstd frame's header states, -1 where it states none (RFC 8878, 3.1.1.1)."""
    header = frame[:18].tobytes()
    if len(header) < 6 or header[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    single_segment, size_code = header[4] >> 5 & 1, header[4] >> 6
    width = (1 if single_segment else 0, 2, 4, 8)[size_code]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[header[4] & 3]
    size = int.from_bytes(header[start : start + width], "little")
    return -1 if width == 0 else size + 256 if width == 2 else size


def _map(path: Path, *, huge_pages: bool) -> MappedFile:
    try:
        return MappedFile(path, huge_pages=huge_pages)
    except FileNotFoundError as err:
        raise DamageError(f"{path} is missing") from err
    except ValueError as err:
        raise DamageError(f"{path} can't be mapped ({err})") from err
    except OSError as err:
        raise StoreError(f"can't map {path}: {describe_limit(err) or err}") from err
