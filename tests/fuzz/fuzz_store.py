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
from stores import COMPACT_IMAGES, CONFIGS, tree_digest

from resizeonce.loader import Store, StoreError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import verify_store


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
    return found.keys() != expected.keys() or any(
        not np.array_equal(found[key], value) if isinstance(value, np.ndarray) else found[key] != value
        for key, value in expected.items()
    )


def main(count: int, seed: int) -> int:
    """Fuzz a store of each kind; return how many flips were missed or delivered."""
    missed = 0
    names = ("coco", "refcoco", "sav", "sa1b", "npz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dataset in names:
            WRITERS[dataset](folder / dataset, [picture_of(90 + 3 * n, 120, n) for n in range(8)])
            sizes = (("pixel_values", 28), ("g_pixel_values", 64), ("masks", 64))
            overrides = [f"recipe.{tensor}.size={size}" for tensor, size in sizes]
            overrides += COMPACT_IMAGES if dataset == "npz" else ()
            config = load_config(CONFIGS / f"{dataset}.toml", ["store.scenes_per_part=2", *overrides])
            convert(config, folder / dataset, folder / f"{dataset}.zarr", RunOptions())
            copy = folder / f"{dataset}-fuzzed.zarr"
            outcome = fuzz(folder / f"{dataset}.zarr", copy, -(-count // len(names)), seed)
            print(f"{dataset}: {outcome.found} found, {outcome.harmless} harmless, missed: {outcome.missed}")
            print(f"{dataset}: delivered by the loader: {outcome.delivered}")
            missed += len(outcome.missed) + len(outcome.delivered)
    return missed


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
