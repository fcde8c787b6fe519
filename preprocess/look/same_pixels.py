"""Which pictures of two stores are equal in every pixel: by hashes of the originals, or as far as an equal view shows it."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import Root
from ..decode.images import OnDamage, decode_image
from ..decode.pixel_hash import pixel_hash
from ..errors import ConfigError, RecordError
from ..remote.path import open_root
from ..sources.base import Scene, Source
from ..sources.records import Frame
from ..store.columns import storable
from ..tensors.arithmetic import arithmetic_of
from ..tensors.engine import PILLOW
from ..verify.rederive import open_same_source

Digests: TypeAlias = NDArray[np.bytes_]
"""S32 [I] or S12 [I]: what two pictures have in common where they are equal, of each image of a store; empty where unknown."""

Progress: TypeAlias = Callable[[Iterable[int], str], Iterable[int]]
"""Wraps the numbers of the parts while they are read; told what is done."""

DIGEST = "S32"


class Pixels:
    """Hashes of the original pixels of one store, as they can be had; read once, when they are first asked for.

    Args:
        store: the store.
        roots: raw datasets; it is asked for hashes only if it has no column of them.
        progress: told of each part.
    """

    def __init__(self, store: Store, roots: Iterable[str], progress: Progress) -> None:
        self._store = store
        self._roots = list(roots)
        self._progress = progress
        self._digests: Digests | None = None

    @property
    def origin(self) -> str:
        """Where they come from without a look at the raw dataset, or at one that is given: "" where there is nothing."""
        if "hashes" in self._store.columns:
            return "the stored hashes"
        if self._roots:
            return "the raw dataset"
        return "the files that the store keeps" if "sources" in self._store.columns else ""

    @property
    def is_cheap(self) -> bool:
        """Whether no picture has to be decoded for them, or the user asked for just that."""
        return "hashes" in self._store.columns or bool(self._roots)

    def digests(self) -> Digests:
        """Return the hash of each image's pixels: S32 [I]; empty of one that can't be read any more.

        Raises:
            ConfigError: none of the raw datasets is the store's.
            StoreError: a part is damaged.
        """
        if self._digests is None:
            self._digests = np.zeros(self._store.count("images"), DIGEST)
            _fill(self._store, self._digests, self._reader(), self._progress, "pixels of")
        return self._digests

    def _reader(self) -> Callable[[int], Digests]:
        """Return what reads the hashes of a part."""
        if "hashes" in self._store.columns:
            return self._from_column
        return self._from_raw_files() if self._roots else self._from_kept_files

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
            found = np.zeros(len(rows), DIGEST)
            scenes: list[Scene] = []
            for place, scene in enumerate(root.scenes_of(number)[: part.rows["scenes"]]):
                # What was appended came from another listing of the dataset; only keys say which scene is which.
                at = scene if places is None else places.get(part.text("scenes/key", place))
                scenes += [] if at is None else [source[at]]
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
        raise ConfigError(
            f"no --source is the raw dataset of {self._store.name}: {'; '.join(reasons)}; give that one too, or none"
        )


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
    digests = np.zeros(store.count("images"), "S12")

    def read(number: int) -> Digests:
        part = store.part(number)
        array, sizes = part.array(f"images/{view}"), part.column("images/size")
        numbers = np.zeros((len(sizes), 3), "<u4")
        numbers[:, :2] = sizes
        numbers[:, 2] = [array.checksum(row) for row in range(len(sizes))]
        return numbers.reshape(-1).view("S12")

    _fill(store, digests, read, progress, f"checksums of {view} of")
    return digests


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


def label(store: Store) -> str:
    """Return the last step of a store's path or URL."""
    return store.name.rstrip("/").rpartition("/")[2]


def _row(store: Store, view: str, image: int) -> NDArray[Any]:
    part, row = store.place_of(image, "images")
    return store.part(part).array(f"images/{view}").row(row)


def _arithmetic(store: Store) -> str | None:
    return store.recipe.arithmetic or arithmetic_of(read_root(store).versions.get("pillow", ""))


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


def _fill(
    store: Store, out: NDArray[Any], read: Callable[[int], NDArray[Any]], progress: Progress, doing: str
) -> None:
    """Fill what is known of each image, part by part."""
    first = 0
    for number in progress(range(len(store.attributes["parts"])), f"{doing} {label(store)}"):
        values = read(number)
        out[first : first + len(values)] = values
        first += len(values)
