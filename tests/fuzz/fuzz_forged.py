"""Reads forged stores in every way: `python tests/fuzz/fuzz_forged.py COUNT [SEED] [FIRST]`.

Each store is changed in one or two places and signed anew, so that no checksum tells. Whoever reads it gets what it says,
an error of this project or a finding: no other exception, no process above 1.5 GB resident, no wait of 20 seconds.
"""

import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

from click.testing import CliRunner
from forge import Forgery, change_some, swap_file
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import COMPACT_IMAGES, CONFIGS, VIEWS

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

MAX_SECONDS = 20
MAX_RESIDENT_KB = 1_500_000

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "coco": ("coco", ()),
    "compact": ("refcoco", COMPACT_IMAGES),
    "float32": ("sa1b", ("recipe.pixel_values.stored=float32",)),
    "pairs": ("sav", ()),
    "views": ("coco", VIEWS),
}
"""Source and recipe of each store that is forged."""


def make_stores(folder: Path) -> None:
    """Write a sound store of each kind, and its raw dataset."""
    for kind, (source, overrides) in KINDS.items():
        WRITERS[source](folder / f"{kind}-raw", [picture_of(60 + 7 * n, 90, n) for n in range(4)])
        sizes = ("recipe.pixel_values.size=28", "recipe.g_pixel_values.size=64", "recipe.masks.size=64")
        chosen = overrides if overrides == VIEWS else (*sizes, *overrides)
        config = load_config(CONFIGS / f"{source}.toml", ["store.scenes_per_part=2", *chosen])
        convert(config, folder / f"{kind}-raw", folder / f"{kind}.zarr")


def forge(folder: Path, number: int, seed: int) -> tuple[str, str]:
    """Write forged store `number` as `folder / "forged.zarr"`; return its kind and what was changed."""
    chance = Random(f"{seed}-{number}")
    kind = list(KINDS)[number % len(KINDS)]
    forgery, forged = Forgery(folder / f"{kind}.zarr"), folder / "forged.zarr"
    rmtree(forged, ignore_errors=True)
    if chance.random() < 0.15:
        forgery.write(forged)
        return kind, swap_file(forged, chance)
    changed = change_some(forgery, chance)
    forgery.write(forged)
    return kind, changed


def load(store: Path) -> None:
    """Read a store as trainers do."""
    from resizeonce.loader import BatchLoader, Order, OrderOptions, SampleIndex, Store, Subset

    opened = Store(store)
    for sample in range(min(len(opened), 4)):
        opened[sample]
        opened.key(sample), opened.expressions(sample)
    for subset in (
        Subset(key_range=(0, 0.9)),
        Subset(min_area=5, min_prompt_cells=1),
        Subset(key_prefixes=("coco/",)),
    ):
        SampleIndex(Store(store), subset)
    index = SampleIndex(Store(store), Subset(key_range=(0, 0.99)), masks="one")
    order = Order([index], OrderOptions(seed=1))
    for batch, _ in zip(BatchLoader(order, 2, 0), range(2), strict=False):
        # Not their sum, for which torch makes eight bytes of each pixel.
        [mask.max() for mask in batch["masks1" if opened.paired else "masks"]]


def draw(store: Path) -> None:
    """Draw samples of a store as trainers do."""
    import numpy as np

    from resizeonce.loader import Clip, Objects, SampleIndex, Store
    from resizeonce.loader.order.draws import draw_sample

    opened = Store(store)
    kinds = ["masks", "expressions"] if opened.attributes["totals"]["expressions"] else ["masks"]
    for of in kinds:
        for one in (
            Objects(at_most=3, of=of),
            Clip(frames=2, objects=2, of=of, visible="any", short="repeat"),
            Clip(frames=1, objects=2, of=of),
        ):
            index = SampleIndex(opened, draw=one)
            for number in index.samples(np.arange(min(len(index), 4)), 0).tolist():
                part, row = index.locate(number)
                draw_sample(opened.tables(part), row, number, one, index.subset)


def readers(store: Path, raw: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield each way to read a store, by its name."""
    from resizeonce.preprocess.cli import main

    def command(*arguments: object) -> None:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        # To audit a raw dataset that is not the store's, as a forged job says, is wrong usage.
        codes = (0, 1, 2, 4) if arguments[0] == "audit" else (0, 1, 4)
        assert result.exit_code in codes, f"exit code {result.exit_code}"
        result.stdout.encode()
        printed = set() if "--json" in arguments else set(result.output) - {"\n"}
        assert all(character.isprintable() for character in printed), "it prints what is no character"

    sound = raw.with_name(f"{raw.name.removesuffix('-raw')}.zarr")
    preview = store.with_name("card")
    yield "loader", lambda: load(store)
    yield "draws", lambda: draw(store)
    yield "info", lambda: command("info", store)
    yield "info --json", lambda: command("info", store, "--json")
    yield "verify", lambda: command("verify", store)
    yield "verify --json", lambda: command("verify", store, "--json", "--values")
    yield "verify --values", lambda: command("verify", store, "--values")
    yield "verify --source", lambda: command("verify", store, "--source", raw)
    yield "verify --source STORE", lambda: command("verify", store, "--source", store)
    yield "audit", lambda: command("audit", store, "--against", store)
    yield "audit --source", lambda: command("audit", store, "--against", store, "--source", raw, "--no-near")
    yield "diff", lambda: command("diff", sound, store, "--all")
    yield "diff --json", lambda: command("diff", store, sound, "--json")
    yield "card", lambda: command("card", store, "-o", preview, "--parquet", preview, "--overwrite")


def is_ours(error: BaseException) -> bool:
    """Whether an exception is one that a reader of a store may raise."""
    from resizeonce.loader.format.errors import PreprocessError

    # A subset of a store may be empty, and a loader of no batch is refused.
    is_empty = isinstance(error, ValueError) and any(
        words in str(error) for words in ("no sample of", "has no sample", "batch")
    )
    return isinstance(error, PreprocessError) or is_empty


def _too_long(*_: object) -> None:
    raise TimeoutError(f"no answer in {MAX_SECONDS} s")


def _peak_kb() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1])


def read_forged(folder: Path, number: int, seed: int) -> list[str]:
    """Forge a store and read it in every way; return what was wrong."""
    kind, changed = forge(folder, number, seed)
    wrong = []
    for name, read in readers(folder / "forged.zarr", folder / f"{kind}-raw"):
        Path("/proc/self/clear_refs").write_text("5")
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(MAX_SECONDS)
        started = time.monotonic()
        try:
            read()
        except BaseException as error:
            if not is_ours(error):
                place = traceback.extract_tb(error.__traceback__)[-1]
                wrong.append(
                    f"{name}: {type(error).__name__}: {error!s:.150} at {place.filename}:{place.lineno}"
                )
        signal.alarm(0)
        if (peak := _peak_kb()) > MAX_RESIDENT_KB:
            wrong.append(f"{name}: {peak // 1024} MB")
        if (seconds := time.monotonic() - started) > MAX_SECONDS / 2:
            wrong.append(f"{name}: {seconds:.0f} s")
    return [f"{number} {kind}: {changed}: {text}" for text in wrong]


def _read_some(arguments: tuple[str, int, int, int]) -> list[str]:
    folder, first, count, seed = arguments
    warnings.simplefilter("ignore")
    # Part of no reading: a busy machine takes its time to import torch, and compiles what is new.
    load(Path(folder) / "coco.zarr")
    with tempfile.TemporaryDirectory(dir=folder) as own:
        for path in Path(folder).iterdir():
            if path.suffix == ".zarr" or path.name.endswith("-raw"):
                (Path(own) / path.name).symlink_to(path)
        return [
            text for number in range(first, first + count) for text in read_forged(Path(own), number, seed)
        ]


def fuzz(count: int, seed: int, first: int = 0, processes: int = 2, at_once: int = 50) -> list[str]:
    """Read `count` forged stores; return what was wrong."""
    with tempfile.TemporaryDirectory() as name:
        make_stores(Path(name))
        shares: list[Any] = [
            (name, start, min(at_once, first + count - start), seed)
            for start in range(first, first + count, at_once)
        ]
        if processes == 1:
            return [text for share in shares for text in _read_some(share)]
        wrong = []
        with get_context("spawn").Pool(processes, maxtasksperchild=4) as pool:
            for number, found in enumerate(pool.imap_unordered(_read_some, shares)):
                for text in found:
                    print(text, flush=True)
                wrong += found
                if number % 10 == 9:
                    print(f"{(number + 1) * at_once} stores", flush=True)
        return wrong


def main(arguments: list[str]) -> int:
    """Return how many readings of forged stores ended otherwise than they should, 1 at most."""
    count, seed, first = (int(value) for value in [*arguments, "0", "0"][:3]) if arguments else (1000, 0, 0)
    wrong = fuzz(count, seed, first)
    print(f"{count} forged stores, {len(wrong)} readings wrong")
    return min(len(wrong), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
