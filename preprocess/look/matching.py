"""Which images, masks and samples of two stores have the same keys, whichever parts they stand in.

Keys are compared as 64-bit hashes, as a `KeySet` holds them: of 11 million images those are 88 MB a store, and two keys are
taken for one with a probability below 1e-5. Where a store has a key several times, the first with it is compared with the first
of the other store, the second with the second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.order.shuffle import hash_columns
from ...loader.order.subset import check_texts, hash_texts
from ...loader.part import Part
from .progress import Progress, label


@dataclass(frozen=True, slots=True)
class Images:
    """All images of a store, by their numbers: counted through its parts."""

    hashes: NDArray[np.uint64]
    """Of their keys, each another one."""
    starts: NDArray[np.int64]
    """Of each part, the number of its first image, and at the end how many there are."""

    @classmethod
    def of(cls, store: Store, progress: Progress) -> "Images":
        """Read the keys of all images."""
        counts = [part["rows"]["images"] for part in store.attributes["parts"]]
        numbers = progress(range(len(counts)), f"keys of {label(store)}")
        hashes = [text_hashes(store.open_part(number), "images/key") for number in numbers]
        return cls(
            _told_apart(np.concatenate([np.zeros(0, np.uint64), *hashes])),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        )

    def of_part(self, part: int) -> NDArray[np.uint64]:
        """Return the hashes of a part's images."""
        return self.hashes[self.starts[part] : self.starts[part + 1]]

    def rows(self, numbers: NDArray[np.int64], part: int) -> NDArray[np.int64]:
        """Return which rows of a part are among the images of these numbers, which ascend: int64 [N]."""
        first, last = np.searchsorted(numbers, self.starts[part : part + 2])
        rows: NDArray[np.int64] = numbers[first:last] - self.starts[part]
        return rows


@dataclass(frozen=True, slots=True)
class Meeting:
    """A part of one store and a part of another one that have images in common."""

    part_a: int
    part_b: int
    rows_a: NDArray[np.int64]
    """Of the common images, in the order of A: int64 [N]."""
    rows_b: NDArray[np.int64]
    """Of the same images."""


def find_common(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the hashes stand that are in both, none of them twice in one: int64 [N] each, in the order of A."""
    _, places_a, places_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    order = np.argsort(places_a)
    return places_a[order], places_b[order]


def meetings(
    a: Images, b: Images, common_a: NDArray[np.int64], common_b: NDArray[np.int64]
) -> Iterator[Meeting]:
    """Yield the parts that have images in common, in the order of A; of those images the numbers in both are given."""
    parts_b = np.searchsorted(b.starts, common_b, side="right") - 1
    for part_a in range(len(a.starts) - 1):
        first, last = np.searchsorted(common_a, a.starts[part_a : part_a + 2])
        within = np.arange(first, last)
        for part_b in np.unique(parts_b[within]).tolist():
            places = within[parts_b[within] == part_b]
            rows_a, rows_b = common_a[places] - a.starts[part_a], common_b[places] - b.starts[part_b]
            yield Meeting(part_a, part_b, rows_a, rows_b)


def text_hashes(part: Part, path: str) -> NDArray[np.uint64]:
    """Return a hash of each row of a column of text, such as "images/key": uint64 [N]."""
    offsets, text = part.column(f"{path}_offsets"), part.column(f"{path}_bytes")
    check_texts(path, offsets[:-1], offsets[1:])
    return hash_texts(text, offsets[:-1], offsets[1:])


def mask_hashes(part: Part, images: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of the key of each mask of a part, each another one: of the hash of its image and its object: uint64 [M]."""
    return _told_apart(_combined(images[part.column("masks/image")], text_hashes(part, "masks/object_id")))


def sample_hashes(part: Part, images: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of the key of each sample of a part, as `mask_hashes` does: of its frames and its object: uint64 [S]."""
    masks = part.column("samples/mask")
    objects = text_hashes(part, "masks/object_id")[masks[:, 0]]
    frames = images[part.column("masks/image")[masks]]
    return _told_apart(_combined(*frames.T, objects))


def sample_images(part: Part) -> NDArray[np.int64]:
    """Return the row of the image of each sample of a part, of pairs that of the first frame: int64 [S]."""
    images: NDArray[np.int64] = part.column("masks/image")[part.column("samples/mask")[:, 0]]
    return images


def phrase_hashes(part: Part) -> NDArray[np.uint64]:
    """Return a hash of all phrases of each mask of a part, in their order: uint64 [M]; 0 where there are none."""
    owners, texts = part.column("expressions/mask"), text_hashes(part, "expressions/text")
    hashes = np.zeros(part.rows["masks"], np.uint64)
    # Owners ascend: the place of a phrase among those of its mask.
    ranks = np.arange(len(owners)) - np.searchsorted(owners, owners)
    for rank in range(int(ranks.max(initial=-1)) + 1):
        chosen = ranks == rank
        hashes[owners[chosen]] = _combined(hashes[owners[chosen]], texts[chosen])
    return hashes


def _told_apart(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return hashes of which none is there twice: the second of the same ones is another, and so is the third."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    ranks = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    again = np.flatnonzero(ranks)
    told = hashes.copy()
    told[order[again]] = hash_columns(1, ordered[again].view(np.int64), ranks[again])
    return told


def _combined(*hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return hash_columns(0, *(column.view(np.int64) for column in map(np.ascontiguousarray, hashes)))
