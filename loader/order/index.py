"""From the units that an epoch counts to numbers in the store: samples, or images and scenes that samples are drawn from.

Without a filter nothing is read but the root's row counts, of images that samples are drawn from as well. Otherwise the
small columns that are needed are read once, part by part, and one bit is kept for each sample or image. numpy only.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.errors import StoreError
from ..format.recipe import read_recipe
from .bits import PartBits
from .clips import check_choice
from .draws import GIVES, REASONS, Draw, Objects, find_units, unit_keys
from .index_file import ReadArray, open_index, save_index
from .shuffle import hash_columns, scale
from .subset import Columns, Subset

Masks = Literal["every", "one"]


class SampleStore(Protocol):
    """What an order needs of a store; `resizeonce.loader.Store` is one."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return the root attributes.

        Of them `fingerprint`, `recipe`, `empty_frames` and of each part `rows` and `sha256` are used.
        """

    @property
    def paired(self) -> bool:
        """Return whether samples are pairs of frames."""

    def tables(self, number: int) -> Columns:
        """Return the tables of a part, kept open."""

    def open_part(self, number: int) -> Columns:
        """Return the tables of a part, opened anew and not kept."""


def content_digest(attributes: Mapping[str, Any]) -> str:
    """Return what changes whenever anything in a store does: a SHA-256 over its fingerprint and its parts' digests."""
    digest = hashlib.sha256(attributes["fingerprint"].encode())
    for part in attributes["parts"]:
        digest.update(f"\n{part['sha256']}".encode())
    return digest.hexdigest()


class SampleIndex:
    """The units of a store that an epoch goes through: samples, or images and scenes of which it takes one sample each.

    Args:
        store: where the samples are.
        subset: which of them take part; with `draw`, which masks may be drawn, and of which images or scenes.
        masks: "every", as without, counts samples; "one" counts images with at least one eligible sample and draws one
            of these anew in every lap. A pair belongs to the image of its first frame.
        draw: what is drawn of each unit, anew in every lap: `Objects` of an image, or a `Clip` of a scene.
        cache: a file for the index, made where it is missing; without a filter none is needed.
        progress: wraps the numbers of the parts while they are read, as `tqdm.tqdm` does.

    Raises:
        ValueError: no sample is left, there are both `masks` and `draw`, or prompts are to be counted and there are none.
        StoreError: a part is damaged, or `cache` is of another store or subset, or can't be written.
    """

    def __init__(
        self,
        store: SampleStore,
        subset: Subset | None = None,
        masks: Masks | None = None,
        draw: Draw | None = None,
        *,
        cache: str | Path | None = None,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> None:
        self.store = store
        self.digest = content_digest(store.attributes)
        """What changes whenever anything in the store does."""
        if masks and draw:
            raise ValueError(f"masks={masks!r} or draw=, not both: a draw says how many masks a sample has")
        self.draw = draw
        """What is drawn of each unit, None where samples are what the store lists."""
        self.subset = subset or Subset()
        """Which samples take part; of a draw, which masks may be drawn."""
        if self.subset.min_prompt_cells > 0 and read_recipe(store.attributes["recipe"]).prompt is None:
            raise ValueError(
                f"min_prompt_cells: the recipe of {store!r} has no prompt, whose cells could be counted"
            )
        self._masks: Masks = masks or "every"
        check_choice("masks", self._masks, ("every", "one"))
        rows = [part["rows"] for part in store.attributes["parts"]]
        self._num_masks = np.array([part["masks"] for part in rows], np.int64)
        self._sample_starts = _starts(np.array([part["samples"] for part in rows], np.int64))
        self._image_starts = _starts(np.array([part["images"] for part in rows], np.int64))
        self._has_empty_images = bool(store.attributes.get("empty_frames"))
        self._videos = store.paired or self._has_empty_images
        # Of which rows are units, and with masks="one" which samples of these images may be drawn; None where all are.
        self._unit_bits: PartBits | None = None
        self._sample_bits: PartBits | None = None
        self._left_out = np.zeros(len(REASONS), np.int64)
        counts_images = draw is not None or self._masks == "one"
        self._unit_rows = np.diff(self._image_starts if counts_images else self._sample_starts)
        counts = self._unit_rows
        if self._reads_columns:
            counts = self._load(Path(cache)) if cache and Path(cache).exists() else self._read(progress)
            if cache and not Path(cache).exists():
                self._save(Path(cache), counts)
        self._unit_starts = _starts(counts)
        if not len(self):
            left_out = f"; left out: {self.left_out}" if self.left_out else ""
            raise ValueError(f"no sample of {store!r} is in {self.subset}{left_out}")

    def __len__(self) -> int:
        """Return the number of units."""
        return int(self._unit_starts[-1])

    @property
    def num_numbers(self) -> int:
        """How many numbers the store has: those of samples, or with `draw` those of images."""
        return int(self._number_starts[-1])

    @property
    def left_out(self) -> dict[str, int]:
        """How many units can't give a sample, by reason: scenes of too few frames, and where nobody is eligible.

        Units that are not in the subset by their keys are not among them, nor is anything without `draw`.
        """
        counts = zip(REASONS, self._left_out.tolist(), strict=True)
        return {reason: count for reason, count in counts if count}

    def left_out_keys(self) -> dict[str, list[str]]:
        """Return the keys of the units of `left_out`, by reason: of images, or of scenes. Reads the columns again."""
        keys: dict[str, list[str]] = {reason: [] for reason in self.left_out}
        if self.draw is None or not keys:
            return keys
        scenes = self._videos and not isinstance(self.draw, Objects)
        for number in range(len(self._num_masks)):
            part = self.store.open_part(number)
            units = self._find_units(number, part)
            for reason, found in keys.items():
                found += unit_keys(part, np.flatnonzero(units == REASONS[reason]), scenes=scenes)
        return keys

    def describe(self) -> dict[str, Any]:
        """Return which units these are, as JSON values, the store left out."""
        drawn = {"masks": self._masks} if self.draw is None else {"draw": self.draw.describe()}
        return {"subset": self.subset.describe(), **drawn}

    def locate(self, number: int) -> tuple[int, int]:
        """Return the part and the row there of a number that `samples` gives: of a sample, or with `draw` of an image.

        Raises:
            IndexError: the store has no such number.
        """
        if not 0 <= number < self.num_numbers:
            raise IndexError(f"number {number} of a store of {self.num_numbers}")
        part = int(np.searchsorted(self._number_starts, number, side="right")) - 1
        return part, number - int(self._number_starts[part])

    @property
    def _number_starts(self) -> NDArray[np.int64]:
        """The first number of each part, and one after the last."""
        return self._sample_starts if self.draw is None else self._image_starts

    @property
    def _reads_columns(self) -> bool:
        """Whether the root's row counts don't say which units there are.

        In a store of single samples every mask is a sample, and every image has one unless frames without are stored
        (docs/format.md). Images of pairs have masks as well, but not every image begins a pair.
        """
        if not self.subset.is_everything:
            return True
        if self.draw is None:
            return self._masks == "one" and self._videos
        return self._has_empty_images or self.draw.of == "expressions" or not isinstance(self.draw, Objects)

    def samples(self, units: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the number in the store of each unit's sample; with `draw`, of the image it is drawn from.

        Args:
            units: int64 [N], each in 0..len - 1, in the order of the store.
            key: decides which sample of an image is drawn with masks="one"; no matter otherwise.

        Returns:
            int64 [N]: numbers of samples, or with `draw` of images. A scene's number is that of its first image.
        """
        if self._masks == "every" and self._unit_bits is None:
            return units
        parts = np.searchsorted(self._unit_starts, units, side="right") - 1
        ranks = units - self._unit_starts[parts]
        samples = np.empty_like(units)
        for part in np.unique(parts):
            here = parts == part
            samples[here] = self._number_starts[part] + self._rows(int(part), ranks[here], key)
        return samples

    def _rows(self, part: int, ranks: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the rows of a part's units, given by their ranks in the part."""
        images = rows = self._unit_bits.select(part, ranks) if self._unit_bits else ranks
        if self._masks == "every":
            return rows
        hashes = hash_columns(key, self._image_starts[part] + images)
        if self.store.paired:
            return self._draw_pairs(part, images, hashes)
        owners = self.store.tables(part).column("masks/image")
        first, last = np.searchsorted(owners, images), np.searchsorted(owners, images + 1)
        if self._sample_bits is None:
            self._check_owners(part, first, last)
            return first + scale(hashes, last - first)
        low, high = self._sample_bits.rank(part, first), self._sample_bits.rank(part, last)
        self._check_owners(part, low, high)
        return self._sample_bits.select(part, low + scale(hashes, high - low))

    def _check_owners(self, part: int, first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        """Raise `StoreError` where an image that a sample is drawn of has none: first..last - 1 are those it has."""
        if (first >= last).any():
            raise StoreError(f"part {part} of {self.store!r} has images without masks; convert it again")

    def _draw_pairs(
        self, part: int, images: NDArray[np.int64], hashes: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Return for each image one of the pairs it is the first frame of; pairs lie in the order of their objects."""
        assert self._sample_bits is not None
        rows = self._sample_bits.rows(part)
        owners = _owners(self.store.tables(part), paired=True)[rows]
        order = np.argsort(owners, kind="stable")
        first = np.searchsorted(owners, images, side="left", sorter=order)
        last = np.searchsorted(owners, images, side="right", sorter=order)
        self._check_owners(part, first, last)
        drawn: NDArray[np.int64] = rows[order[first + scale(hashes, last - first)]]
        return drawn

    def _read(self, progress: Callable[[Iterable[int]], Iterable[int]]) -> NDArray[np.int64]:
        """Read the columns of every part into bits; return the number of units of each part."""
        self._unit_bits = PartBits(self._unit_rows)
        if self._masks == "one":
            self._sample_bits = PartBits(np.diff(self._sample_starts))
        counts = np.zeros(len(self._num_masks), np.int64)
        for number in progress(range(len(counts))):
            counts[number] = self._unit_bits.fill(number, self._read_part(number))
        return counts

    def _read_part(self, number: int) -> NDArray[np.bool_]:
        """Return which rows of a part are units."""
        part = self.store.open_part(number)
        if self.draw is not None:
            units = self._find_units(number, part)
            self._left_out += [np.count_nonzero(units == reason) for reason in REASONS.values()]
            gives: NDArray[np.bool_] = units == GIVES
            return gives
        num_masks, paired = int(self._num_masks[number]), self.store.paired
        eligible = self.subset.eligible(part, num_masks, paired=paired, videos=self._videos)
        if self._sample_bits is None:
            return eligible
        self._sample_bits.fill(number, eligible)
        images = np.zeros(self._unit_rows[number], bool)
        images[_owners(part, paired=paired)[eligible]] = True
        return images

    def _find_units(self, number: int, part: Columns) -> NDArray[np.int8]:
        assert self.draw is not None
        num_images, num_masks = int(np.diff(self._image_starts)[number]), int(self._num_masks[number])
        return find_units(part, num_images, num_masks, self.draw, self.subset, videos=self._videos)

    def _save(self, path: Path, counts: NDArray[np.int64]) -> None:
        bits = [bits.words for bits in (self._sample_bits, self._unit_bits) if bits]
        left_out = [] if self.draw is None else [self._left_out]
        save_index(path, self._identity(), [counts, *bits, *left_out])

    def _load(self, path: Path) -> NDArray[np.int64]:
        """Read what `_save` wrote; the file may be anybody's."""
        with open_index(path, self._identity()) as read:
            counts = read("<i8", (len(self._num_masks),))
            if self._masks == "one":
                self._sample_bits = _read_bits(read, np.diff(self._sample_starts))
            self._unit_bits = _read_bits(read, self._unit_rows)
            if not np.array_equal(counts, self._unit_bits.count()):
                raise ValueError("its counts are not those of its bits")
            if self.draw is not None:
                self._left_out = read("<i8", self._left_out.shape)
                if self._left_out.min() < 0:
                    raise ValueError("it left out fewer than none")
        return counts

    def _identity(self) -> str:
        return f"resizeonce index 1, store {self.digest}, {self.describe()}"


def _read_bits(read: ReadArray, counts: NDArray[np.int64]) -> PartBits:
    return PartBits(counts, read("|u1", (int((-(-counts // 8)).sum()),)))


def _owners(part: Columns, *, paired: bool) -> NDArray[np.int64]:
    """Return the image of each sample of a part: int64 [S]; of a pair the image of its first frame."""
    images: NDArray[np.int64] = part.column("masks/image")
    return images[part.column("samples/mask")[:, 0]] if paired else images


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [0, counts[0], counts[0] + counts[1], ...]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
