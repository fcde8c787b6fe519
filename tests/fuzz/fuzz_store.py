"""Flips random bits of small stores, one at a time: `python tests/fuzz/fuzz_store.py COUNT [SEED]`.

Each flip must be found by `verify` at its default depth, or be harmless: every file but the root's zarr.json has its
old bytes, and that one parses to an equal value. And the loader, as it is used without options, must refuse what it would
read, or give the batch of the sound store.
"""

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from damage import flip_bit, random_flip
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import COMPACT_IMAGES, CONFIGS, VIEWS, tree_digest

from resizeonce.loader import Store, StoreError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import verify_store

SIZES = ("recipe.pixel_values.size=28", "recipe.g_pixel_values.size=64", "recipe.masks.size=64")

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{dataset: (dataset, SIZES) for dataset in ("coco", "refcoco", "sav", "sa1b")},
    "npz": ("npz", (*SIZES, *COMPACT_IMAGES)),
    "views": ("coco", VIEWS),
}
"""Source and recipe of each store."""


@dataclass
class Outcome:
    """What became of the flips."""

    found: int = 0
    harmless: int = 0
    missed: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    """Those that changed a batch."""


def fuzz(store: Path, copy: Path, count: int, seed: int) -> Outcome:
    """Flip `count` bits of a copy of a store, each undone before the next."""
    shutil.copytree(store, copy)
    sound, root = tree_digest(copy), json.loads((copy / "zarr.json").read_bytes())
    expected = _batch(copy)
    chance = random.Random(seed)
    outcome = Outcome()
    for _ in range(count):
        path, bit = random_flip(copy, chance)
        flip_bit(path, bit)
        if _is_found(copy):
            outcome.found += 1
        elif path == copy / "zarr.json" and json.loads(path.read_bytes()) == root:
            outcome.harmless += 1
        else:
            outcome.missed.append(f"{path.relative_to(copy)} bit {bit}")
        if _is_delivered(copy, expected):
            outcome.delivered.append(f"{path.relative_to(copy)} bit {bit}")
        flip_bit(path, bit)
    assert tree_digest(copy) == sound
    return outcome


def _is_found(store: Path) -> bool:
    try:
        return verify_store(store).is_damaged
    except StoreError:
        # Refused: it can't be taken for a sound store either.
        return True


def _batch(store: Path) -> dict[str, Any]:
    opened = Store(store)
    return opened.batch(range(len(opened)))


def _is_delivered(store: Path, expected: Mapping[str, Any]) -> bool:
    """Whether the loader gives another batch than that of the sound store."""
    try:
        found = _batch(store)
    except StoreError:
        return False
    return found.keys() != expected.keys() or any(not _is_same(found[key], expected[key]) for key in expected)


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return np.array_equal(found, expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_is_same, found, expected))
    return bool(found == expected)


def main(count: int, seed: int) -> int:
    """Fuzz a store of each kind; return how many flips were missed or delivered."""
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, (dataset, overrides) in KINDS.items():
            WRITERS[dataset](folder / kind, [picture_of(90 + 3 * n, 120, n) for n in range(8)])
            config = load_config(CONFIGS / f"{dataset}.toml", ["store.scenes_per_part=2", *overrides])
            convert(config, folder / kind, folder / f"{kind}.zarr", RunOptions())
            copy = folder / f"{kind}-fuzzed.zarr"
            outcome = fuzz(folder / f"{kind}.zarr", copy, -(-count // len(KINDS)), seed)
            print(f"{kind}: {outcome.found} found, {outcome.harmless} harmless, missed: {outcome.missed}")
            print(f"{kind}: delivered by the loader: {outcome.delivered}")
            missed += len(outcome.missed) + len(outcome.delivered)
    return missed


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
