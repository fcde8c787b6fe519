"""Flips random bits of small stores, one at a time: `python tests/fuzz/fuzz_store.py COUNT [SEED]`.

Each flip must be found by `verify` at its default depth, or be harmless: every file but the root's zarr.json has its
old bytes, and that one parses to an equal value.
"""

import json
import random
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from damage import flip_bit, random_flip
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import COMPACT_IMAGES, CONFIGS, tree_digest

from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import verify_store


@dataclass
class Outcome:
    """What became of the flips."""

    found: int = 0
    harmless: int = 0
    missed: list[str] = field(default_factory=list)


def fuzz(store: Path, copy: Path, count: int, seed: int) -> Outcome:
    """Flip `count` bits of a copy of a store, each undone before the next."""
    shutil.copytree(store, copy)
    sound, root = tree_digest(copy), json.loads((copy / "zarr.json").read_bytes())
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
        flip_bit(path, bit)
    assert tree_digest(copy) == sound
    return outcome


def _is_found(store: Path) -> bool:
    try:
        return verify_store(store).is_damaged
    except StoreError:
        # Refused: it can't be taken for a sound store either.
        return True


def main(count: int, seed: int) -> int:
    """Fuzz a store of each kind; return how many flips were missed."""
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
            missed += len(outcome.missed)
    return missed


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
