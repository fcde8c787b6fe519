"""Which pictures of a training set are in a validation set, too: equal, alike, or the same by their published ids."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.store import Store, open_store
from .audit_report import AuditReport, Comparison, Example, Found
from .known_pictures import KnownPictures
from .perceptual import BITS, DISTANCE, nearest, open_hasher
from .progress import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How to look for pictures that are in both."""

    sources: tuple[str, ...] = ()
    """Raw datasets, for hashes of the pixels of those stores that have no column of them."""
    near: bool = True
    """Whether to look for pictures that are alike: one view of every picture is read for that."""
    distance: int = DISTANCE
    """Up to how many of 256 bits differ between pictures that are alike."""
    examples: int = 3
    """How many pairs of keys to give for each way."""
    progress: Progress = silent
    """Told of each part that is read, and of what is compared."""


class Pairs(NamedTuple):
    """Pictures of a training set, each with one of a validation set, as one way of looking pairs them."""

    how: str
    """What was compared, or why nothing could be, and what to do."""
    images: NDArray[np.int64] | None
    """int64 [N, 2]: their numbers in both stores; None where nothing was compared."""
    distance: NDArray[np.int64] | None = None
    """int64 [N]: how many bits differ, of pictures that are alike; they are in its order."""
    is_mirrored: NDArray[np.bool_] | None = None
    """bool [N], likewise."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Those of the training set: int64 [N]."""
        return np.zeros(0, np.int64) if self.images is None else self.images[:, 0]

    def beyond(self, others: NDArray[np.int64]) -> "Pairs":
        """Return those whose picture of the training set is not among others."""
        if self.images is None:
            return self
        kept = ~np.isin(self.train, others)
        distance = None if self.distance is None else self.distance[kept]
        is_mirrored = None if self.is_mirrored is None else self.is_mirrored[kept]
        return Pairs(self.how, self.images[kept], distance, is_mirrored)


def audit(
    train: Sequence[Store | str | Path],
    against: Sequence[Store | str | Path],
    options: AuditOptions | None = None,
) -> AuditReport:
    """Look for pictures of training sets in validation sets.

    It takes about 200 bytes of memory for each image of the validation sets and of one training set.

    Raises:
        ConfigError: a raw dataset is that of no store, or a package is missing.
        StoreError: a store is missing, or damaged.
    """
    options = options or AuditOptions()
    if options.near:
        # Before hours of reading: its package may be missing.
        open_hasher()
    stores = [open_store(source) for source in train]
    others = [KnownPictures(open_store(source), options.sources, options.progress) for source in against]
    comparisons: list[Comparison] = []
    # In the order of the stores. A key that comes twice is one scene for whoever leaves it out.
    sure, alike = dict[str, None](), dict[str, None]()
    for store in stores:
        pictures = KnownPictures(store, options.sources, options.progress)
        is_sure, is_alike = np.zeros((2, pictures.count), bool)
        for other in others:
            exact, ids = _exact_pairs(pictures, other), _id_pairs(pictures, other)
            found = np.union1d(exact.train, ids.train)
            near = _near_pairs(pictures, other, options)
            beyond = near.beyond(found)
            is_sure[found] = True
            is_alike[beyond.train] = True
            unlike = _unlike(pictures, other, ids, exact, near)
            described = [
                _describe(pairs, pictures, other, options.examples) for pairs in (exact, ids, beyond, unlike)
            ]
            fields = dict(zip(("exact", "id", "near", "unlike"), described, strict=True))
            comparisons.append(Comparison(train=store.name, against=other.store.name, **fields))
        sure |= dict.fromkeys(pictures.scene_keys(np.flatnonzero(is_sure)))
        alike |= dict.fromkeys(pictures.scene_keys(np.flatnonzero(is_alike)))
    near_keys = [key for key in alike if key not in sure]
    return AuditReport(comparisons=comparisons, exact_or_id=list(sure), near=near_keys)


def _exact_pairs(train: KnownPictures, against: KnownPictures) -> Pairs:
    """Pair pictures that are equal in every pixel, or as far as a view shows it."""
    both, views = (train, against), shared_view(train, against)
    if all(one.origin for one in both) and (views is None or all(one.has_cheap_pixels for one in both)):
        pairs = match(train.pixels, against.pixels)
        origins = " and ".join(dict.fromkeys(one.origin for one in both))
        how = f"equal in every pixel of the originals, by {origins}"
        if lost := sum(int((one.pixels == b"").sum()) for one in both):
            how += f"; {lost:,} pictures are not in the raw dataset any more"
        return Pairs(how, pairs)
    if views is None:
        how = (
            "not known: not both have hashes of their pixels, and no view is made by the same rules in both; convert with "
            "--set store.hashes=true, or give the raw datasets with --source"
        )
        return Pairs(how, None)
    pairs = match(train.rows(views[0]), against.rows(views[1]))
    pairs = pairs[equal_rows(train, against, views, pairs)]
    height, width = train.store.recipe.images[views[0]].size
    how = f"originals of one size with equal rows of {views[0]}: the same picture as far as {height} x {width} pixels show it"
    return Pairs(how, pairs)


def shared_view(train: KnownPictures, against: KnownPictures) -> tuple[str, str] | None:
    """Return the names, in both, of the largest image view that two stores make by the same rules, None where there is none."""
    if train.arithmetic != against.arithmetic:
        return None
    same = [
        (view.fit != "crop", view.size[0] * view.size[1], (name, other))
        for name, view in train.store.recipe.images.items()
        for other, its in against.store.recipe.images.items()
        if its == view
    ]
    return max(same)[2] if same else None


def equal_rows(
    train: KnownPictures, against: KnownPictures, views: tuple[str, str], pairs: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which pairs of images have equal rows of a view, byte for byte: bool [N] of int64 [N, 2]."""
    equal = [
        train.row(views[0], one).tobytes() == against.row(views[1], other).tobytes()
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


def _id_pairs(train: KnownPictures, against: KnownPictures) -> Pairs:
    """Pair pictures, or frames of videos, that have one published id by the names of their files."""
    pairs = match(train.ids, against.ids)
    if len(pairs):
        kinds = Counter(map(train.kind_of_id, pairs[:, 0].tolist()))
        return Pairs(", ".join(f"{kind}: {count:,}" for kind, count in kinds.items()), pairs)
    known, others = (int((side.ids != b"").sum()) for side in (train, against))
    return Pairs(f"the names of {known:,} and {others:,} tell an id", pairs)


def _near_pairs(train: KnownPictures, against: KnownPictures, options: AuditOptions) -> Pairs:
    """Pair each picture with the one that it is most like, where it is like one, the most alike first."""
    if not options.near:
        return Pairs("not asked for", None)
    looks = train.looks(mirrored=False), against.looks(mirrored=True)
    found = nearest(*looks, options.progress)
    images = np.flatnonzero(found.distance <= options.distance)
    images = images[np.argsort(found.distance[images], kind="stable")]
    views = list(dict.fromkeys(look.view for look in looks))
    how = (
        f"up to {options.distance} of {BITS} bits of their perceptual hashes differ, as they are or mirrored, "
        f"by {' and '.join(views)}"
    )
    for side, look in zip((train, against), looks, strict=True):
        if side.store.recipe.images[look.view].fit == "crop":
            how += f"; of {side.store.name} that is the middle of each picture alone"
    if plain := sum(int(look.plain.sum()) for look in looks):
        how += f"; {plain:,} pictures are too plain to be compared"
    pairs = np.stack([images, found.place[images]], axis=1)
    return Pairs(how, pairs, found.distance[images], found.is_mirrored[images])


def _unlike(train: KnownPictures, against: KnownPictures, ids: Pairs, exact: Pairs, near: Pairs) -> Pairs:
    """Return the pairs of one id that don't look so. Of one video two stores may have other frames."""
    if train.are_frames or against.are_frames or near.images is None:
        return Pairs("not compared", None)
    others = ids.beyond(np.union1d(exact.train, near.train))
    return others._replace(how="of one id, but neither equal nor alike: look at these")


def _describe(pairs: Pairs, train: KnownPictures, against: KnownPictures, num_examples: int) -> Found:
    if pairs.images is None:
        return Found(pairs.how)
    examples = [
        Example(
            train.key(one),
            against.key(other),
            None if pairs.distance is None else int(pairs.distance[place]),
            pairs.is_mirrored is not None and bool(pairs.is_mirrored[place]),
        )
        for place, (one, other) in enumerate(pairs.images[:num_examples].tolist())
    ]
    scenes = len(set(train.scene_keys(pairs.train)))
    return Found(pairs.how, len(pairs.images), scenes, examples)
