"""Which samples take part, as a rule on the columns of a part. numpy only; nothing is kept for each sample."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..format.errors import StoreError
from .shuffle import hash_words, mix

MAX_KEY_BYTES = 1 << 20
"""Of an image's key; a hash takes eight bytes at a time, and a forged key of gigabytes would take hours."""


class Columns(Protocol):
    """What a rule reads of a part."""

    def column(self, path: str) -> NDArray[Any]:
        """Return a whole column, such as "masks/area"."""


class KeySet:
    """Keys of scenes, held as sorted 64-bit hashes.

    A scene's key is the key of its image, such as "refcoco/581857"; in a store of pairs it is the video's, such as
    "sav/sav_000001". Of ten million other keys one is taken for a member with probability below 1e-5.

    Args:
        keys: the keys; duplicates count once.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        encoded = sorted({key.encode() for key in keys})
        self.digest = hashlib.sha256(b"\n".join(encoded)).hexdigest()
        """SHA-256 of the sorted keys, one a line."""
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._hashes = np.sort(
            hash_texts(np.frombuffer(b"".join(encoded), np.uint8), offsets[:-1], offsets[1:])
        )

    def __len__(self) -> int:
        return len(self._hashes)

    @classmethod
    def read(cls, path: str | Path) -> "KeySet":
        """Return the keys of a UTF-8 file, one a line; empty lines are left out."""
        with Path(path).open(encoding="utf-8") as lines:
            return cls(line for line in map(str.strip, lines) if line)

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which hashes are those of members."""
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self._hashes)] = 0
        return self._hashes[places] == hashes if len(self) else np.zeros(len(hashes), bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """The samples that meet every condition; a pair meets one when both of its frames do."""

    min_prompt_cells: int = 0
    """Set cells of the prompt mask, of 256. Sa2VA drops samples below 4."""
    min_area: int = 0
    """Covered pixels of the mask in its own resolution."""
    key_prefixes: tuple[str, ...] = ()
    """The image's key begins with one of them; empty for all."""
    keys: KeySet | None = None
    """Scenes to take; None for all."""
    without: KeySet | None = None
    """Scenes to leave out, such as those that `resizeonce audit --write-keys` found in a validation set."""
    key_range: tuple[float, float] = (0.0, 1.0)
    """From where up to, not including, where the hash of a scene's key lies in 0..1: (0, 0.9) and (0.9, 1) split a
    store 9 to 1, and no image or video lands on both sides, in this store or in another one with the same keys."""

    def __post_init__(self) -> None:
        lower, upper = self.key_range
        if not 0 <= lower < upper <= 1:
            raise ValueError(f"key_range is two rising numbers in 0..1, not {self.key_range}")
        if isinstance(self.key_prefixes, str):
            # Each of its letters would be one, and most keys begin with one of those.
            raise ValueError(f"key_prefixes is a tuple of texts, as ({self.key_prefixes!r},); not one text")

    @property
    def is_everything(self) -> bool:
        """Whether no sample can be left out."""
        return self.min_prompt_cells <= 0 and self.min_area <= 0 and not self._asks_for_keys

    @property
    def _asks_for_keys(self) -> bool:
        sets = (self.keys, self.without)
        return bool(self.key_prefixes) or sets != (None, None) or self.key_range != (0.0, 1.0)

    def describe(self) -> dict[str, Any]:
        """Return the rule as JSON values; what came later is left out where it is not used, so that older states go on."""
        without = {} if self.without is None else {"without": self.without.digest}
        return {
            "min_prompt_cells": max(self.min_prompt_cells, 0),
            "min_area": max(self.min_area, 0),
            "key_prefixes": sorted(set(self.key_prefixes)),
            "keys": None if self.keys is None else self.keys.digest,
            "key_range": [float(bound) for bound in self.key_range],
            **without,
        }

    def eligible(self, part: Columns, num_masks: int, *, paired: bool, videos: bool) -> NDArray[np.bool_]:
        """Return which samples of a part meet the conditions: bool [S]. Reads only the columns they need.

        `paired` is whether samples are pairs of frames, `videos` whether scenes are videos.
        """
        masks = self.eligible_masks(part, 0, num_masks)
        images = self.eligible_images(part, videos=videos)
        if images is not None:
            masks &= images[part.column("masks/image")]
        # Where samples are single, each mask is one, in the same order (docs/format.md).
        return masks[part.column("samples/mask")].all(axis=1) if paired else masks

    def eligible_masks(self, part: Columns, first: int, last: int) -> NDArray[np.bool_]:
        """Return which of the masks first..last - 1 of a part meet the conditions on masks: bool [last - first]."""
        masks = np.ones(last - first, bool)
        if self.min_prompt_cells > 0:
            masks &= part.column("masks/prompt_cells")[first:last] >= self.min_prompt_cells
        if self.min_area > 0:
            masks &= part.column("masks/area")[first:last] >= self.min_area
        return masks

    @property
    def of_masks(self) -> "Subset":
        """The conditions on masks alone, which drawing goes by: small, also where there are millions of keys."""
        return Subset(min_prompt_cells=self.min_prompt_cells, min_area=self.min_area)

    def eligible_images(self, part: Columns, *, videos: bool) -> NDArray[np.bool_] | None:
        """Return which images of a part meet the conditions on keys: bool [I]; None where there are none.

        Where scenes are videos, a scene's key is its image's without the last step.

        Raises:
            StoreError: a key is longer than any dataset's.
        """
        if not self._asks_for_keys:
            return None
        offsets, text = part.column("images/key_offsets"), part.column("images/key_bytes")
        starts, ends = offsets[:-1], offsets[1:]
        images = np.ones(len(starts), bool)
        check_texts("images/key", starts, ends)
        if self.key_prefixes:
            images &= np.any([_begins(text, starts, ends, prefix) for prefix in self.key_prefixes], axis=0)
        hashes = hash_texts(text, starts, _without_last_step(text, starts, ends) if videos else ends)
        if self.keys is not None:
            images &= self.keys.contains(hashes)
        if self.without is not None:
            images &= ~self.without.contains(hashes)
        lower, upper = (int(bound * 2.0**64) for bound in self.key_range)
        if lower > 0:
            images &= hashes >= np.uint64(lower)
        if upper < 2**64:
            images &= hashes < np.uint64(upper)
        return images


def check_texts(path: str, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
    """Raise `StoreError` where a column has a text that would take hours to hash."""
    if int((ends - starts).max(initial=0)) > MAX_KEY_BYTES:
        raise StoreError(
            f"{path} holds a key of more than {MAX_KEY_BYTES:,} bytes, which no dataset has: convert again"
        )


def hash_texts(
    text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a hash of each of N texts, given as where they lie in `text`: uint64 [N].

    A text is taken eight bytes at a time, little-endian, the last filled up with zeros, after its length.
    """
    lengths = ends - starts
    hashes = lengths.astype(np.uint64) + np.uint64(hash_words(0))
    mix(hashes)
    padded = np.concatenate([text, np.zeros(8, np.uint8)])
    # At each place the eight bytes from there on.
    words = np.ndarray(len(text) + 1, "<u8", padded, strides=(1,))
    for step in range(0, int(lengths.max(initial=0)), 8):
        left = np.flatnonzero(lengths > step)
        beyond = np.maximum(step + 8 - lengths[left], 0).astype(np.uint64) * np.uint64(8)
        mixed = hashes[left] ^ (words[starts[left] + step] & (np.uint64(2**64 - 1) >> beyond))
        mix(mixed)
        hashes[left] = mixed
    return hashes


def _without_last_step(
    text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where each key ends without its last step: "sav/sav_000001/00004" without "/00004"."""
    slashes = np.concatenate([[-1], np.flatnonzero(text == ord("/"))])
    last = slashes[np.searchsorted(slashes, ends) - 1]
    return np.where(last > starts, last, ends)


def _begins(
    text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], prefix: str
) -> NDArray[np.bool_]:
    wanted = np.frombuffer(prefix.encode(), np.uint8)
    begins: NDArray[np.bool_] = ends - starts >= len(wanted)
    places = starts[begins, None] + np.arange(len(wanted))
    begins[begins] = (text[places] == wanted).all(axis=1)
    return begins
