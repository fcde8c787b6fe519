"""How opening a store and shuffling it grow from one million masks to those of the whole of SA-1B.

    python benchmarks/scale.py [--masks "10 million"]

Makes stores of tables only: every part is a link to the first, so the largest takes some 20 MB of disk. Each figure is the
median of fresh interpreters, which take turns; files are in the page cache. `Objects` must cost what one mask an image does.
"""

import hashlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from frame import ask, parser_of, print_about, print_bars, print_head, print_row, scratch

from resizeonce.loader import Batching, Objects, Order, OrderOptions, SampleIndex, Store, Subset
from resizeonce.loader.format.layout import ATTRIBUTES_KEY, array_specs, part_name
from resizeonce.loader.format.metadata import attributes_digest
from resizeonce.loader.format.recipe import DEFAULT_RECIPE
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.store.shard_writer import ShardWriter

IMAGES, MASKS = 500, 50_000
PART_COUNTS = {"1 million": 20, "10 million": 200, "100 million": 2000, "1.1 billion": 22_000}
ROWS = {"images": IMAGES, "masks": MASKS, "expressions": 0, "samples": MASKS}
FIGURES = ("open s", "index s", "first batch ms", "batch ms", "RSS MB", "of it anonymous", "before")
FOUR_CELLS = Subset(min_prompt_cells=4)
RULES: dict[str, dict[str, Any]] = {
    "every mask": {},
    "one mask an image": {"masks": "one"},
    "min_prompt_cells = 4": {"subset": FOUR_CELLS},
    "the same, one an image": {"subset": FOUR_CELLS, "masks": "one"},
    "up to 64 masks of an image": {"draw": Objects(at_most=64)},
    "min_prompt_cells = 4, up to 64": {"subset": FOUR_CELLS, "draw": Objects(at_most=64)},
    "min_prompt_cells = 4, up to 64, cache=": {
        "subset": FOUR_CELLS,
        "draw": Objects(at_most=64),
        "cache": "up-to-64.index",
    },
    "9/10 by key": {"subset": Subset(key_range=(0, 0.9))},
}
"""What a `SampleIndex` is given; "cache" is beside the store."""
BARS = (
    ("up to 64 masks of an image", "one mask an image", "index s", 1.1),
    ("up to 64 masks of an image", "one mask an image", "RSS MB", 1.02),
    ("min_prompt_cells = 4, up to 64", "the same, one an image", "index s", 1.1),
    ("min_prompt_cells = 4, up to 64", "the same, one an image", "RSS MB", 1.02),
)
"""A rule, the one that it is held to, by which figure, and how many times that it may be."""


def make_store(store: Path, num_parts: int) -> None:
    """Write a store of tables only, its parts all the same."""
    entry = {"rows": ROWS, "bytes": 0, "sha256": make_part(store / part_name(0))}
    for number in range(1, num_parts):
        (store / part_name(number)).symlink_to(part_name(0))
    attributes = {
        "format_version": 1,
        "dataset_type": "sa1b",
        "paired": False,
        "recipe": DEFAULT_RECIPE.attributes(),
        "fingerprint": "0" * 64,
        "parts": [{"name": part_name(number), **entry} for number in range(num_parts)],
        "totals": {table: rows * num_parts for table, rows in ROWS.items()},
    }
    write_metadata(store, attributes | {"sha256": attributes_digest(attributes)})


def make_part(part: Path) -> str:
    """Write the tables of a part that an order reads; return the digest of its metadata."""
    random = np.random.default_rng(0)
    keys = [f"sa1b/sa_{number}".encode() for number in random.integers(1, 11_000_000, IMAGES)]
    columns = {
        "images/key_offsets": np.cumsum([0, *map(len, keys)], dtype=np.int64),
        "images/key_bytes": np.frombuffer(b"".join(keys), np.uint8),
        "masks/image": np.repeat(np.arange(IMAGES), MASKS // IMAGES),
        "masks/area": random.integers(1, 1_000_000, MASKS),
        "masks/prompt_cells": random.integers(0, 12, MASKS).astype(np.int32),
        "samples/mask": np.arange(MASKS)[:, None],
    }
    files = {}
    part.mkdir(parents=True)
    for spec in array_specs(DEFAULT_RECIPE, 1):
        if spec.path in columns:
            with ShardWriter(part, shard_path(spec), spec.codec) as shard:
                shard.append(columns[spec.path])
            assert shard.digest is not None
            files[shard_path(spec)] = {"bytes": shard.digest.bytes, "sha256": shard.digest.sha256}
    return write_metadata(part, {"part": 0, "rows": ROWS, "files": files})


def write_metadata(group: Path, attributes: dict[str, object]) -> str:
    metadata = {"attributes": {ATTRIBUTES_KEY: attributes}, "zarr_format": 3, "node_type": "group"}
    encoded = json.dumps(metadata, indent=1).encode()
    (group / "zarr.json").write_bytes(encoded)
    return hashlib.sha256(encoded).hexdigest()


def memory() -> dict[str, float]:
    """Return the memory of this process in MB, as Linux counts it in each field of `smaps_rollup`."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}


def measure(path: Path, rule: dict[str, Any]) -> list[float]:
    """Return seconds to open and to index, milliseconds of the first and a later batch, and memory."""
    if "cache" in rule:
        rule = rule | {"cache": path.parent / rule["cache"]}
    before = memory()["Rss"]
    start = time.perf_counter()
    store = Store(path)
    opened = time.perf_counter()
    index = SampleIndex(store, **rule)
    indexed = time.perf_counter()
    plan = Order([index], OrderOptions(seed=1)).plan(Batching(batch_size=8))
    plan.batch(0)
    first = time.perf_counter()
    for number in range(1, 101):
        plan.batch(number)
    last = time.perf_counter()
    after = memory()
    times = [opened - start, indexed - opened, (first - indexed) * 1e3, (last - first) * 10]
    return [*times, after["Rss"], after["Anonymous"], before]


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), RULES[sys.argv[3]])))
        return
    parser = parser_of(__doc__, rounds=3)
    parser.add_argument("--masks", choices=PART_COUNTS, help="one store only; default: one after the other")
    options = parser.parse_args()
    print_about()
    print_head("masks", "samples are", *FIGURES)
    with scratch(options.folder) as folder:
        for name in [options.masks] if options.masks else PART_COUNTS:
            path = folder / str(PART_COUNTS[name]) / "store.zarr"
            make_store(path, PART_COUNTS[name])
            # The first round writes what is kept, and reads files into the page cache.
            rounds = [
                {rule: ask("scale", "--measure", path, rule) for rule in RULES}
                for _ in range(1 + options.rounds)
            ][1:]
            for rule in RULES:
                columns = zip(*(one[rule] for one in rounds), strict=True)
                print_row(name, rule, *(f"{statistics.median(column):.4g}" for column in columns))
    # The bars are of the largest one that was measured.
    print_bars(
        (
            f"{rule}: {what}, of {other}",
            [one[rule][FIGURES.index(what)] / one[other][FIGURES.index(what)] for one in rounds],
            -bar,
        )
        for rule, other, what, bar in BARS
    )


if __name__ == "__main__":
    main()
