"""What is in the cache of a small store of three parts, and batches compared."""

from pathlib import Path
from typing import Any

import numpy as np

from resizeonce.loader import CacheOptions

PARTS = ["part-00000", "part-00001", "part-00002"]
PIXELS = "images/g_pixel_values/c/0/0/0/0"


def bytes_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def largest_part(store: Path) -> int:
    """Return the bytes of the largest part of a store."""
    return max(bytes_of(store / part) for part in PARTS)


def cached_parts(cache: CacheOptions) -> list[str]:
    """Return the names of the parts that are whole."""
    return sorted(path.name for path in cache.path().glob("*/part-*"))


def hidden(cache: CacheOptions) -> list[str]:
    """Return the names of what is unfinished, or about to be removed."""
    return sorted(path.name for path in cache.path().rglob(".*"))


def as_arrays(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with arrays in the place of tensors."""
    return {key: np.asarray(value) if hasattr(value, "shape") else value for key, value in batch.items()}


def assert_same(batch: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare a batch, of tensors or arrays, with one of arrays: keys, types, values."""
    found = as_arrays(batch)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            assert np.array_equal(found[key], value)
        else:
            assert found[key] == value
