"""What is known of the pictures of one store, each thing read once, when it is first asked for."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ...loader.store import Store
from .original_pixels import Digests, OriginalPixels
from .perceptual import Looks, look_at
from .progress import Progress, read_images
from .same_pixels import row_digests
from .shared_ids import shared_id


class KnownPictures:
    """The pictures of a store, by their numbers in it.

    Args:
        store: the store.
        sources: raw datasets, one of which is perhaps the store's.
        progress: told of each part.
    """

    def __init__(self, store: Store, sources: Iterable[str], progress: Progress) -> None:
        self.store = store
        self.count = store.count("images")
        self.are_frames = store.paired or bool(store.attributes.get("empty_frames"))
        """Whether they are of videos, which are their scenes."""
        self.pixels = OriginalPixels(store, sources, progress)
        self._progress = progress
        self._rows: dict[str, Digests] = {}
        self._looks: Looks | None = None

    def rows(self, view: str) -> Digests:
        """Return what equal rows of a view have in common, as `row_digests` does."""
        if view not in self._rows:
            self._rows[view] = row_digests(self.store, view, self._progress)
        return self._rows[view]

    def looks(self, *, mirrored: bool) -> Looks:
        """Return how they look, and where the first call says so, mirrored as well."""
        if self._looks is None:
            self._looks = look_at(self.store, self._progress, mirrored=mirrored)
        return self._looks

    @cached_property
    def ids(self) -> Digests:
        """A digest of each one's shared id: S16 [I], empty of one that has none."""
        return read_images(self.store, "S16", self._ids_in, self._progress, "names of")

    def _ids_in(self, number: int) -> Digests:
        """Read the ids of a part."""
        part = self.store.tables(number)
        digests = np.zeros(part.rows["images"], "S16")
        for row in range(len(digests)):
            if found := shared_id(self.store.dataset_type, part.text("images/path", row)):
                digests[row] = blake2b(found.encode(), digest_size=16).digest()
        return digests

    def kind_of_id(self, image: int) -> str:
        """Return of what kind the shared id of one is, such as "COCO picture"."""
        return shared_id(self.store.dataset_type, self._text("images/path", image)).rpartition(" ")[0]

    def key(self, image: int) -> str:
        """Return the key of one."""
        return self._text("images/key", image)

    def scene_keys(self, images: NDArray[np.int64]) -> Iterator[str]:
        """Yield the key of each one's scene, as a `KeySet` has it."""
        for image in images.tolist():
            key = self.key(image)
            yield key.rpartition("/")[0] or key if self.are_frames else key

    def _text(self, path: str, image: int) -> str:
        part, row = self.store.row_of(image, "images")
        return self.store.tables(part).text(path, row)
