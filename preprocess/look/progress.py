"""How whoever waits is told how far something is, and what is read of every image meanwhile, part by part."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...loader.store import Store

Progress: TypeAlias = Callable[[Iterable[int], str], Iterable[int]]
"""Wraps numbers while they are gone through; told what is done."""


def silent(numbers: Iterable[int], _: str) -> Iterable[int]:
    """Tell nobody."""
    return numbers


def read_images(
    store: Store, dtype: str, read: Callable[[int], NDArray[Any]], progress: Progress, doing: str
) -> NDArray[Any]:
    """Return what is known of each image, of one dtype: [I], as `read` gives it of each part."""
    out, first = np.zeros(store.count("images"), dtype), 0
    for number in progress(range(len(store.attributes["parts"])), f"{doing} {label(store)}"):
        values = read(number)
        out[first : first + len(values)] = values
        first += len(values)
    return out


def label(store: Store) -> str:
    """Return the last step of a store's path or URL."""
    return store.name.rstrip("/").rpartition("/")[2]
