"""Masks at their own size, as SA-1B's, against a loop that only unpacks their run lengths.

::

    python benchmarks/own_size.py

The loop has the run lengths in memory, in the order in which the readers take them, and unpacks each batch into memory that
it uses in turns. All take turns; see benchmarks/README.md, section "Masks at their own size".
"""

import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Times, print_bar, print_head, print_row, ratios, spread
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from resizeonce.loader import BatchLoader, BatchOptions, Ranks, SampleDataset, Store
from resizeonce.loader.kernels.mask_runs import RunLengths
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

HEIGHT, WIDTH = 1500, 2250
IMAGES, MASKS_OF_IMAGE, BATCH = 4, 96, 32
ROUNDS = 9
BAR = 0.8


def draw_masks(seed: int) -> NDArray[np.bool_]:
    """Return ellipses with wavy edges, bool [MASKS_OF_IMAGE, HEIGHT, WIDTH]: as in SA-1B, many are small and some large."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    waves = 0.1 * np.sin(columns / 7 + rows / 5)
    masks = []
    for radius in np.exp(rng.uniform(np.log(12), np.log(700), MASKS_OF_IMAGE)):
        y, x, stretch = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH), rng.uniform(0.5, 1.5)
        masks.append(((rows - y) / radius) ** 2 + ((columns - x) / radius / stretch) ** 2 + waves < 1)
    return np.stack(masks)


def make_store(folder: Path) -> Path:
    (folder / "raw").mkdir()
    for number in range(IMAGES):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        np.savez_compressed(folder / "raw" / f"{number}.npz", image=image, mask=draw_masks(number))
    views = {
        "small": {"kind": "image", "size": 64},
        "masks": {"kind": "mask", "over": "small", "size": "own"},
    }
    source = {"name": "npz", "paired": False, "dataset_type": "sa1b"}
    convert(parse_config({"source": source, "recipe": views}), folder / "raw", folder / "store")
    return folder / "store"


def run_lengths_of(store: Store) -> list[RunLengths]:
    """Return the run lengths of each sample, made here from what was drawn, which the store must give."""
    found = []
    for number in range(IMAGES):
        for mask in draw_masks(number):
            flat = mask.T.reshape(-1)
            ends = np.flatnonzero(np.diff(flat, prepend=False, append=~flat[-1:]))
            found.append(RunLengths(HEIGHT, WIDTH, np.diff(ends, prepend=0).astype(np.uint32)))
            (given,) = store.batch([len(found) - 1], ["masks"])["masks"]
            assert np.array_equal(given, mask), len(found)
    return found


def encode(mask: RunLengths) -> dict[str, Any]:
    """Return a mask as pycocotools holds it."""
    size = [mask.height, mask.width]
    encoded: dict[str, Any] = coco_mask.frPyObjects({"size": size, "counts": mask.runs.tolist()}, *size)
    return encoded


def main() -> None:
    order = np.random.default_rng(0).permutation(IMAGES * MASKS_OF_IMAGE).reshape(-1, BATCH).tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder))
        store, dataset = Store(path), SampleDataset(path, ["masks"])
        runs = run_lengths_of(store)
        encoded = [encode(mask) for mask in runs]
        rooms = np.zeros((2, BATCH, HEIGHT, WIDTH), np.bool_)

        def unpack() -> None:
            for number, batch in enumerate(order):
                for room, sample in zip(rooms[number % 2], batch, strict=True):
                    runs[sample].expand(room)

        def unpack_by_pycocotools() -> None:
            for batch in order:
                coco_mask.decode([encoded[sample] for sample in batch])

        def go_through(batches: Iterable[Mapping[str, Any]]) -> None:
            assert sum(len(batch["masks"]) for batch in batches) == len(store)

        loaders = {
            f"BatchLoader, {workers} {mode}": BatchLoader(
                path, BATCH, workers, options=BatchOptions(mode=mode, tensors=("masks",), ranks=Ranks())
            )
            for mode, workers in (("process", 0), ("thread", 2), ("process", 2))
        }
        cases = {
            "run lengths unpacked, no more": unpack,
            "the same by pycocotools": unpack_by_pycocotools,
            "Store.batch": lambda: go_through(store.batch(batch, ["masks"]) for batch in order),
            "SampleDataset": lambda: go_through(dataset[batch] for batch in order),
            **{name: partial(go_through, loader) for name, loader in loaders.items()},
        }
        times = {name: Times() for name in cases}
        for case in cases.values():
            case()
        for _ in range(ROUNDS):
            for name, case in cases.items():
                times[name].add(len(store), case)
        print_head("masks of 1500 x 2250, batches of 32", "masks a second")
        for name, one in times.items():
            print_row(name, spread(1 / seconds for seconds in one.wall))
        for name in ("SampleDataset", *loaders):
            found = ratios(times["run lengths unpacked, no more"], times[name])
            print_bar(f"{name}: of the rate of the loop", found, BAR)
        for loader in loaders.values():
            loader.close()


if __name__ == "__main__":
    main()
