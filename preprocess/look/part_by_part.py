"""What is read of every image of a store, part by part, while progress is shown."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ...loader.store import Store
from .progress import Progress


def fill(
    store: Store, out: NDArray[Any], read: Callable[[int], NDArray[Any]], progress: Progress, doing: str
) -> None:
    """Fill what is known of each image, part by part."""
    first = 0
    for number in progress(range(len(store.attributes["parts"])), f"{doing} {label(store)}"):
        values = read(number)
        out[first : first + len(values)] = values
        first += len(values)


def label(store: Store) -> str:
    """Return the last step of a store's path or URL."""
    return store.name.rstrip("/").rpartition("/")[2]
