"""The columns of a part: numbers, prompt masks, text, run lengths and files go to their shard files as they come.

A part may have a million masks, and none of them stays in memory.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import ArraySpec, Table
from .shard_writer import ShardWriter

BUFFER_BYTES = 1 << 16
"""How much of each column waits in memory until it is written."""

_ANY_COLUMN: dict[Table, str] = {
    "images": "images/time",
    "masks": "masks/area",
    "expressions": "expressions/mask",
    "samples": "samples/mask",
    "scenes": "scenes/key",
}


class Columns:
    """Every array of a part but those with a chunk for each row, by its path below the part.

    Args:
        specs: the arrays of the part; those with a chunk for each row are left to others.
        shards: the file of each array by its path; filled by the time rows are appended.
    """

    def __init__(self, specs: tuple[ArraySpec, ...], shards: Mapping[str, ShardWriter]) -> None:
        self._specs = {spec.path: spec for spec in specs if not spec.row_chunks}
        self._shards = shards
        self._buffers = {path: bytearray() for path in self._specs}
        self._lengths: Counter[str] = Counter()
        for path in self._specs:
            if path.endswith("_offsets"):
                self.append(path, 0)

    def append(self, path: str, value: object) -> None:
        """Add a row to a column of numbers, such as "masks/area"."""
        spec = self._specs[path]
        self._extend(path, np.array(value, spec.dtype).reshape(spec.row_shape).tobytes(), 1)

    def append_text(self, path: str, text: str) -> None:
        """Add a row to a column of text, such as "images/key"."""
        self.append_bytes(path, storable(text).encode())

    def append_bytes(self, path: str, content: bytes) -> None:
        """Add a row to a column of text or bytes, such as "images/source"."""
        self._append_slice(path, "bytes", content, len(content))

    def append_runs(self, path: str, size: tuple[int, int], runs: NDArray[np.uint32]) -> None:
        """Add a mask at its own size to the columns of a view, such as "masks/masks"; its run lengths are uint32 [R]."""
        self.append(f"{path}_size", size)
        self._append_slice(path, "runs", runs.astype("<u4").tobytes(), len(runs))

    def num_rows(self, table: Table) -> int:
        """Return how many rows a table has."""
        return self._lengths[_ANY_COLUMN[table]]

    def length(self, spec: ArraySpec) -> int:
        """Return the length of an array, also of one with a chunk for each row."""
        return self._lengths[spec.path] if spec.path in self._specs else self.num_rows(spec.table)

    def flush(self) -> None:
        """Write what still waits in memory."""
        for path in self._buffers:
            self._flush(path)

    def _append_slice(self, path: str, ending: str, encoded: bytes, num_rows: int) -> None:
        self._extend(f"{path}_{ending}", encoded, num_rows)
        self.append(f"{path}_offsets", self._lengths[f"{path}_{ending}"])
        self._lengths[path] += 1

    def _extend(self, path: str, encoded: bytes, num_rows: int) -> None:
        self._buffers[path] += encoded
        self._lengths[path] += num_rows
        if len(self._buffers[path]) >= BUFFER_BYTES:
            self._flush(path)

    def _flush(self, path: str) -> None:
        if self._buffers[path]:
            self._shards[path].extend(bytes(self._buffers[path]))
            self._buffers[path].clear()


def storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: a lone surrogate, out of JSON or a file name, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
