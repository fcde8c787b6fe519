"""Samples that are drawn, against a floor that moves the same bytes: 64 masks of an image, and clips of 8 frames and 3 objects.

::

    python benchmarks/drawn.py

The store is of videos with label maps, in frames of SA-1B's size. The floor has the rows in memory, images as they are stored and
masks a byte a pixel; each of its threads fills two samples of its own in turns. Both take turns; see benchmarks/README.md,
section "Drawn samples".
"""

import mmap
import tempfile
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from measure import Times, print_bar, print_head, print_row, ratios
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader import (
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    OrderOptions,
    SampleIndex,
    Store,
)
from resizeonce.loader.format.recipe import ImageView, Recipe
from resizeonce.loader.kernels.batch_kernels import norm_of
from resizeonce.loader.kernels.core import CORE
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

HEIGHT, WIDTH = 1500, 2250
VIDEOS, FRAMES, OBJECTS = 2, 8, 64
KEPT = 4
"""Samples of the floor: many times the processor's caches."""
LOADERS = ((0, BatchOptions()), (2, BatchOptions(mode="thread")), (2, BatchOptions()))
AHEAD, SAMPLES, ROUNDS = 8, 24, 7
VIEWS = ("pixel_values", "g_pixel_values", "prompt_masks", "masks")

Arrays = Mapping[str, NDArray[Any]]


def make_store(folder: Path) -> Store:
    """Return a store of videos of 64 ellipses with wavy edges, which cover one another and drift."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    for video in range(VIDEOS):
        rng = np.random.default_rng(video)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for value, radius in enumerate(np.geomspace(700, 20, OBJECTS), start=1):
            y, x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
            waves = 0.2 * np.sin(columns / 60 + rows / 50)
            labels[((rows - y) / radius) ** 2 + ((columns - x) / radius) ** 2 + waves < 1] = value
        # Whatever was covered all over is seen in a corner of its own.
        labels[:8, : 8 * OBJECTS] = np.repeat(np.arange(1, OBJECTS + 1), 8)
        coarse = rng.integers(0, 256, (HEIGHT // 50, WIDTH // 50, 3), np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT)))
        for frame in range(FRAMES):
            for name, array in (("JPEGImages", picture), ("Annotations", labels)):
                path = folder / "raw" / name / str(video) / f"{frame:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.roll(array, 8 * frame, axis=1)).save(path, compress_level=1)
    config = parse_config({"source": {"name": "vos", "take": "all"}, "recipe": {"name": "default"}})
    convert(config, folder / "raw", folder / "store")
    return Store(folder / "store")


class Floor:
    """Threads that fill samples of rows in memory, as compact batches of one sample each have them."""

    def __init__(self, recipe: Recipe, batches: Iterable[Mapping[str, Any]], num_threads: int) -> None:
        self._views = recipe.views
        self._samples = [{name: self._rows(name, batch[name].numpy()) for name in VIEWS} for batch in batches]
        dtypes = ("float32", "uint8", "float32", "float32")
        shapes = [self._samples[0][name].shape for name in VIEWS]
        self._outs = [
            [dict(zip(VIEWS, map(np.zeros, shapes, dtypes), strict=True)) for _ in "ab"]
            for _ in range(num_threads)
        ]

    def _rows(self, name: str, stored: NDArray[Any]) -> NDArray[Any]:
        view = self._views[name]
        if isinstance(view, ImageView):
            return stored.reshape(-1, *stored.shape[-3:]).copy()
        cells = stored if view.role == "prompt" else np.unpackbits(stored, axis=-1)
        return cells.reshape(-1, *view.grid).copy()

    def run(self, samples: int) -> None:
        """Fill samples by all threads, and read them as `consume` does."""
        shares = [range(first, samples, len(self._outs)) for first in range(len(self._outs))]
        threads = [
            threading.Thread(target=self._fill, args=one) for one in zip(shares, self._outs, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _fill(self, numbers: range, outs: list[Arrays]) -> None:
        assert CORE is not None
        for number in numbers:
            out = outs[number // numbers.step % 2]
            for name, rows in self._samples[number % KEPT].items():
                view = self._views[name]
                if isinstance(view, ImageView) and view.values == "normalized":
                    CORE.normalize(rows, norm_of(view), None, out[name], *view.size)
                elif isinstance(view, ImageView) or view.role == "prompt":
                    np.copyto(out[name], rows)
                else:
                    CORE.widen(rows, out[name])
            consume(out)


def consume(batch: Mapping[str, Any]) -> None:
    """Read one byte of each page of the views."""
    for name in VIEWS:
        np.asarray(batch[name]).reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()


def go_through(batches: Iterable[Mapping[str, Any]]) -> None:
    for batch in batches:
        consume(batch)


def take_turns(floor: Floor, loader: BatchLoader) -> tuple[Times, Times]:
    """Time both; the first samples of each turn, which the loader filled ahead in the other's, are not timed."""
    ours, least = Times(), Times()
    for number in range(ROUNDS + 1):
        # The first round makes pages and starts workers.
        of_loader, of_floor = (ours, least) if number else (Times(), Times())
        batches = iter(loader)
        go_through(islice(batches, AHEAD))
        of_loader.add(SAMPLES, partial(go_through, batches))
        floor.run(AHEAD)
        of_floor.add(SAMPLES, partial(floor.run, SAMPLES))
    return ours, least


def measure(store: Store, what: str, draw: Objects | Clip, bar: float) -> None:
    order = Order([SampleIndex(store, draw=draw)], OrderOptions(epoch_samples=AHEAD + SAMPLES))
    print_head(what, "ms a sample", "the floor")
    for workers, options in LOADERS:
        compact = islice(BatchLoader(order, 1, 0, options=BatchOptions(compact=True)), KEPT)
        loader = BatchLoader(order, 1, workers, options=options)
        ours, least = take_turns(Floor(store.recipe, compact, max(workers, 1)), loader)
        loader.close()
        print_row(f"{workers} workers, {options.mode}", ours, least)
        print_bar(f"{what}: of the floor", ratios(least, ours), bar)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder))
        measure(store, "an image with 64 masks", Objects(at_most=OBJECTS), 0.8)
        measure(store, "a clip of 8 frames and 3 objects", Clip(frames=FRAMES, objects=3), 0.9)


if __name__ == "__main__":
    main()
