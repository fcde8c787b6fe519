"""Warm batches of a store of the recipe `lisa`, against a floor of the same views.

::

    python benchmarks/padded.py

The floor is the core's loops, on the rows of the same store where they are mapped, in the order in which the loader takes
them: two threads fill two batches each in turns, and nothing is looked up or handed over. Masks are at their own size. All
take turns; see benchmarks/README.md, section "Other recipes".
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import Workload, make_dataset
from measure import Times, print_bar, print_head, print_row, ratios, spread
from msgspec.structs import replace
from numpy.typing import NDArray

from resizeonce.loader import BatchLoader, BatchOptions, Ranks, Store
from resizeonce.loader.format.recipe import ImageView, Recipe, shown_size
from resizeonce.loader.kernels.batch_kernels import Delivery, Form, Rows, batch_kernels, norm_of
from resizeonce.loader.own_size import read_own_size
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.tensors.shipped import RECIPES

IMAGES, BATCH, ROUNDS = 128, 8, 9
BAR = 0.9


class Floor:
    """The rows of a store's views, and loops that write them, of as many samples as there are images."""

    def __init__(self, store: Store) -> None:
        self._store, self._views = store, store.recipe.images
        self._places = [store.locate(sample) for sample in range(len(store))]
        # Of each thread its own, made once.
        self._memory = [self._new_memory() for _ in range(2)]

    def batches(self, numbers: Sequence[Sequence[int]]) -> int:
        """Fill a batch for each list of samples; return how many samples that were."""
        rooms, masks = self._memory.pop()
        for at, samples in enumerate(numbers):
            self._fill(samples, rooms[at % 2], masks[at % 2])
        self._memory.append((rooms, masks))
        return sum(map(len, numbers))

    def _new_memory(self) -> tuple[list[dict[str, NDArray[Any]]], NDArray[np.bool_]]:
        """Return room for two batches, which is used in turns."""
        rooms = [
            {name: np.zeros((BATCH, 3, *view.size), np.float32) for name, view in self._views.items()}
            for _ in range(2)
        ]
        return rooms, np.zeros((2, BATCH, 1500 * 2250), np.bool_)

    def _fill(
        self, samples: Sequence[int], rooms: Mapping[str, NDArray[Any]], masks: NDArray[np.bool_]
    ) -> None:
        parts = [self._places[sample][0] for sample in samples]
        rows = [int(self._places[sample][1][0]) for sample in samples]
        images = [part.column("masks/image").item(row) for part, row in zip(parts, rows, strict=True)]
        for name, view in self._views.items():
            arrays = [part.array(f"images/{name}") for part in parts]
            spans = np.array(
                [array.span(image) for array, image in zip(arrays, images, strict=True)], np.int64
            )
            delivery = Delivery((3, *view.size), norm_of(view), self._shown(view, parts, images))
            kernel = batch_kernels()[Form("raw", "uint8", np.dtype(np.float32))]
            kernel.fill_rows(Rows([array.content for array in arrays], spans, True), rooms[name], delivery)
        for place, (part, row) in enumerate(zip(parts, rows, strict=True)):
            one = read_own_size(part, "masks/masks", row)
            one.expand(masks[place, : one.height * one.width].reshape(one.height, one.width))

    @staticmethod
    def _shown(view: ImageView, parts: Sequence[Any], images: Sequence[int]) -> NDArray[np.int64] | None:
        if view.fit != "pad":
            return None
        sizes = (
            part.column("images/size")[image].tolist() for part, image in zip(parts, images, strict=True)
        )
        return np.array([shown_size(view, *size) for size in sizes], np.int64)


def lisa_store(folder: Path) -> Path:
    workload = Workload("SA-1B", (1500, 2250), 1)
    make_dataset(folder / "raw", workload, IMAGES)
    recipe: Recipe = RECIPES["lisa"]
    convert(replace(workload.config(IMAGES, IMAGES), recipe=recipe), folder / "raw", folder / "store")
    return folder / "store"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = lisa_store(Path(folder))
        store = Store(path)
        floor, order = (
            Floor(store),
            np.random.default_rng(0).permutation(len(store)).reshape(-1, BATCH).tolist(),
        )
        loaders = {
            f"BatchLoader, 2 {'processes' if mode == 'process' else 'threads'}": BatchLoader(
                path, BATCH, 2, options=BatchOptions(mode=mode, ranks=Ranks())
            )
            for mode in ("thread", "process")
        }

        def go_through(loader: BatchLoader) -> None:
            assert sum(len(batch["key"]) for batch in loader) == len(store)

        with ThreadPoolExecutor(2) as threads:
            cases = {
                "the loops, 2 threads": lambda: list(threads.map(floor.batches, (order[::2], order[1::2]))),
                **{name: partial(go_through, loader) for name, loader in loaders.items()},
            }
            times = {name: Times() for name in cases}
            for case in list(cases.values()) * 5:
                case()
            for _ in range(ROUNDS):
                for name, case in cases.items():
                    times[name].add(len(store), case)
        print_head("recipe lisa, batches of 8", "samples a second")
        for name, one in times.items():
            print_row(name, spread(1 / seconds for seconds in one.wall))
        for name in loaders:
            print_bar(
                f"{name}: of the rate of the loops", ratios(times["the loops, 2 threads"], times[name]), BAR
            )
        for loader in loaders.values():
            loader.close()


if __name__ == "__main__":
    main()
