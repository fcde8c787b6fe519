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
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import frame
import numpy as np
from case import TENSORS, consume
from data import WORKLOADS, make_dataset, make_label_videos
from numpy.typing import NDArray

from resizeonce.loader import (
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    OrderOptions,
    Ranks,
    SampleDataset,
    SampleIndex,
    Store,
)
from resizeonce.loader.format.recipe import ImageView, shown_size
from resizeonce.loader.kernels.batch_kernels import Delivery, Rows, fill_rows, norm_of
from resizeonce.loader.kernels.core import CORE, Action
from resizeonce.loader.kernels.mask_runs import RunLengths, expand_all
from resizeonce.loader.own_size import read_own_size
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

SIZE = (1500, 2250)
Way = tuple[str, int, BatchOptions]
"""Name, workers and options of a loader."""
WAYS: tuple[Way, ...] = (
    ("no worker", 0, BatchOptions(ranks=Ranks())),
    ("2 threads", 2, BatchOptions(mode="thread", ranks=Ranks())),
    ("2 processes", 2, BatchOptions(ranks=Ranks())),
)

Arrays = Mapping[str, NDArray[Any]]


def fill_in_threads(fill: Callable[[int, Any], None], rooms: Sequence[Sequence[Any]], count: int) -> None:
    """Fill what is numbered so, by a thread for each two rooms, which it uses in turns."""

    def fill_share(first: int) -> None:
        for place, number in enumerate(range(first, count, len(rooms))):
            fill(number, rooms[first][place % 2])

    with ThreadPoolExecutor(len(rooms)) as threads:
        list(threads.map(fill_share, range(len(rooms))))


@contextmanager
def loaders_of(
    store: Path, batch_size: int, ways: Sequence[Way], **options: Any
) -> Iterator[dict[str, BatchLoader]]:
    """Yield a loader for each way."""
    with ExitStack() as stack:
        yield {
            f"BatchLoader, {name}": stack.enter_context(
                closing(BatchLoader(store, batch_size, workers, options=replace(how, **options)))
            )
            for name, workers, how in ways
        }


def shuffled(count: int, batch_size: int) -> list[list[int]]:
    order: list[list[int]] = np.random.default_rng(0).permutation(count).reshape(-1, batch_size).tolist()
    return order


def count_rows(batches: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(len(batch[name]) for batch in batches)


def draw_masks(seed: int, count: int) -> NDArray[np.bool_]:
    """Return ellipses with wavy edges, bool [count, 1500, 2250]: as in SA-1B, many are small and some large."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    waves = 0.1 * np.sin(columns / 7 + rows / 5)
    masks = []
    for radius in np.exp(rng.uniform(np.log(12), np.log(700), count)):
        y, x, stretch = rng.uniform(0, SIZE[0]), rng.uniform(0, SIZE[1]), rng.uniform(0.5, 1.5)
        masks.append(((rows - y) / radius) ** 2 + ((columns - x) / radius / stretch) ** 2 + waves < 1)
    return np.stack(masks)


def run_lengths_of(mask: NDArray[np.bool_]) -> RunLengths:
    flat = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat, prepend=False, append=~flat[-1:]))
    return RunLengths(*mask.shape, np.diff(ends, prepend=0).astype(np.uint32))


def measure_own_size(folder: Path, options: Any) -> list[frame.Bar]:
    images, of_image, batch_size = 4, 96, 32
    (folder / "raw").mkdir()
    runs: list[RunLengths] = []
    for number in range(images):
        masks = draw_masks(number, of_image)
        np.savez_compressed(folder / f"raw/{number}.npz", image=np.zeros((*SIZE, 3), np.uint8), mask=masks)
        runs += map(run_lengths_of, masks)
    views = {
        "small": {"kind": "image", "size": 64},
        "masks": {"kind": "mask", "over": "small", "size": "own"},
    }
    source = {"name": "npz", "paired": False, "dataset_type": "sa1b"}
    convert(parse_config({"source": source, "recipe": views}), folder / "raw", folder / "store")
    store, dataset = Store(folder / "store"), SampleDataset(folder / "store", ["masks"])
    for number, mask in enumerate(runs):
        assert np.array_equal(store.batch([number], ["masks"])["masks"][0], mask.expand()), number
    order, rooms = shuffled(len(runs), batch_size), np.zeros((2, batch_size, *SIZE), np.bool_)
    starts = range(0, rooms[0].size, rooms[0, 0].size)

    def unpack_each() -> None:
        for number, batch in enumerate(order):
            for room, sample in zip(rooms[number % 2], batch, strict=True):
                runs[sample].expand(room)

    def unpack_batches() -> None:
        for number, batch in enumerate(order):
            expand_all([runs[sample] for sample in batch], starts, rooms[number % 2])

    loops: dict[str, Callable[[], object]] = {
        "a loop of single masks": unpack_each,
        "a loop of batches": unpack_batches,
    }
    calls = loops | {
        "SampleDataset": lambda: count_rows((dataset[batch] for batch in order), "masks"),
    }
    with loaders_of(folder / "store", batch_size, WAYS, tensors=("masks",)) as loaders:
        calls |= {name: partial(count_rows, one, "masks") for name, one in loaders.items()}
        turns = {name: frame.Turn(len(runs), call) for name, call in calls.items()}
        times = frame.take_turns(turns, options.rounds, untimed=1)
    frame.print_times("masks of 1500 x 2250, batches of 32", times, next(iter(loops)))
    return [
        (f"{name}: of {loop}", frame.ratios(times[loop], times[name]), 0.8)
        for loop in loops
        for name in list(times)[len(loops) :]
    ]


class LisaFloor:
    """The core's loops on the rows of a store, where they are mapped; nothing is looked up or handed over."""

    def __init__(self, store: Store, order: Sequence[Sequence[int]]) -> None:
        self._views, self._order = store.recipe.images, order
        self._places = [store.locate(sample) for sample in range(len(store))]

    def new_room(self) -> tuple[Arrays, NDArray[np.bool_]]:
        batch_size = len(self._order[0])
        images = {
            name: np.zeros((batch_size, 3, *view.size), np.float32) for name, view in self._views.items()
        }
        return images, np.zeros((batch_size, SIZE[0] * SIZE[1]), np.bool_)

    def fill(self, number: int, room: tuple[Arrays, NDArray[np.bool_]]) -> None:
        found = [self._places[sample] for sample in self._order[number]]
        parts, rows = [part for part, _ in found], [int(masks[0]) for _, masks in found]
        images = [part.column("masks/image").item(row) for part, row in zip(parts, rows, strict=True)]
        for name, view in self._views.items():
            arrays = [part.array(f"images/{name}") for part in parts]
            spans = np.array([array.span(one) for array, one in zip(arrays, images, strict=True)], np.int64)
            shown = None
            if view.fit == "pad":
                sizes = [part.column("images/size")[one] for part, one in zip(parts, images, strict=True)]
                shown = np.array([shown_size(view, *size.tolist()) for size in sizes], np.int64)
            delivery = Delivery((3, *view.size), norm_of(view), shown)
            stored = Rows([array.content for array in arrays], spans, True)
            fill_rows(Action.NORMALIZE, stored, room[0][name], delivery)
        for part, row, memory in zip(parts, rows, room[1], strict=True):
            mask = read_own_size(part, "masks/masks", row)
            mask.expand(memory[: mask.height * mask.width].reshape(mask.height, mask.width))


def measure_lisa(folder: Path, options: Any) -> list[frame.Bar]:
    workload, batch_size = WORKLOADS[1], 8
    make_dataset(folder / "raw", workload, options.images)
    convert(workload.config(options.images, {"name": "lisa"}), folder / "raw", folder / "store")
    store = Store(folder / "store")
    order = shuffled(len(store), batch_size)
    floor = LisaFloor(store, order)
    rooms = [[floor.new_room() for _ in range(2)] for _ in range(2)]
    calls: dict[str, Callable[[], object]] = {
        "the loops, 2 threads": partial(fill_in_threads, floor.fill, rooms, len(order))
    }
    with loaders_of(folder / "store", batch_size, WAYS[1:]) as loaders:
        calls |= {name: partial(count_rows, one, "key") for name, one in loaders.items()}
        turns = {name: frame.Turn(len(store), call) for name, call in calls.items()}
        times = frame.take_turns(turns, options.rounds, untimed=5)
    least = times["the loops, 2 threads"]
    frame.print_times("recipe lisa, batches of 8", times, "the loops, 2 threads")
    return [(f"lisa, {name}: of the loops", frame.ratios(least, times[name]), 0.9) for name in loaders]


class DrawnFloor:
    """Rows in memory, of compact batches of one sample each, and what becomes of them."""

    def __init__(self, store: Store, batches: Iterable[Mapping[str, Any]]) -> None:
        self._views = store.recipe.views
        self._samples = [
            {name: self._rows(name, batch[name].numpy()) for name in TENSORS} for batch in batches
        ]
        self._shapes = [self._samples[0][name].shape for name in TENSORS]

    def _rows(self, name: str, stored: NDArray[Any]) -> NDArray[Any]:
        view = self._views[name]
        if isinstance(view, ImageView):
            return stored.reshape(-1, *stored.shape[-3:]).copy()
        cells = stored if view.role == "prompt" else np.unpackbits(stored, axis=-1)
        return cells.reshape(-1, *view.grid).copy()

    def new_room(self) -> Arrays:
        dtypes = ("float32", "uint8", "float32", "float32")
        return dict(zip(TENSORS, map(np.zeros, self._shapes, dtypes), strict=True))

    def fill(self, number: int, room: Arrays) -> None:
        assert CORE is not None
        for name, rows in self._samples[number % len(self._samples)].items():
            view = self._views[name]
            if isinstance(view, ImageView) and view.values == "normalized":
                CORE.normalize(rows, norm_of(view), None, room[name], *view.size)
            elif isinstance(view, ImageView) or view.role == "prompt":
                np.copyto(room[name], rows)
            else:
                CORE.widen(rows, room[name])
        consume(room)


class DrawnTurn:
    """An epoch of a loader: what it filled ahead in the others' turns is read before its time begins."""

    def __init__(self, loader: BatchLoader, ahead: int) -> None:
        self._loader, self._ahead = loader, ahead
        self._batches: Iterable[Mapping[str, Any]] = ()

    def begin(self) -> None:
        self._batches = iter(self._loader)
        for batch in islice(self._batches, self._ahead):
            consume(batch)

    def finish(self) -> None:
        for batch in self._batches:
            consume(batch)


def measure_drawn(folder: Path, options: Any) -> list[frame.Bar]:
    """Measure both draws with no worker, threads and processes; four samples of the floor are more than caches hold."""
    ahead, samples, kept = 8, 24, 4
    make_label_videos(folder / "raw", SIZE, videos=2, frames=8, objects=64)
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
        order = Order([SampleIndex(store, draw=draw)], OrderOptions(epoch_samples=ahead + samples))
        compact = islice(BatchLoader(order, 1, 0, options=BatchOptions(compact=True)), kept)
        floor = DrawnFloor(store, compact)
        for name, workers, how in WAYS:
            rooms = [[floor.new_room() for _ in range(2)] for _ in range(max(workers, 1))]
            run_floor = partial(fill_in_threads, floor.fill, rooms)
            loader = BatchLoader(order, 1, workers, options=how)
            turn = DrawnTurn(loader, ahead)
            turns = {
                "ours": frame.Turn(samples, turn.finish, turn.begin),
                "floor": frame.Turn(samples, partial(run_floor, samples), partial(run_floor, ahead)),
            }
            ours, least = frame.take_turns(turns, options.rounds, untimed=1).values()
            loader.close()
            frame.print_row(name, *ours.cells(), least.cells()[1], frame.spread(frame.ratios(least, ours), 2))
            bars.append((f"{what}, {name}: of the floor", frame.ratios(least, ours), bar))
    return bars


MEASURES = {
    "own-size": measure_own_size,
    "lisa": measure_lisa,
    "drawn": measure_drawn,
}


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
