"""The small columns of a part, collected row by row in memory, as the bytes that are stored.

As Python objects they would take several times as much: a prompt mask of 256 bytes alone takes 400 more.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.layout import ArraySpec, Table

_ANY_COLUMN: dict[Table, str] = {
    "images": "images/time",
    "masks": "masks/area",
    "expressions": "expressions/mask",
    "samples": "samples/mask",
    "scenes": "scenes/key",
}


class Columns:
    """Every array of a part that is one chunk, by its path below the part."""

    def __init__(self, specs: tuple[ArraySpec, ...]) -> None:
        self._specs = {spec.path: spec for spec in specs if not spec.row_chunks}
        self._encoded = {path: bytearray() for path in self._specs}
        self._lengths: Counter[str] = Counter()
        for path in self._specs:
            if path.endswith("_offsets"):
                self.append(path, 0)

    def __getitem__(self, path: str) -> list[Any]:
        rows: list[Any] = self._array(path).tolist()
        return rows

    def append(self, path: str, value: object) -> None:
        """Add a row to a column of numbers, such as "masks/area"."""
        spec = self._specs[path]
        self._extend(path, np.array(value, spec.dtype).reshape(spec.row_shape).tobytes(), 1)

    def append_text(self, path: str, text: str) -> None:
        """Add a row to a column of text, such as "images/key"."""
        encoded = storable(text).encode()
        self._extend(f"{path}_bytes", encoded, len(encoded))
        self.append(f"{path}_offsets", self._lengths[f"{path}_bytes"])
        self._lengths[path] += 1

    def num_rows(self, table: Table) -> int:
        """Return how many rows a table has."""
        return self._lengths[_ANY_COLUMN[table]]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return each array in its stored dtype and shape; text is offsets and bytes."""
        return {path: self._array(path) for path in self._specs}

    def _array(self, path: str) -> NDArray[Any]:
        spec = self._specs[path]
        return np.frombuffer(self._encoded[path], spec.dtype).reshape(-1, *spec.row_shape)

    def _extend(self, path: str, encoded: bytes, num_rows: int) -> None:
        self._encoded[path] += encoded
        self._lengths[path] += num_rows


def storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: a lone surrogate, out of JSON or a file name, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
