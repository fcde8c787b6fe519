"""Views and draws other than the default, each against a floor that does the least which has to be done.

::

    python benchmarks/views.py [own-size] [lisa] [drawn]       all by default

- `own-size`: masks of SA-1B's size, against loops that have their run lengths in memory and only unpack them: one by one, and
  by one call for a batch, which clears memory past the caches.
- `lisa`: batches of a store of that recipe, against the core's loops on the same mapped rows, with checksums, in two threads.
- `drawn`: 64 masks of an image, and clips of 8 frames with 3 objects, against threads that have the rows in memory, a mask in a
  byte a pixel, and fill and read the same tensors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Literal

import frame
import numpy as np
from case import DTYPES, TENSORS, consume
from data import WORKLOADS, draw_video, make_dataset
from floor import NORM
from numpy.typing import NDArray
from PIL import Image
from plain import read_raw
from pycocotools import mask as coco_mask

from resizeonce.loader import (
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    OrderOptions,
    SampleDataset,
    SampleIndex,
    Store,
)
from resizeonce.loader.format.recipe import shown_size
from resizeonce.loader.kernels.batch_kernels import norm_of
from resizeonce.loader.kernels.core import CORE, Action
from resizeonce.loader.kernels.mask_runs import expand_all
from resizeonce.loader.own_size import read_own_size
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

SIZE = (1500, 2250)
Way = tuple[str, int, Literal["thread", "process"]]
"""Name, workers and mode of a loader."""
WAYS: tuple[Way, ...] = (
    ("no worker", 0, "process"),
    ("2 threads", 2, "thread"),
    ("2 processes", 2, "process"),
)

AHEAD = 8
"""Batches, more than any of them fills ahead."""

Arrays = Mapping[str, NDArray[Any]]


def fill_in_threads(fill: Callable[[int, Any], None], buffers: Sequence[Sequence[Any]], count: int) -> None:
    """Fill what is numbered so, by a thread for each two buffers, which it uses in turns."""

    def fill_share(first: int) -> None:
        for place, number in enumerate(range(first, count, len(buffers))):
            fill(number, buffers[first][place % 2])

    with ThreadPoolExecutor(len(buffers)) as threads:
        list(threads.map(fill_share, range(len(buffers))))


@contextmanager
def epochs_of(
    source: Path | Order, batch_size: int, ways: Sequence[Way], tensors: Sequence[str] | None = None
) -> Iterator[dict[str, Iterator[Any]]]:
    """Yield the batches of a loader for each way, of one epoch after the other without end."""
    with ExitStack() as stack:
        epochs = {}
        for name, workers, mode in ways:
            loader = BatchLoader(
                source, batch_size, workers, options=BatchOptions(mode=mode, tensors=tensors)
            )
            stack.enter_context(closing(loader))
            epochs[f"BatchLoader, {name}"] = chain.from_iterable(repeat(loader))
        yield epochs


def turn_of(batches: Iterator[object], count: int, items: int) -> frame.Turn:
    """Return a turn of so many batches: what is filled ahead in the others' turns is read before its time begins."""
    return frame.Turn(items, lambda: exhaust(islice(batches, count)), lambda: exhaust(islice(batches, AHEAD)))


def twice(items: int, call: Callable[[], object]) -> frame.Turn:
    """Return a turn that is begun once what loaders fill ahead at the end of theirs is filled."""
    return frame.Turn(items, call, before=call)


def shuffled(count: int, batch_size: int) -> list[list[int]]:
    order: list[list[int]] = np.random.default_rng(0).permutation(count).reshape(-1, batch_size).tolist()
    return order


def exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def measure_own_size(folder: Path, options: Any) -> list[frame.Bar]:
    workload, images, batch_size = WORKLOADS[0], 8, 32
    make_dataset(folder / "raw", workload, images)
    views = {
        "small": {"kind": "image", "size": 64},
        "masks": {"kind": "mask", "over": "small", "size": "own"},
    }
    convert(workload.config(images, views), folder / "raw", folder / "store")
    store, dataset = Store(folder / "store"), SampleDataset(folder / "store", ["masks"])
    segmentations = [mask for raw in read_raw(folder / "raw", images) for mask in raw.masks]
    for sample, segmentation in enumerate(segmentations):
        mask = store.batch([sample], ["masks"])["masks"][0]
        assert np.array_equal(mask, coco_mask.decode(segmentation)), sample
    places = [store.locate(sample) for sample in range(len(store))]
    runs = [read_own_size(part, "masks/masks", int(mask)) for part, (mask,) in places]
    order, buffers = shuffled(len(runs), batch_size), np.zeros((2, batch_size, *SIZE), np.bool_)
    starts = range(0, buffers[0].size, buffers[0, 0].size)

    def unpack_each() -> None:
        for number, batch in enumerate(order):
            for out, sample in zip(buffers[number % 2], batch, strict=True):
                runs[sample].expand(out)

    def unpack_batches() -> None:
        for number, batch in enumerate(order):
            expand_all([runs[sample] for sample in batch], starts, buffers[number % 2])

    loops = {
        "a loop of single masks": twice(len(runs), unpack_each),
        "a loop of batches": twice(len(runs), unpack_batches),
    }
    turns = {
        **loops,
        "SampleDataset": twice(len(runs), lambda: exhaust(dataset[batch] for batch in order)),
    }
    with epochs_of(folder / "store", batch_size, WAYS, ["masks"]) as epochs:
        turns |= {name: turn_of(batches, len(order), len(runs)) for name, batches in epochs.items()}
        times = frame.take_turns(turns, options.rounds, untimed=1)
    frame.print_times("masks of 1500 x 2250, batches of 32", times, "a loop of single masks")
    return [
        (f"{name}: of {loop}", frame.ratios(times[loop], times[name]), 0.8)
        for loop in loops
        for name in turns
        if name not in loops
    ]


class LisaFloor:
    """The core's loops on the rows of a store, where they are mapped; nothing is looked up or handed over."""

    def __init__(self, store: Store, order: Sequence[Sequence[int]]) -> None:
        self._views, self._order = store.recipe.images, order
        # Every image has one mask, so both are of the same row.
        self._places = [(part, int(mask)) for part, (mask,) in map(store.locate, range(len(store)))]
        self._shown = {
            name: np.tile(np.int64(shown_size(view, *SIZE)), (len(order[0]), 1))
            if view.fit == "pad"
            else None
            for name, view in self._views.items()
        }

    def new_buffers(self) -> Arrays:
        batch_size = len(self._order[0])
        images = {
            name: np.zeros((batch_size, 3, *view.size), np.float32) for name, view in self._views.items()
        }
        return {**images, "masks": np.zeros((batch_size, *SIZE), np.bool_)}

    def fill(self, number: int, out: Arrays) -> None:
        assert CORE is not None
        places = [self._places[sample] for sample in self._order[number]]
        for name, view in self._views.items():
            arrays = [(part.array(f"images/{name}"), row) for part, row in places]
            files = [array.content for array, _ in arrays]
            spans = np.array([array.span(row) for array, row in arrays], np.int64)
            norm, shown = norm_of(view), self._shown[name]
            CORE.fill_rows(Action.NORMALIZE, files, spans, out[name], *view.size, norm, shown, True)
        for (part, row), mask in zip(places, out["masks"], strict=True):
            read_own_size(part, "masks/masks", row).expand(mask)


def measure_lisa(folder: Path, options: Any) -> list[frame.Bar]:
    workload, batch_size = WORKLOADS[1], 8
    make_dataset(folder / "raw", workload, options.images)
    convert(workload.config(options.images, {"name": "lisa"}), folder / "raw", folder / "store")
    store = Store(folder / "store")
    order = shuffled(len(store), batch_size)
    floor = LisaFloor(store, order)
    buffers = [[floor.new_buffers() for _ in range(2)] for _ in range(2)]
    loops = "the loops, 2 threads"
    turns = {loops: twice(len(store), partial(fill_in_threads, floor.fill, buffers, len(order)))}
    with epochs_of(folder / "store", batch_size, WAYS[1:]) as epochs:
        turns |= {name: turn_of(batches, len(order), len(store)) for name, batches in epochs.items()}
        times = frame.take_turns(turns, options.rounds, untimed=5)
    frame.print_times("recipe lisa, batches of 8", times, loops)
    return [(f"lisa, {name}: of the loops", frame.ratios(times[loops], times[name]), 0.9) for name in epochs]


def keep_rows(batch: Mapping[str, Any]) -> Arrays:
    """Return the rows of a compact batch, large masks in a byte a pixel."""
    rows = {name: batch[name].numpy().copy() for name in TENSORS}
    return {**rows, "masks": np.unpackbits(rows["masks"], axis=-1)}


def fill_drawn(kept: Sequence[Arrays], number: int, out: Arrays) -> None:
    """Do what becomes of a sample's rows that are in memory, and read it as the consumer does."""
    assert CORE is not None
    rows = kept[number % len(kept)]
    pixels = rows["pixel_values"].reshape(-1, 3, 448, 448)
    CORE.normalize(pixels, NORM, None, out["pixel_values"], 448, 448)
    for name in ("g_pixel_values", "prompt_masks"):
        np.copyto(out[name], rows[name])
    CORE.widen(rows["masks"], out["masks"])
    consume(out)


def measure_drawn(folder: Path, options: Any) -> list[frame.Bar]:
    """Measure both draws with no worker, threads and processes; four samples of the floor are more than caches hold."""
    samples, kept = 24, 4
    for video in range(2):
        for time, arrays in enumerate(draw_video(video, SIZE, frames=8, objects=64, step=8)):
            for name, array in zip(("JPEGImages", "Annotations"), arrays, strict=True):
                path = folder / "raw" / name / str(video) / f"{time:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path, compress_level=1)
    config = parse_config({"source": {"name": "vos", "take": "all"}, "recipe": {"name": "default"}})
    convert(config, folder / "raw", folder / "store")
    store = Store(folder / "store")
    draws: dict[str, tuple[Objects | Clip, float]] = {
        "an image with 64 masks": (Objects(at_most=64), 0.8),
        "a clip of 8 frames and 3 objects": (Clip(frames=8, objects=3), 0.9),
    }
    bars = []
    for what, (draw, bar) in draws.items():
        frame.print_head(what, "a second", "ms each", "processor ms", "the floor, ms each", "of the floor")
        order = Order([SampleIndex(store, draw=draw)], OrderOptions(epoch_samples=AHEAD + samples))
        compact = BatchLoader(order, 1, 0, options=BatchOptions(compact=True))
        rows = [keep_rows(batch) for batch in islice(compact, kept)]
        for way in WAYS:
            buffers = [
                [
                    {name: np.zeros(array.shape, DTYPES[name]) for name, array in rows[0].items()}
                    for _ in range(2)
                ]
                for _ in range(max(way[1], 1))
            ]
            fill = partial(fill_in_threads, partial(fill_drawn, rows), buffers)
            with epochs_of(order, 1, [way]) as epochs:
                ((name, batches),) = epochs.items()
                turns = {
                    "ours": turn_of(map(consume, batches), samples, samples),
                    "floor": frame.Turn(samples, partial(fill, samples), partial(fill, AHEAD)),
                }
                ours, least = frame.take_turns(turns, options.rounds, untimed=1).values()
            of_floor = frame.ratios(least, ours)
            frame.print_row(name, *ours.cells(), least.cells()[1], frame.spread(of_floor, 2))
            bars.append((f"{what}, {name}: of the floor", of_floor, bar))
    return bars


MEASURES = {"own-size": measure_own_size, "lisa": measure_lisa, "drawn": measure_drawn}


def main() -> None:
    parser = frame.parser_of(__doc__, rounds=9, images=128)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; default: all")
    options = parser.parse_args()
    if unknown := set(options.names) - MEASURES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MEASURES)}")
    frame.print_about()
    bars: list[frame.Bar] = []
    for name in options.names or MEASURES:
        with frame.scratch(options.folder) as folder:
            bars += MEASURES[name](folder, options)
    frame.print_bars(bars)


if __name__ == "__main__":
    main()
