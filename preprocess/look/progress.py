"""How whoever waits is told how far something is."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ...loader.store import Store

Progress: TypeAlias = Callable[[Iterable[int], str], Iterable[int]]
"""Wraps numbers while they are gone through; told what is done."""


def silent(numbers: Iterable[int], _: str) -> Iterable[int]:
    """Tell nobody."""
    return numbers


def label(store: Store) -> str:
    """Return the last step of a store's path or URL."""
    return store.name.rstrip("/").rpartition("/")[2]
