"""From the units that an epoch counts to sample numbers: filtered samples, or one sample of each image. numpy only.

Without a filter nothing is read but the root's row counts. With one, the small columns it needs are read once, part
by part, and one bit is kept for each sample (and each image, where images are counted).
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.errors import StoreError
from ..format.recipe import read_recipe
from ..format.regular_files import open_binary
from .bits import PartBits
from .shuffle import hash_columns, scale
from .subset import Columns, Subset

Masks = Literal["every", "one"]


class SampleStore(Protocol):
    """What an order needs of a store; `resizeonce.loader.Store` is one."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return the root attributes: of them `fingerprint`, `recipe` and of each part `rows` and `sha256` are used."""

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
    """The units of a store that an epoch goes through: samples, or images of which it takes one sample each.

    Args:
        store: where the samples are.
        subset: which of them take part.
        masks: "every" counts samples; "one" counts images with at least one eligible sample and draws one of these
            anew in every lap. A pair belongs to the image of its first frame.
        cache: a file for the index, made where it is missing; without a filter none is needed.
        progress: wraps the numbers of the parts while they are read, as `tqdm.tqdm` does.

    Raises:
        ValueError: no sample is left, or prompts are to be counted and there are none.
        StoreError: a part is damaged, or `cache` is of another store or subset.
    """

    def __init__(
        self,
        store: SampleStore,
        subset: Subset | None = None,
        masks: Masks = "every",
        *,
        cache: str | Path | None = None,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> None:
        self.store = store
        self.digest = content_digest(store.attributes)
        """What changes whenever anything in the store does."""
        self._subset = subset or Subset()
        if self._subset.min_prompt_cells > 0 and read_recipe(store.attributes["recipe"]).prompt is None:
            raise ValueError(
                f"min_prompt_cells: the recipe of {store!r} has no prompt, whose cells could be counted"
            )
        self._masks = masks
        rows = [part["rows"] for part in store.attributes["parts"]]
        self._num_masks = np.array([part["masks"] for part in rows], np.int64)
        self._sample_starts = _starts(np.array([part["samples"] for part in rows], np.int64))
        self._image_starts = _starts(np.array([part["images"] for part in rows], np.int64))
        self._sample_bits: PartBits | None = None
        self._image_bits: PartBits | None = None
        counts = np.diff(self._sample_starts if masks == "every" else self._image_starts)
        # In a store of single samples every image has a mask, and every mask is a sample (docs/format.md).
        if not self._subset.is_everything or (masks == "one" and store.paired):
            counts = self._load(Path(cache)) if cache and Path(cache).exists() else self._read(progress)
            if cache and not Path(cache).exists():
                self._save(Path(cache), counts)
        self._unit_starts = _starts(counts)
        if not len(self):
            raise ValueError(f"no sample of {store!r} is in {self._subset}")

    def __len__(self) -> int:
        """Return the number of units."""
        return int(self._unit_starts[-1])

    def describe(self) -> dict[str, Any]:
        """Return which units these are, as JSON values, the store left out."""
        return {"subset": self._subset.describe(), "masks": self._masks}

    def samples(self, units: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the sample number of each unit.

        Args:
            units: int64 [N], each in 0..len - 1, in the order of the store.
            key: decides which sample of an image is drawn; no matter where every sample is a unit.

        Returns:
            int64 [N], numbers in the store.
        """
        if self._masks == "every" and self._sample_bits is None:
            return units
        parts = np.searchsorted(self._unit_starts, units, side="right") - 1
        ranks = units - self._unit_starts[parts]
        samples = np.empty_like(units)
        for part in np.unique(parts):
            here = parts == part
            samples[here] = self._sample_starts[part] + self._rows(int(part), ranks[here], key)
        return samples

    def _rows(self, part: int, ranks: NDArray[np.int64], key: int) -> NDArray[np.int64]:
        """Return the rows of a part's units, given by their ranks in the part."""
        if self._masks == "every":
            assert self._sample_bits is not None
            return self._sample_bits.select(part, ranks)
        images = self._image_bits.select(part, ranks) if self._image_bits else ranks
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
        rows = self._sample_bits.rows(part, 0, int(np.diff(self._sample_starts)[part]))
        owners = _owners(self.store.tables(part), paired=True)[rows]
        order = np.argsort(owners, kind="stable")
        first = np.searchsorted(owners, images, side="left", sorter=order)
        last = np.searchsorted(owners, images, side="right", sorter=order)
        self._check_owners(part, first, last)
        drawn: NDArray[np.int64] = rows[order[first + scale(hashes, last - first)]]
        return drawn

    def _read(self, progress: Callable[[Iterable[int]], Iterable[int]]) -> NDArray[np.int64]:
        """Read the columns of every part into bits; return the number of units of each part."""
        num_samples, num_images = np.diff(self._sample_starts), np.diff(self._image_starts)
        self._sample_bits = PartBits(num_samples)
        self._image_bits = PartBits(num_images) if self._masks == "one" else None
        counts = np.zeros(len(num_samples), np.int64)
        for number in progress(range(len(num_samples))):
            part = self.store.open_part(number)
            eligible = self._subset.eligible(part, int(self._num_masks[number]), paired=self.store.paired)
            counts[number] = self._sample_bits.fill(number, eligible)
            if self._image_bits is not None:
                images = np.zeros(num_images[number], bool)
                images[_owners(part, paired=self.store.paired)[eligible]] = True
                counts[number] = self._image_bits.fill(number, images)
        return counts

    def _save(self, path: Path, counts: NDArray[np.int64]) -> None:
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, np.array(self._identity()))
            np.save(file, counts)
            for bits in filter(None, (self._sample_bits, self._image_bits)):
                np.save(file, bits.words)
        partial.replace(path)

    def _load(self, path: Path) -> NDArray[np.int64]:
        """Read what `_save` wrote; the file may be anybody's."""
        try:
            with open_binary(path) as file:
                identity = self._identity()
                if _read_array(file, f"<U{len(identity)}", ()) != identity:
                    raise _OtherIndexError
                counts = _read_array(file, "<i8", (len(self._num_masks),))
                self._sample_bits = _read_bits(file, np.diff(self._sample_starts))
                if self._masks == "one":
                    self._image_bits = _read_bits(file, np.diff(self._image_starts))
                units = self._image_bits or self._sample_bits
                if not np.array_equal(counts, units.count()):
                    raise ValueError("its counts are not those of its bits")
        except _OtherIndexError as err:
            raise StoreError(
                f"{path} is the index of another store or subset: remove it or name another"
            ) from err
        except (OSError, ValueError) as err:
            raise StoreError(f"{path} is no index, or damaged ({err}): remove it") from err
        return counts

    def _identity(self) -> str:
        return f"resizeonce index 1, store {self.digest}, {self.describe()}"


class _OtherIndexError(Exception):
    """Raised where a file is an index, but not the one that is asked for."""


def _read_bits(file: BinaryIO, counts: NDArray[np.int64]) -> PartBits:
    return PartBits(counts, _read_array(file, "|u1", (int((-(-counts // 8)).sum()),)))


def _read_array(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the next array of a file that `np.save` wrote, which must be of this type and shape: no more is read of it.

    Raises:
        ValueError: it is another.
    """
    wanted = np.dtype(dtype)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of another version of numpy's format")
        found = np.lib.format.read_array_header_1_0(file)
    except TokenError as err:
        raise ValueError(str(err)) from err
    if found[2].kind == "U" and wanted.kind == "U" and found[2] != wanted:
        raise _OtherIndexError
    if (found[0], found[2]) != (shape, wanted):
        raise ValueError(f"it has {found[2]} {list(found[0])}, expected {wanted} {list(shape)}")
    content = file.read(wanted.itemsize * math.prod(shape))
    return np.frombuffer(content, wanted).reshape(shape)


def _owners(part: Columns, *, paired: bool) -> NDArray[np.int64]:
    """Return the image of each sample of a part: int64 [S]; of a pair the image of its first frame."""
    images: NDArray[np.int64] = part.column("masks/image")
    return images[part.column("samples/mask")[:, 0]] if paired else images


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return [0, counts[0], counts[0] + counts[1], ...]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
