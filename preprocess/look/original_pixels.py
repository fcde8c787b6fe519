"""Hashes of the original pixels of a store's images: its own, or of its raw dataset or the files it keeps, decoded once more."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import Root
from ...loader.store import Store
from ..decode.images import OnDamage, decode_image, pixel_hash
from ..errors import ConfigError, RecordError
from ..remote.path import open_root
from ..sources.base import Scene, Source
from ..sources.records import Frame
from ..store.columns import storable
from ..tensors.engine import PILLOW
from ..verify.rederive import open_same_source
from .progress import Progress, read_images

Digests: TypeAlias = NDArray[np.bytes_]
"""Strings of one length [I]: what two images have in common where they are equal, empty where that is not known."""

DIGEST = "S32"


class OriginalPixels:
    """Hashes of the original pixels of a store's images, from the best that there is; read when they are first asked for.

    Args:
        store: the store: its column of hashes is taken where it has one.
        roots: raw datasets, one of which is to be the store's where it has no such column.
        progress: told of each part.
    """

    def __init__(self, store: Store, roots: Iterable[str], progress: Progress) -> None:
        self._store = store
        self._roots = list(roots)
        self._progress = progress

    @property
    def origin(self) -> str:
        """What they are of, in words, "" where there is nothing."""
        if "hashes" in self._store.columns:
            return "the stored hashes"
        if self._roots:
            return "the raw dataset"
        return "the files that the store keeps" if "sources" in self._store.columns else ""

    @property
    def is_cheap(self) -> bool:
        """Whether no picture has to be decoded for them, unless the user asked for just that."""
        return "hashes" in self._store.columns or bool(self._roots)

    @cached_property
    def digests(self) -> Digests:
        """The hash of each image's pixels: S32 [I]; empty of one that can't be read any more.

        Raises:
            ConfigError: none of the raw datasets is the store's.
            StoreError: a part is damaged.
        """
        read: Callable[[int], Digests] = self._from_column
        if "hashes" not in self._store.columns:
            read = self._from_raw_files() if self._roots else self._from_kept_files
        return read_images(self._store, DIGEST, read, self._progress, "pixels of")

    def _from_column(self, number: int) -> Digests:
        return self._store.tables(number).column("images/pixel_sha256").reshape(-1).view(DIGEST)

    def _from_kept_files(self, number: int) -> Digests:
        part = self._store.part(number)
        found = np.zeros(part.rows["images"], DIGEST)
        for row in range(len(found)):
            try:
                found[row] = pixel_hash(decode_image(part.bytes_of("images/source", row)).image)
            except RecordError as err:
                raise part.damage("images/source_bytes", row, err.reason) from err
        return found

    def _from_raw_files(self) -> Callable[[int], Digests]:
        """Return what reads the hashes of a part from the raw dataset that the store was made from."""
        root, source = self._open_source()
        damaged: OnDamage = root.job["source"].get("damaged", "reject")
        places = (
            {storable(source[number].key): number for number in range(len(source))} if root.appended else None
        )

        def read(number: int) -> Digests:
            part = self._store.tables(number)
            rows = {part.text("images/key", row): row for row in range(part.rows["images"])}
            found = np.zeros(part.rows["images"], DIGEST)
            scenes: list[Scene] = []
            for place, scene in enumerate(root.scenes_of(number)[: part.rows["scenes"]]):
                # What was appended came from another listing of the dataset; only keys say which scene is which.
                at = scene if places is None else places.get(part.text("scenes/key", place))
                scenes += [] if at is None or at >= len(source) else [source[at]]
            for one in scenes:
                for record in one.read(PILLOW.decoder(damaged)):
                    if isinstance(record, Frame) and (row := rows.get(storable(record.key))) is not None:
                        found[row] = pixel_hash(record.image)
            return found

        return read

    def _open_source(self) -> tuple[Root, Source]:
        root, reasons = read_root(self._store), []
        for folder in self._roots:
            try:
                return root, open_same_source(root, open_root(folder))
            except SourceError as err:
                reasons.append(str(err))
            except ConfigError as err:
                name = self._store.name
                raise StoreError(f"the job of {name} can't be read ({err}): run `resizeonce verify`") from err
        raise ConfigError(
            f"no --source is the raw dataset of {self._store.name}: {'; '.join(reasons)}; give that one too, or none"
        )


def read_root(store: Store) -> Root:
    """Return all root attributes of a store.

    Raises:
        StoreError: what reading samples does without is no such thing.
    """
    try:
        return msgspec.convert(store.attributes, Root)
    except msgspec.ValidationError as err:
        raise StoreError(
            f"the attributes of {store.name} are damaged ({err}): run `resizeonce verify`"
        ) from err
