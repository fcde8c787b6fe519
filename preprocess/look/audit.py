"""Which pictures of a training set are in a validation set, too: equal, alike, or the same by their published ids."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ...loader.store import Store, open_store
from .perceptual import BITS, DISTANCE, Looks, look_at, nearest
from .same_pixels import Digests, Pixels, equal_rows, label, match, row_digests, shared_view
from .shared_ids import shared_id

ID_DIGEST = "S16"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How to look for pictures that are in both."""

    sources: tuple[str, ...] = ()
    """Raw datasets, for hashes of the pixels of those stores that have no column of them."""
    near: bool = True
    """Whether to look for pictures that are alike: every picture of all stores is read for that."""
    distance: int = DISTANCE
    """Up to how many of 256 bits differ between pictures that are alike."""
    examples: int = 3
    """How many pairs of keys to give for each way."""
    progress: bool = False
    """Whether to show progress on stderr."""


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture of the training set and the one that it is."""

    train: str
    """Key of the image."""
    against: str
    distance: int | None = None
    """How many of 256 bits differ, where the two were compared so."""
    mirrored: bool = False


class Found(msgspec.Struct, frozen=True):
    """What one way of looking found of a training set in a validation set."""

    how: str
    """What was compared, or why that is not known and what to do."""
    images: int | None = None
    """Images of the training set; None where it is not known."""
    scenes: int | None = None
    """Images, or videos, that they are of."""
    examples: list[Example] = []


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One training set and one validation set."""

    train: str
    against: str
    exact: Found
    id: Found
    near: Found
    """Those beyond the others."""
    unlike: Found
    """Those of one id that are neither equal nor alike: one of the two is perhaps not what its name says."""

    @property
    def is_blind(self) -> bool:
        """Whether no picture was looked at."""
        return self.exact.images is None and self.near.images is None


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    comparisons: list[Comparison]
    exact_or_id: list[str]
    """Keys of the training sets' scenes that are in a validation set, equal or by id."""
    near: list[str]
    """Keys of further scenes that have a picture like one of a validation set."""

    def lines(self) -> Iterator[str]:
        """Yield the report for people, line by line."""
        for one in self.comparisons:
            yield f"{one.train} against {one.against}"
            named = (("exact", one.exact), ("by id", one.id), ("near", one.near), ("unlike", one.unlike))
            for name, found in named:
                if name != "unlike" or found.images:
                    yield from _lines(name, found)
        total = f"{len(self.exact_or_id):,} scenes of the training set in a validation set"
        yield f"{total}, and {len(self.near):,} more that have a picture like one of it"


def audit(
    train: Sequence[Store | str | Path],
    against: Sequence[Store | str | Path],
    options: AuditOptions | None = None,
) -> AuditReport:
    """Look for pictures of training sets in validation sets.

    It takes about 150 bytes of memory for each image of the larger store.

    Args:
        train: the training sets, open or their paths or URLs.
        against: the validation sets, likewise.
        options: how to look.

    Raises:
        ConfigError: a raw dataset is that of no store, or a package is missing.
        StoreError: a store is missing, or damaged.
    """
    return _Audit(
        list(map(open_store, train)), list(map(open_store, against)), options or AuditOptions()
    ).run()


class _Audit:
    def __init__(self, train: Sequence[Store], against: Sequence[Store], options: AuditOptions) -> None:
        self._train = train
        self._against = [_Side(store, options) for store in against]
        self._options = options

    def run(self) -> AuditReport:
        comparisons: list[Comparison] = []
        # In the order of the stores; a key that comes twice is one scene for whoever leaves it out.
        sure, alike = dict[str, None](), dict[str, None]()
        for store in self._train:
            side = _Side(store, self._options)
            is_sure = np.zeros(side.num_images, bool)
            is_alike = np.zeros(side.num_images, bool)
            for other in self._against:
                comparison, found, near = self._compare(side, other)
                comparisons.append(comparison)
                is_sure[found] = True
                is_alike[near] = True
            sure |= dict.fromkeys(side.scene_keys(np.flatnonzero(is_sure)))
            alike |= dict.fromkeys(side.scene_keys(np.flatnonzero(is_alike)))
        return AuditReport(
            comparisons=comparisons, exact_or_id=list(sure), near=[key for key in alike if key not in sure]
        )

    def _compare(
        self, train: "_Side", against: "_Side"
    ) -> tuple[Comparison, NDArray[np.int64], NDArray[np.int64]]:
        """Return what was found, and which images of the training set are in the other, for sure and perhaps."""
        exact, how = _exact_pairs(train, against)
        ids = match(train.ids(), against.ids())
        sure = np.union1d([] if exact is None else exact[:, 0], ids[:, 0]).astype(np.int64)
        near, distances, mirrored, near_how = self._near_pairs(train, against)
        beyond = ~np.isin(near[:, 0], sure)
        comparison = Comparison(
            train=train.store.name,
            against=against.store.name,
            exact=Found(how) if exact is None else self._found(how, train, against, exact),
            id=self._found(_describe_ids(train, against, ids), train, against, ids),
            near=(
                self._found(near_how, train, against, near[beyond], distances[beyond], mirrored[beyond])
                if self._options.near
                else Found(near_how)
            ),
            unlike=self._unlike(train, against, exact, ids, near),
        )
        return comparison, sure, near[beyond, 0]

    def _near_pairs(
        self, train: "_Side", against: "_Side"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], str]:
        """Return pairs of images that are alike, the most alike first, with their distances and whether mirrored; and how."""
        if not self._options.near:
            return np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(0, bool), "not asked for"
        first, second = train.looks(mirrored=False), against.looks(mirrored=True)
        found = nearest(first, second, lambda blocks: self._options_bar(blocks, "pairs that are alike"))
        images = np.flatnonzero(found.distance <= self._options.distance)
        images = images[np.argsort(found.distance[images], kind="stable")]
        how = (
            f"up to {self._options.distance} of {BITS} bits of their perceptual hashes differ, as they are or mirrored, by "
            f"{' and '.join(dict.fromkeys((first.view, second.view)))}"
        )
        if plain := int(first.plain.sum()) + int(second.plain.sum()):
            how += f"; {plain:,} pictures are too plain to be compared"
        pairs = np.stack([images, found.place[images]], axis=1)
        return pairs, found.distance[images], found.is_mirrored[images], how

    def _options_bar(self, blocks: Iterable[int], doing: str) -> Iterable[int]:
        return _bar(self._options, blocks, doing)

    def _found(
        self,
        how: str,
        train: "_Side",
        against: "_Side",
        pairs: NDArray[np.int64],
        distances: NDArray[np.int64] | None = None,
        mirrored: NDArray[np.bool_] | None = None,
    ) -> Found:
        examples = [
            Example(
                train.key(one),
                against.key(other),
                None if distances is None else int(distances[place]),
                False if mirrored is None else bool(mirrored[place]),
            )
            for place, (one, other) in enumerate(pairs[: self._options.examples].tolist())
        ]
        return Found(how, len(pairs), len(train.scenes(pairs[:, 0])), examples)

    def _unlike(
        self,
        train: "_Side",
        against: "_Side",
        exact: NDArray[np.int64] | None,
        ids: NDArray[np.int64],
        near: NDArray[np.int64],
    ) -> Found:
        """Return which pictures have one id and don't look so; of videos it is no wonder: their frames are others."""
        if train.videos or against.videos or not self._options.near:
            return Found("not compared")
        seen = near[:, 0] if exact is None else np.union1d(near[:, 0], exact[:, 0])
        unlike = ids[~np.isin(ids[:, 0], seen)]
        return self._found("of one id, but neither equal nor alike: look at these", train, against, unlike)


class _Side:
    """One store, and what is known of its pictures, each read once when it is first asked for."""

    def __init__(self, store: Store, options: AuditOptions) -> None:
        self.store = store
        self.num_images = store.count("images")
        self.videos = store.paired or bool(store.attributes.get("empty_frames"))
        self._options = options
        self.pixels = Pixels(store, options.sources, self._bar)
        self._rows: dict[str, Digests] = {}
        self._ids: Digests | None = None
        self._looks: Looks | None = None

    def rows(self, view: str) -> Digests:
        """Return what equal rows of a view have in common."""
        if view not in self._rows:
            self._rows[view] = row_digests(self.store, view, self._bar)
        return self._rows[view]

    def looks(self, *, mirrored: bool) -> Looks:
        """Return how the pictures look, with the first call also mirrored or not."""
        if self._looks is None:
            self._looks = look_at(self.store, self._bar, mirrored=mirrored)
        return self._looks

    def ids(self) -> Digests:
        """Return a digest of each image's shared id, empty where it has none."""
        if self._ids is None:
            self._ids = np.zeros(self.num_images, ID_DIGEST)
            image = 0
            for number in self._bar(
                range(len(self.store.attributes["parts"])), f"names of {label(self.store)}"
            ):
                part = self.store.tables(number)
                for row in range(part.rows["images"]):
                    if found := shared_id(self.store.dataset_type, part.text("images/path", row)):
                        self._ids[image] = blake2b(found.encode(), digest_size=16).digest()
                    image += 1
        return self._ids

    def shared_id(self, image: int) -> str:
        part, row = self.store.place_of(image, "images")
        return shared_id(self.store.dataset_type, self.store.tables(part).text("images/path", row))

    def key(self, image: int) -> str:
        part, row = self.store.place_of(image, "images")
        return self.store.tables(part).text("images/key", row)

    def scenes(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the scenes that images are of."""
        places = [self.store.place_of(image, "images") for image in images.tolist()]
        numbers = [self.store.tables(part).column("images/scene")[row] for part, row in places]
        return np.unique(np.array(numbers, np.int64))

    def scene_keys(self, images: NDArray[np.int64]) -> Iterator[str]:
        """Yield the keys of the scenes that images are of, as a `KeySet` has them."""
        for image in images.tolist():
            key = self.key(image)
            yield key.rpartition("/")[0] or key if self.videos else key

    def _bar(self, parts: Iterable[int], doing: str) -> Iterable[int]:
        return _bar(self._options, parts, doing)


def _exact_pairs(train: _Side, against: _Side) -> tuple[NDArray[np.int64] | None, str]:
    """Return pairs of images that are equal, int64 [N, 2], None where nothing can be compared; and how, or what to do."""
    sides = (train.pixels, against.pixels)
    views = shared_view(train.store, against.store)
    has_pixels = all(pixels.origin for pixels in sides)
    if has_pixels and (views is None or all(pixels.is_cheap for pixels in sides)):
        pairs = match(train.pixels.digests(), against.pixels.digests())
        origins = " and ".join(dict.fromkeys(pixels.origin for pixels in sides))
        how = f"equal in every pixel of the originals, by {origins}"
        if lost := sum(int((pixels.digests() == b"").sum()) for pixels in sides):
            how += f"; {lost:,} pictures are not in the raw dataset any more"
        return pairs, how
    if views is None:
        return None, (
            "not known: not both have hashes of their pixels, and no view is made by the same rules in both; convert with "
            "--set store.hashes=true, or give the raw datasets with --source"
        )
    pairs = match(train.rows(views[0]), against.rows(views[1]))
    pairs = pairs[equal_rows(train.store, against.store, views, pairs)]
    height, width = train.store.recipe.images[views[0]].size
    return pairs, (
        f"originals of one size with equal rows of {views[0]}: the same picture as far as {height} x {width} pixels show it"
    )


def _describe_ids(train: _Side, against: _Side, pairs: NDArray[np.int64]) -> str:
    """Say what kinds of ids were found in both, or how many images of each store have one."""
    if len(pairs):
        kinds = Counter(train.shared_id(image).rpartition(" ")[0] for image in pairs[:, 0].tolist())
        return ", ".join(f"{kind}: {count:,}" for kind, count in kinds.items())
    known, others = (int((side.ids() != b"").sum()) for side in (train, against))
    return f"the names of {known:,} and {others:,} tell an id"


def _bar(options: AuditOptions, numbers: Iterable[int], doing: str) -> Iterable[int]:
    bar: Iterable[int] = tqdm(numbers, desc=doing, disable=not options.progress, leave=False)
    return bar


def _lines(name: str, found: Found) -> Iterator[str]:
    if found.images is None:
        yield f"  {name:<7} {found.how}"
        return
    more = "more " if name == "near" else ""
    scenes = "" if found.scenes == found.images else f" of {found.scenes:,} videos"
    yield f"  {name:<7} {found.images:,} {more}images{scenes} ({found.how})"
    for example in found.examples:
        bits = "" if example.distance is None else f", {example.distance} bits differ"
        turned = ", mirrored" if example.mirrored else ""
        yield f"            {example.train} is {example.against}{bits}{turned}"
