"""Checks that a file of a part is the one that was published: its size, and the SHA-256 that the part lists for it.

For a shard file that digest is of its chunks' checksums and its index (docs/format.md), so the chunks are compared
with their checksums, too: together that covers every byte.
"""

import hashlib
import mmap
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from ..format.shard import CHECKSUM_BYTES, INDEX_ENTRY_BYTES
from .fetch import DamagedArrivalError


def check_file(path: Path, listed: Mapping[str, Any], num_chunks: int | None) -> None:
    """Check a file; arguments and errors are those of `check_content`."""
    if path.stat().st_size == 0:
        check_content(b"", listed, num_chunks)
        return
    with path.open("rb") as file:
        check_content(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), listed, num_chunks)


def check_content(content: bytes | mmap.mmap, listed: Mapping[str, Any], num_chunks: int | None) -> None:
    """Check the bytes of a file, of which the part lists "bytes" and "sha256"; chunks are a shard file's, None of any other.

    Raises:
        DamagedArrivalError: they are others; says what was found and what was expected.
    """
    if len(content) != listed["bytes"]:
        raise DamagedArrivalError(f"it has {len(content)} bytes, expected {listed['bytes']}")
    if num_chunks is None:
        check_digest(hashlib.sha256(content).hexdigest(), listed["sha256"])
    else:
        check_digest(_shard_digest(np.frombuffer(content, np.uint8), num_chunks), listed["sha256"])


def check_digest(found: str, expected: str) -> None:
    """Raise `DamagedArrivalError` where two digests differ."""
    if found != expected:
        raise DamagedArrivalError(f"its SHA-256 is {found}, expected {expected}")


def _shard_digest(values: NDArray[np.uint8], num_chunks: int) -> str:
    """Return the digest of a shard file, its chunks compared with their checksums on the way."""
    index_start = len(values) - num_chunks * INDEX_ENTRY_BYTES - CHECKSUM_BYTES
    digest = hashlib.sha256()
    for number, (start, end) in enumerate(pairwise([0, *_chunk_ends(values, index_start)])):
        chunk, stored = values[start : end - CHECKSUM_BYTES], values[end - CHECKSUM_BYTES : end]
        found, expected = crc32c(chunk), int.from_bytes(stored.tobytes(), "little")
        if found != expected:
            raise DamagedArrivalError(f"chunk {number} has CRC-32C {found:08x}, expected {expected:08x}")
        digest.update(stored.data)
    digest.update(values[index_start:].data)
    return digest.hexdigest()


def _chunk_ends(values: NDArray[np.uint8], index_start: int) -> list[int]:
    """Return where each chunk of a shard ends; they lie without gaps from the beginning of the file to the index."""
    if index_start < 0:
        raise DamagedArrivalError(f"it has {len(values)} bytes, too few for its index")
    index = values[index_start:-CHECKSUM_BYTES].view("<u8").reshape(-1, 2)
    sizes = index[:, 1]
    if (sizes <= CHECKSUM_BYTES).any() or (sizes > index_start).any() or int(sizes.sum()) != index_start:
        raise DamagedArrivalError("the index of the shard is damaged")
    ends: list[int] = np.cumsum(sizes.astype(np.int64)).tolist()
    return ends
