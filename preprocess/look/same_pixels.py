"""Which pictures of two stores are equal, by hashes of their pixels, or as far as a view shows it that both make alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.store import Store
from ..tensors.arithmetic import arithmetic_of
from .original_pixels import Digests, read_root
from .progress import Progress, read_images


def shared_view(train: Store, against: Store) -> tuple[str, str] | None:
    """Return the names, in both, of the largest image view that two stores make by the same rules, None where there is none."""
    if _arithmetic(train) != _arithmetic(against):
        return None
    same = [
        (view.fit != "crop", view.size[0] * view.size[1], (name, other))
        for name, view in train.recipe.images.items()
        for other, its in against.recipe.images.items()
        if its == view
    ]
    return max(same)[2] if same else None


def row_digests(store: Store, view: str, progress: Progress) -> Digests:
    """Return the size of each original, and the checksum that its row of a view is stored with: S12 [I].

    A checksum is read without the row, a page of each row in place of up to megabytes.
    """

    def read(number: int) -> Digests:
        part = store.part(number)
        array, sizes = part.array(f"images/{view}"), part.column("images/size")
        numbers = np.zeros((len(sizes), 3), "<u4")
        numbers[:, :2] = sizes
        numbers[:, 2] = [array.checksum(row) for row in range(len(sizes))]
        return numbers.reshape(-1).view("S12")

    return read_images(store, "S12", read, progress, f"checksums of {view} of")


def equal_rows(
    train: Store, against: Store, views: tuple[str, str], pairs: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which pairs of images have equal rows of a view, byte for byte: bool [N] of int64 [N, 2]."""
    equal = [
        _row(train, views[0], one).tobytes() == _row(against, views[1], other).tobytes()
        for one, other in pairs.tolist()
    ]
    return np.array(equal, bool)


def match(train: NDArray[Any], against: NDArray[Any]) -> NDArray[np.int64]:
    """Return of each value of `train` that is one of `against`, and not empty, where it is, and where that one is first.

    Args:
        train: strings of one length [I].
        against: likewise [J].

    Returns:
        int64 [N, 2]: places in both, ascending by the first.
    """
    order = np.argsort(against, kind="stable")
    ordered = against[order]
    places = np.searchsorted(ordered, train)
    places[places == len(ordered)] = 0
    found = np.flatnonzero((train != b"") & (ordered[places] == train)) if len(ordered) else np.zeros(0, int)
    return np.stack([found, order[places[found]]], axis=1)


def _row(store: Store, view: str, image: int) -> NDArray[Any]:
    part, row = store.row_of(image, "images")
    return store.part(part).array(f"images/{view}").row(row)


def _arithmetic(store: Store) -> str | None:
    return store.recipe.arithmetic or arithmetic_of(read_root(store).versions.get("pillow", ""))
