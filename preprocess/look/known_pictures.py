"""What is known of the pictures of one store, each thing read once, when it is first asked for."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import Root
from ...loader.store import Store
from ..decode.images import OnDamage, decode_image, pixel_hash
from ..errors import ConfigError, RecordError
from ..remote.path import open_root
from ..sources.base import Source
from ..sources.records import Frame
from ..store.columns import storable
from ..tensors.arithmetic import arithmetic_of
from ..tensors.engine import PILLOW
from ..verify.rederive import open_same_source
from .perceptual import Looks, look_at
from .progress import Progress, label
from .shared_ids import shared_id

Digests: TypeAlias = NDArray[np.bytes_]
"""Strings of one length [I]: what two images have in common where they are equal, empty where that is not known."""

PIXEL_DIGEST = "S32"


class KnownPictures:
    """The pictures of a store, by their numbers in it.

    One of the raw datasets, whose roots are given, is to be the store's where it has no column of hashes. Whatever reads parts
    raises `StoreError` where one is damaged.
    """

    def __init__(self, store: Store, roots: Sequence[str], progress: Progress) -> None:
        self.store = store
        self.count = store.count("images")
        self.are_frames = store.paired or bool(store.attributes.get("empty_frames"))
        """Whether they are of videos, which are their scenes."""
        self._roots = roots
        self._progress = progress
        self._rows: dict[str, Digests] = {}
        self._looks: Looks | None = None

    @property
    def origin(self) -> str:
        """What `pixels` are of, in words, "" where there is nothing."""
        if "hashes" in self.store.columns:
            return "the stored hashes"
        if self._roots:
            return "the raw dataset"
        return "the files that the store keeps" if "sources" in self.store.columns else ""

    @property
    def has_cheap_pixels(self) -> bool:
        """Whether no picture has to be decoded for `pixels`, unless the user asked for just that."""
        return "hashes" in self.store.columns or bool(self._roots)

    @cached_property
    def pixels(self) -> Digests:
        """The hash of each original's pixels, from the best that there is: S32 [I]; empty of one that can't be read any more.

        Raises:
            ConfigError: none of the raw datasets is the store's.
        """
        read: Callable[[int], Digests] = self._stored_hashes
        if "hashes" not in self.store.columns:
            read = self._hashes_of_raw_files() if self._roots else self._hashes_of_kept_files
        return self._of_each(PIXEL_DIGEST, read, "pixels of")

    def _stored_hashes(self, number: int) -> Digests:
        return self.store.tables(number).column("images/pixel_sha256").reshape(-1).view(PIXEL_DIGEST)

    def _hashes_of_kept_files(self, number: int) -> Digests:
        part = self.store.part(number)
        found = np.zeros(part.rows["images"], PIXEL_DIGEST)
        for row in range(len(found)):
            try:
                found[row] = pixel_hash(decode_image(part.bytes_of("images/source", row)).image)
            except RecordError as err:
                raise part.damage("images/source_bytes", row, err.reason) from err
        return found

    def _hashes_of_raw_files(self) -> Callable[[int], Digests]:
        """Return what reads the hashes of a part from the raw dataset that the store was made from."""
        root, source = self._open_source()
        damaged: OnDamage = root.job["source"].get("damaged", "reject")
        places = (
            {storable(source[number].key): number for number in range(len(source))} if root.appended else None
        )

        def read(number: int) -> Digests:
            part = self.store.tables(number)
            rows = {part.text("images/key", row): row for row in range(part.rows["images"])}
            found = np.zeros(part.rows["images"], PIXEL_DIGEST)
            for place, scene in enumerate(root.scenes_of(number)[: part.rows["scenes"]]):
                # What was appended came from another listing of the dataset; only keys say which scene is which.
                at = scene if places is None else places.get(part.text("scenes/key", place))
                if at is None or at >= len(source):
                    continue
                for record in source[at].read(PILLOW.decoder(damaged)):
                    if isinstance(record, Frame) and (row := rows.get(storable(record.key))) is not None:
                        found[row] = pixel_hash(record.image)
            return found

        return read

    def _open_source(self) -> tuple[Root, Source]:
        root, reasons = self._read_root(), []
        for folder in self._roots:
            try:
                return root, open_same_source(root, open_root(folder))
            except SourceError as err:
                reasons.append(str(err))
            except ConfigError as err:
                name = self.store.name
                raise StoreError(f"the job of {name} can't be read ({err}): run `resizeonce verify`") from err
        raise ConfigError(
            f"no --source is the raw dataset of {self.store.name}: {'; '.join(reasons)}; give that one too, or none"
        )

    def _read_root(self) -> Root:
        """Return all root attributes, also those that reading samples does without."""
        try:
            return msgspec.convert(self.store.attributes, Root)
        except msgspec.ValidationError as err:
            raise StoreError(
                f"the attributes of {self.store.name} are damaged ({err}): run `resizeonce verify`"
            ) from err

    @cached_property
    def arithmetic(self) -> str | None:
        """Whose of Pillow's versions resized the images; None where that is not known."""
        return self.store.recipe.arithmetic or arithmetic_of(self._read_root().versions.get("pillow", ""))

    def rows(self, view: str) -> Digests:
        """Return the size of each original, and the checksum that its row of a view is stored with: S12 [I].

        A checksum is read without the row, a page of each row in place of up to megabytes.
        """

        def read(number: int) -> Digests:
            part = self.store.part(number)
            array, sizes = part.array(f"images/{view}"), part.column("images/size")
            numbers = np.zeros((len(sizes), 3), "<u4")
            numbers[:, :2] = sizes
            numbers[:, 2] = [array.checksum(row) for row in range(len(sizes))]
            return numbers.reshape(-1).view("S12")

        if view not in self._rows:
            self._rows[view] = self._of_each("S12", read, f"checksums of {view} of")
        return self._rows[view]

    def row(self, view: str, image: int) -> NDArray[Any]:
        """Return the row of a view of one, [3, H, W], as it is stored."""
        part, row = self.store.row_of(image, "images")
        return self.store.part(part).array(f"images/{view}").row(row)

    def looks(self, *, mirrored: bool) -> Looks:
        """Return how they look, and where the first call says so, mirrored as well."""
        if self._looks is None:
            self._looks = look_at(self.store, self._progress, mirrored=mirrored)
        return self._looks

    @cached_property
    def ids(self) -> Digests:
        """A digest of each one's shared id: S16 [I], empty of one that has none."""

        def read(number: int) -> Digests:
            part = self.store.tables(number)
            digests = np.zeros(part.rows["images"], "S16")
            for row in range(len(digests)):
                if found := shared_id(self.store.dataset_type, part.text("images/path", row)):
                    digests[row] = blake2b(found.encode(), digest_size=16).digest()
            return digests

        return self._of_each("S16", read, "names of")

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

    def _of_each(self, dtype: str, read: Callable[[int], Digests], doing: str) -> Digests:
        """Return what `read` gives of each part, one after the other."""
        numbers = range(len(self.store.attributes["parts"]))
        found = [read(number) for number in self._progress(numbers, f"{doing} {label(self.store)}")]
        return np.concatenate([np.zeros(0, dtype), *found])
