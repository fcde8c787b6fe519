"""Two stores compared: how they were made, which samples they have, and by how much those differ.

Keys and tables are compared of everything; pixels of images that are drawn with a seed, or of all of them. Of stores at paths
all that is read on the way is checked, also where both roots list one digest; of one at a URL, whose parts are fetched whole,
parts with the same digest are taken as the same, and nothing of them is read but the keys.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.metadata import read_attributes
from ...loader.format.recipe import ImageView, read_recipe
from ...loader.part import Part
from ..store.root import read_rejects
from ..store.root_files import root_folder
from .diff_rows import ColumnSet, open_rows
from .differences import EXAMPLES, Diff, Fact, Sides
from .matching import Images, Meeting, find_common, mask_hashes, meetings, sample_hashes, sample_images
from .progress import Progress, silent

SAMPLE = 1000
"""Images whose pixels are compared unless more are asked for: of two stores of the default recipe 7.5 GB are read."""

NOT_DELIVERED = frozenset({"path"})
"""Columns that no batch tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOptions:
    """How much is compared."""

    sample: int | None = SAMPLE
    """How many images' pixels; None for all."""
    seed: int = 0
    """Which images."""
    progress: Progress = silent
    """Told of each part that is read."""


def diff_stores(a: str | Path, b: str | Path, options: DiffOptions | None = None) -> Diff:
    """Return what two stores, at paths or URLs, differ in.

    Raises:
        StoreError: one of them can't be read, or is damaged where it is read.
    """
    options = options or DiffOptions()
    stores = Store(a), Store(b)
    found = Diff(a=stores[0].name, b=stores[1].name)
    with root_folder(a) as root_a, root_folder(b) as root_b:
        facts = _described(read_attributes(root_a)), _described(read_attributes(root_b))
        found.rejects = _compare_rejects(root_a, root_b)
    found.made = _differing_facts(*facts, stores)
    delivered = {*_delivered(stores[0]), *_delivered(stores[1])}
    found.delivered = [fact for fact in found.made if fact.name in delivered]
    _Comparison(stores, found, options).run()
    is_same = found.images.is_same and found.samples.is_same and found.rejects.is_same
    tables = [*found.views, *(rows for rows in found.columns if rows.name not in NOT_DELIVERED)]
    differs = any(rows.differing for rows in tables)
    found.is_same = is_same and not (differs or found.delivered or found.uncompared)
    return found


def _described(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what root attributes say of how a store was made and of what is in it, by names such as "recipe.masks.size"."""
    job = {
        name: value for name, value in attributes["job"].items() if name not in ("format_version", "recipe")
    }
    recipe = read_recipe(attributes["recipe"])
    views = {name: msgspec.to_builtins(view) for name, view in recipe.views.items()}
    root = ("format_version", "dataset", "dataset_type", "paired", "fingerprint")
    facts = {
        "root": {name: attributes[name] for name in root}
        | {"columns": attributes.get("columns", []), "appended": len(attributes["appended"])},
        "recipe": {"name": recipe.name, "arithmetic": recipe.arithmetic} | views,
        "versions": attributes["versions"],
        "job": job,
        "totals": attributes["totals"],
    }
    return dict(_flat("", facts))


def _delivered(store: Store) -> Iterator[str]:
    """Yield which facts batches show, beside the rows and what is told with them."""
    yield from ("root.dataset_type", "root.paired", "root.columns")
    for name, view in store.recipe.views.items():
        fields = ["role"]
        if isinstance(view, ImageView):
            fields = ["values", *(("mean", "std", "scale") if view.values == "normalized" else ())]
        yield from (f"recipe.{name}.{field}" for field in fields)


def _flat(prefix: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _differing_facts(a: dict[str, Any], b: dict[str, Any], stores: tuple[Store, Store]) -> list[Fact]:
    """Return what two descriptions say differently; nothing of a view that one lacks."""
    lonely = stores[0].recipe.views.keys() ^ stores[1].recipe.views.keys()
    return [
        Fact(name, a.get(name), b.get(name))
        for name in a | b
        if a.get(name) != b.get(name) and not (name.startswith("recipe.") and name.split(".")[1] in lonely)
    ]


def _compare_rejects(root_a: Path, root_b: Path) -> Sides:
    """Return which rejects only one store lists: other ones, or for another reason."""
    # As hashes: there may be millions.
    known_a, known_b = ({hash(reject) for reject in read_rejects(root)} for root in (root_a, root_b))
    sides = Sides(common=len(known_a & known_b))
    for only, root, known, other in (
        (sides.only_a, root_a, known_a, known_b),
        (sides.only_b, root_b, known_b, known_a),
    ):
        missing = known - other
        named = (
            f"{reject.key} ({reject.reason})" for reject in read_rejects(root) if hash(reject) in missing
        )
        only.add(len(missing), named)
    return sides


class _Comparison:
    """The samples of two stores, compared into a `Diff`."""

    def __init__(self, stores: tuple[Store, Store], found: Diff, options: DiffOptions) -> None:
        self._stores = stores
        self._found = found
        self._options = options
        self._images = Images.of(stores[0], options.progress), Images.of(stores[1], options.progress)
        self._columns = ColumnSet(*stores)
        self._rows, found.uncompared = open_rows(*stores)

    def run(self) -> None:
        """Compare all there is to compare."""
        found, images = self._found, self._images
        common = find_common(images[0].hashes, images[1].hashes)
        found.is_in_order = bool((np.diff(common[1]) > 0).all())
        found.images.common = len(common[0])
        for side in (0, 1):
            self._count_only(side, np.delete(np.arange(len(images[side].hashes)), common[side]))
        unknown = [meeting for meeting in meetings(*images, *common) if not self._is_known(meeting)]
        drawn = self._draw(sum(len(meeting.rows_a) for meeting in unknown))
        first = 0
        for number in self._options.progress(range(len(unknown)), "parts of both"):
            meeting = unknown[number]
            last = first + len(meeting.rows_a)
            within = drawn[slice(*np.searchsorted(drawn, [first, last]))] - first
            self._compare(meeting, within)
            first = last
        found.views = [rows.found for rows in self._rows]
        found.columns = list(self._columns.found.values())

    def _draw(self, count: int) -> NDArray[np.int64]:
        """Return which of so many images are compared pixel by pixel, ascending."""
        wanted = self._options.sample
        if wanted is None or wanted >= count:
            return np.arange(count)
        return np.sort(np.random.default_rng(self._options.seed).choice(count, wanted, replace=False))

    def _count_only(self, side: int, numbers: NDArray[np.int64]) -> None:
        """Count images that one store alone has, and their samples."""
        store, images, found = self._stores[side], self._images[side], self._found

        def key(image: int) -> str:
            part, row = store.row_of(image, "images")
            return store.tables(part).text("images/key", row)

        (found.images.only_a, found.images.only_b)[side].add(
            len(numbers), map(key, numbers[:EXAMPLES].tolist())
        )
        for number in np.unique(np.searchsorted(images.starts, numbers, side="right") - 1).tolist():
            part = store.tables(number)
            self._add_samples(side, part, np.isin(sample_images(part), images.rows(numbers, number)))

    def _add_samples(self, side: int, part: Part, chosen: NDArray[np.bool_]) -> None:
        """Count samples of a part that one store alone has."""
        only = (self._found.samples.only_a, self._found.samples.only_b)[side]
        masks = part.column("samples/mask")
        rows = np.flatnonzero(chosen)
        only.add(len(rows), (part.key(masks[row].tolist()) for row in rows[:EXAMPLES].tolist()))

    def _is_known(self, meeting: Meeting) -> bool:
        """Count what two parts have in common without fetching it, where their digests are the same; return whether it is so."""
        part_a, part_b = (
            store.attributes["parts"][number]
            for store, number in zip(self._stores, (meeting.part_a, meeting.part_b), strict=True)
        )
        # In a store that has one key twice, not all images of a part meet another.
        is_whole = len(meeting.rows_a) == part_a["rows"]["images"]
        is_fetched = not all(store.is_local for store in self._stores)
        if part_a["sha256"] != part_b["sha256"] or not is_whole or not is_fetched:
            return False
        self._found.known += len(meeting.rows_a)
        self._found.samples.common += part_a["rows"]["samples"]
        return True

    def _compare(self, meeting: Meeting, drawn: NDArray[np.int64]) -> None:
        """Compare the tables of the images that two parts have in common, and the pixels of those that are drawn."""
        numbers = meeting.part_a, meeting.part_b
        tables = [store.tables(number) for store, number in zip(self._stores, numbers, strict=True)]
        hashes = [images.of_part(number) for images, number in zip(self._images, numbers, strict=True)]
        members = [np.zeros(len(one), bool) for one in hashes]
        members[0][meeting.rows_a] = members[1][meeting.rows_b] = True
        self._compare_samples(tables, hashes, members)
        masks_a, masks_b = _common_masks(tables, hashes, members)
        common = {"images": (meeting.rows_a, meeting.rows_b), "masks": (masks_a, masks_b)}
        self._columns.compare(tables[0], tables[1], common)
        if not len(drawn):
            return
        self._found.drawn += len(drawn)
        part_a, part_b = (store.part(number) for store, number in zip(self._stores, numbers, strict=True))
        rows_a, rows_b = meeting.rows_a[drawn], meeting.rows_b[drawn]
        shown = np.isin(part_a.column("masks/image")[masks_a], rows_a)
        pairs: dict[str, list[tuple[int, int]]] = {
            "images": list(zip(rows_a.tolist(), rows_b.tolist(), strict=True)),
            "masks": list(zip(masks_a[shown].tolist(), masks_b[shown].tolist(), strict=True)),
        }
        for rows in self._rows:
            for row_a, row_b in pairs[rows.table]:
                rows.compare(part_a, part_b, row_a, row_b)

    def _compare_samples(
        self, tables: list[Part], hashes: list[NDArray[np.uint64]], members: list[NDArray[np.bool_]]
    ) -> None:
        """Count the samples of images that both have."""
        chosen = [member[sample_images(part)] for part, member in zip(tables, members, strict=True)]
        keys = [sample_hashes(part, images) for part, images in zip(tables, hashes, strict=True)]
        for side, other in ((0, 1), (1, 0)):
            is_common = np.isin(keys[side], keys[other][chosen[other]])
            self._add_samples(side, tables[side], chosen[side] & ~is_common)
            if not side:
                self._found.samples.common += int(np.count_nonzero(chosen[side] & is_common))


def _common_masks(
    tables: list[Part], hashes: list[NDArray[np.uint64]], members: list[NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the same masks of the same images in two parts: int64 [N] each, in the order of A."""
    rows = [
        np.flatnonzero(member[part.column("masks/image")])
        for part, member in zip(tables, members, strict=True)
    ]
    keys = [
        mask_hashes(part, images)[chosen] for part, images, chosen in zip(tables, hashes, rows, strict=True)
    ]
    places_a, places_b = find_common(keys[0], keys[1])
    return rows[0][places_a], rows[1][places_b]
