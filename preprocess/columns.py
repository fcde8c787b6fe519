"""The small columns of a part, collected row by row in memory: numbers, prompt masks and text."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.layout import TEXT_COLUMNS, ArraySpec, Table

_TEXTS = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
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
        self._values: dict[str, list[Any]] = {
            path.removesuffix("_bytes"): [] for path in self._specs if not path.endswith("_offsets")
        }

    def __getitem__(self, path: str) -> list[Any]:
        return self._values[path]

    def append(self, path: str, value: object) -> None:
        """Add a row to a column of numbers, such as "masks/area"."""
        self._values[path].append(value)

    def append_text(self, path: str, text: str) -> None:
        """Add a row to a column of text, such as "images/key"."""
        self._values[path].append(storable(text).encode())

    def num_rows(self, table: Table) -> int:
        """Return how many rows a table has."""
        return len(self._values[_ANY_COLUMN[table]])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return each array in its stored dtype and shape; text becomes offsets and bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        for path, values in self._values.items():
            if path in _TEXTS:
                arrays[f"{path}_offsets"] = np.cumsum([0, *map(len, values)], dtype=np.int64)
                arrays[f"{path}_bytes"] = np.frombuffer(b"".join(values), np.uint8)
            else:
                spec = self._specs[path]
                arrays[path] = np.array(values, spec.dtype).reshape(len(values), *spec.row_shape)
        return arrays


def storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: a lone surrogate, out of JSON or a file name, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
