"""One way to read batches, in a process of its own, for `benchmarks/loading.py`; it is told by pipe what to do.

::

    python benchmarks/loading_cases.py NAME FOLDER

Each line of standard input is a JSON object, and so is each answer on what was standard output:

- {"do": "check"}: a digest of each sample of one epoch, by the sample's number.
- {"do": "time", "seconds": 1}: whole epochs until the time is over.
- {"do": "forget"}: nothing of the dataset stays mapped, or filled ahead, so that it can be dropped from the page cache.
- {"do": "busy", "seconds": 1}: the same, with a consumer that works 20 ms of processor time after each batch, in pure
  Python.

Only the cases named `ours` and `floor` import anything of this project: the environments of the others don't have to
hold it.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from loading_case import (
    BATCH_SIZE,
    COMPACT_SHAPES,
    COMPACT_STORE,
    MEAN,
    STD,
    TENSORS,
    Arrays,
    Case,
    Rows,
    TorchCase,
    compact_arrays,
    consume,
    count_rows,
    expand,
    list_places,
    normalize,
    raw_name,
    work,
)
from loading_formats import Grain, HuggingFace, Lance, Safetensors
from loading_rivals import Ffcv, LitData, Mds, WebDataset
from numpy.typing import NDArray


class Floor(Case):
    """Rows in memory; each worker fills two buffers of its own in turn and reads them as the consumer does.

    Args:
        folder: as everywhere.
        workers: how many.
        processes: whether they are processes or threads.
    """

    ROWS = 128
    """Rows kept in memory: many times the processor's caches."""
    PORTION = 8
    """Batches that a worker fills when it is told to go."""

    def __init__(self, folder: Path, workers: int, *, processes: bool) -> None:
        from resizeonce.loader.kernels.native import native_loops

        super().__init__(folder)
        self._loops: Any = native_loops()
        self._workers, self._processes = workers, processes
        stored = compact_arrays(folder)
        self._rows = {name: np.array(stored[name][: self.ROWS]) for name in TENSORS}
        self._rows["masks"] = np.unpackbits(self._rows["masks"], axis=2)
        self._pipes: list[Any] = []

    def batches(self, epoch: int) -> Iterator[Arrays]:
        batch = new_batch()
        for start in range(0, self.ROWS, BATCH_SIZE):
            rows = range(start, start + BATCH_SIZE)
            self._fill(batch, rows)
            yield batch | {"index": [row + 1 for row in rows]}

    def time(self, seconds: float, *, busy: bool) -> dict[str, Any]:
        if busy:
            return self._time_trainer(seconds)
        if not self._pipes:
            self._start()
        batches, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            portion = max(self.PORTION, int(batches * (seconds / max(spent, 0.1) - 1) / self._workers))
            for pipe in self._pipes:
                pipe.send(min(portion, 64))
            for pipe in self._pipes:
                batches += pipe.recv()
        return {"samples": batches * BATCH_SIZE, "seconds": spent}

    def _time_trainer(self, seconds: float) -> dict[str, Any]:
        """Time the busy trainer alone: it gets the same batch again and again."""
        batch = next(iter(self.batches(0)))
        samples, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            samples += consume(batch)
            work()
        return {"samples": samples, "seconds": spent}

    def _start(self) -> None:
        for _ in range(self._workers):
            ours, theirs = multiprocessing.Pipe()
            if self._processes:
                multiprocessing.get_context("fork").Process(
                    target=self._serve, args=(theirs,), daemon=True
                ).start()
            else:
                threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
            self._pipes.append(ours)
        for pipe in self._pipes:
            # The buffers' pages are made here.
            pipe.send(4)
            pipe.recv()

    def _serve(self, pipe: Any) -> None:
        buffers, rng = [new_batch(), new_batch()], np.random.default_rng()
        with suppress(EOFError):
            while True:
                portion = pipe.recv()
                for number in range(portion):
                    batch = buffers[number % 2]
                    self._fill(batch, rng.integers(0, self.ROWS, BATCH_SIZE).tolist())
                    consume(batch)
                pipe.send(portion)

    def _fill(self, batch: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> None:
        stored, numbers = self._rows, np.array(rows, np.int64)

        def addresses(name: str) -> NDArray[np.int64]:
            return stored[name].ctypes.data + numbers * stored[name][0].nbytes

        self._loops.normalize_rows(addresses("pixel_values"), MEAN, STD, batch["pixel_values"])
        self._loops.copy_rows(addresses("g_pixel_values"), batch["g_pixel_values"])
        batch["prompt_masks"][:] = stored["prompt_masks"][numbers]
        for row, out in zip(rows, batch["masks"], strict=True):
            self._loops.widen(stored["masks"][row], out)


def new_batch() -> dict[str, NDArray[Any]]:
    return {
        name: np.empty(
            (BATCH_SIZE, *((1024, 1024) if name == "masks" else shape)),
            np.uint8 if name == "g_pixel_values" else np.float32,
        )
        for name, shape in COMPACT_SHAPES.items()
    }


class Ours(Case):
    """`loader.BatchLoader`."""

    def __init__(self, folder: Path, workers: int, mode: Any, store: str = "store.zarr") -> None:
        # Here, and not with the first batch: imports are not timed.
        import_module("torch")

        from resizeonce.loader.workers.batch_loader import BatchLoader, BatchOptions

        super().__init__(folder)
        self._make = partial(
            BatchLoader,
            folder / store,
            BATCH_SIZE,
            workers,
            options=BatchOptions(mode=mode),
        )

    @cached_property
    def _loader(self) -> Any:
        return self._make()

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)

    def forget(self) -> None:
        # What is filled by now is of the epoch that is left out.
        time.sleep(0.5)
        self._loader.set_epoch(self._loader.epoch + 1)
        super().forget()


class OursInDataLoader(TorchCase):
    """`loader.SampleDataset` with `loader.collate`."""

    def __init__(self, folder: Path, workers: int) -> None:
        from resizeonce import loader

        super().__init__(folder, workers)
        self._ours = loader

    def dataset(self) -> Any:
        return self._ours.SampleDataset(self.folder / "store.zarr")

    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "collate_fn": self._ours.collate}


class MemmapFull(TorchCase):
    """The delivered bytes themselves in .npy files."""

    def prepare(self) -> None:
        stored, count = compact_arrays(self.folder), count_rows(self.folder)
        out = self.folder / "full"
        out.mkdir(exist_ok=True)
        files = {
            name: np.lib.format.open_memmap(
                out / f"{name}.npy", mode="w+", dtype=array.dtype, shape=(count, *array.shape[1:])
            )
            for name, array in new_batch().items()
        }
        for row in range(count):
            sample = expand({name: stored[name][row] for name in TENSORS})
            for name, file in files.items():
                file[row] = sample[name].numpy()

    def dataset(self) -> Any:
        import torch

        arrays = {name: np.load(self.folder / "full" / f"{name}.npy", mmap_mode="c") for name in TENSORS}

        def read(row: int) -> dict[str, Any]:
            return {name: torch.from_numpy(array[row]) for name, array in arrays.items()}

        return Rows(count_rows(self.folder), read)


class MemmapCompact(TorchCase):
    """The compact arrays in .npy files, expanded by numpy."""

    def dataset(self) -> Any:
        arrays = compact_arrays(self.folder)

        def read(row: int) -> dict[str, Any]:
            return expand({name: array[row] for name, array in arrays.items()})

        return Rows(count_rows(self.folder), read)


STORED = {
    "pixel_values": "images/pixel_values",
    "g_pixel_values": "images/g_pixel_values",
    "prompt_masks": "masks/prompt_masks",
    "masks": "masks/masks",
}


def complete(sample: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Make what the trainer gets of a sample as it is stored."""
    import torch

    out = {
        "pixel_values": normalize(sample["pixel_values"]),
        "g_pixel_values": np.asarray(sample["g_pixel_values"]),
        "prompt_masks": sample["prompt_masks"].astype(np.float32),
        "masks": sample["masks"].astype(np.float32),
    }
    return {name: torch.from_numpy(array) for name, array in out.items()}


class ZarrPython(TorchCase):
    """zarr-python, one row of each array at a time. Small arrays are read once."""

    def __init__(self, folder: Path, workers: int) -> None:
        import zarr

        super().__init__(folder, workers)
        self._zarr = zarr
        self._opened: tuple[int, Any] = (0, None)

    def _parts(self) -> Any:
        # Its event loop does not survive a fork: each worker opens the store for itself.
        if self._opened[0] != os.getpid():
            parts = []
            for folder in sorted((self.folder / "store.zarr").glob("part-*")):
                group = self._zarr.open_group(folder, mode="r")
                arrays = {name: group[path] for name, path in STORED.items()}
                arrays["prompt_masks"] = arrays["prompt_masks"][:]
                parts.append(arrays)
            self._opened = (os.getpid(), parts)
        return self._opened[1]

    def dataset(self) -> Any:
        places = list_places(self.folder)

        def read(sample: int) -> dict[str, Any]:
            part, row = places[sample]
            return complete({name: np.asarray(array[row]) for name, array in self._parts()[part].items()})

        return Rows(len(places), read)


class TensorStore(Case):
    """TensorStore: all rows of a batch are read at once, by its own threads."""

    def __init__(self, folder: Path) -> None:
        import tensorstore
        import torch

        super().__init__(folder)
        self._ts, self._torch = tensorstore, torch

    @cached_property
    def _parts(self) -> list[dict[str, Any]]:
        parts = []
        for folder in sorted((self.folder / "store.zarr").glob("part-*")):
            futures = {
                name: self._ts.open(
                    {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / path)}},
                    open=True,
                    read=True,
                )
                for name, path in STORED.items()
            }
            arrays = {name: future.result() for name, future in futures.items()}
            arrays["prompt_masks"] = arrays["prompt_masks"].read().result()
            parts.append(arrays)
        return parts

    def _read(self, samples: Sequence[int]) -> list[dict[str, Any]]:
        places = [self._places[sample] for sample in samples]
        return [
            {
                name: array[row] if isinstance(array, np.ndarray) else array[row].read()
                for name, array in self._parts[part].items()
            }
            for part, row in places
        ]

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        return list_places(self.folder)

    def batches(self, epoch: int) -> Iterator[Arrays]:
        order = np.random.default_rng(epoch).permutation(len(self._places)).reshape(-1, BATCH_SIZE)
        ahead = iter(order)
        reads = [(samples, self._read(samples)) for samples in islice(ahead, 2)]
        while reads:
            samples, futures = reads.pop(0)
            reads += [(later, self._read(later)) for later in islice(ahead, 1)]
            rows = [
                complete({name: np.asarray(getattr(f, "result", lambda f=f: f)()) for name, f in row.items()})
                for row in futures
            ]
            batch = {name: self._torch.stack([row[name] for row in rows]) for name in TENSORS}
            yield batch | {"index": samples + 1}


class OnTheFly(TorchCase):
    """JPEG and run lengths, decoded and resized by Pillow for each sample, as trainers do now."""

    def __init__(self, folder: Path, workers: int, kind: str) -> None:
        from PIL import Image
        from pycocotools import mask as coco_mask

        super().__init__(folder, workers)
        self._image, self._coco_mask = Image, coco_mask
        self._raw = folder / kind
        self.limit = 8

    def dataset(self) -> Any:
        return Rows(self.limit * BATCH_SIZE, self._read) if self.limit else None

    def _read(self, row: int) -> dict[str, Any]:
        import torch

        path = self._raw / raw_name(row + 1)
        entry = json.loads(path.with_suffix(".json").read_bytes())["annotations"][0]
        image = self._image.open(path).convert("RGB")
        mask = self._image.fromarray(self._coco_mask.decode(entry["segmentation"]))
        bilinear, nearest = self._image.Resampling.BILINEAR, self._image.Resampling.NEAREST
        small, large = (
            np.ascontiguousarray(np.asarray(image.resize((size, size), bilinear)).transpose(2, 0, 1))
            for size in (448, 1024)
        )
        prompt, full = (np.array(mask.resize((size, size), nearest), np.float32) for size in (16, 1024))
        arrays = {
            "pixel_values": normalize(small),
            "g_pixel_values": large,
            "prompt_masks": prompt,
            "masks": full,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


CASES: dict[str, Callable[[Path], Case]] = {
    "floor, 2 processes": partial(Floor, workers=2, processes=True),
    "floor, 2 threads": partial(Floor, workers=2, processes=False),
    "floor, 1 thread": partial(Floor, workers=1, processes=False),
    "ours, 2 processes": partial(Ours, workers=2, mode="process"),
    "ours, 2 threads": partial(Ours, workers=2, mode="thread"),
    "ours, no workers": partial(Ours, workers=0, mode="thread"),
    "ours, compact images, 2 processes": partial(Ours, workers=2, mode="process", store=COMPACT_STORE),
    "ours, compact images, 2 threads": partial(Ours, workers=2, mode="thread", store=COMPACT_STORE),
    "ours in DataLoader, 2 workers": partial(OursInDataLoader, workers=2),
    "ours in DataLoader, no workers": partial(OursInDataLoader, workers=0),
    "FFCV, 2 threads": partial(Ffcv, workers=2),
    "np.memmap full, no workers": partial(MemmapFull, workers=0),
    "np.memmap compact, no workers": partial(MemmapCompact, workers=0),
    "np.memmap full, 2 workers": partial(MemmapFull, workers=2),
    "np.memmap compact, 2 workers": partial(MemmapCompact, workers=2),
    "TensorStore": TensorStore,
    "LitData, 2 workers": partial(LitData, workers=2),
    "MosaicML Streaming, 2 workers": partial(Mds, workers=2),
    "WebDataset, 2 workers": partial(WebDataset, workers=2),
    "Hugging Face datasets, no workers": partial(HuggingFace, workers=0),
    "safetensors, no workers": partial(Safetensors, workers=0),
    "Lance": Lance,
    "Grain, 16 threads": partial(Grain, threads=16),
    "zarr-python, no workers": partial(ZarrPython, workers=0),
    "zarr-python, 2 workers": partial(ZarrPython, workers=2),
    "resize at train time, 640 x 480": partial(OnTheFly, workers=2, kind="coco-sized"),
    "resize at train time, 2250 x 1500": partial(OnTheFly, workers=2, kind="sa1b-sized"),
}


def version_of(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    known = {
        "FFCV": "ffcv",
        "LitData": "litdata",
        "MosaicML": "mosaicml-streaming",
        "WebDataset": "webdataset",
        "Hugging": "datasets",
        "safetensors": "safetensors",
        "Lance": "pylance",
        "Grain": "grain",
        "zarr-python": "zarr",
        "TensorStore": "tensorstore",
    }
    try:
        return version(known[name.replace(",", "").split()[0]])
    except (KeyError, PackageNotFoundError):
        return ""


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    # Whatever is printed on the way goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    case = CASES[name](folder)
    print(json.dumps({"version": version_of(name)}), file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "prepare":
                case.prepare()
                result: dict[str, Any] = {}
            elif order["do"] == "forget":
                case.forget()
                result = {}
            elif order["do"] == "check":
                result = {"digests": case.check()}
            else:
                result = case.time(order["seconds"], busy=order["do"] == "busy")
        except Exception as err:
            result = {"error": f"{type(err).__name__}: {err}"}
        print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()
