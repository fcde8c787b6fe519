"""One way to read batches, in a process of its own, for `benchmarks/loading.py`; it is told by pipe what to do.

::

    python benchmarks/loading_cases.py NAME FOLDER

Each line of standard input is a JSON object, and so is each answer on what was standard output:

- {"do": "check"}: a digest of each sample of one epoch, by the sample's number.
- {"do": "time", "seconds": 1}: whole epochs until the time is over.
- {"do": "forget"}: nothing of the dataset stays mapped, so that it can be dropped from the page cache.
- {"do": "busy", "seconds": 1}: the same, with a consumer that works 20 ms of processor time after each batch, in pure
  Python.

Only the cases named `ours` and `floor` import anything of this project: the environments of the others don't have to
hold it.
"""

import hashlib
import json
import mmap
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 8
FIRST_NAME = 1_000_000
"""Sample 1 is the next after this one: names of equal length sort as numbers do."""
BUSY_SECONDS = 0.02
"""What the busy trainer does with each batch, of processor time."""
TENSORS = ("pixel_values", "g_pixel_values", "prompt_masks", "masks")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
COMPACT_SHAPES = {
    "pixel_values": (3, 448, 448),
    "g_pixel_values": (3, 1024, 1024),
    "prompt_masks": (16, 16),
    "masks": (1024, 128),
}
"""Of one sample in compact form, all uint8: the large mask is packed to bits."""

Arrays = Mapping[str, Any]


class Case:
    """A way to read batches. Imports belong into `__init__`: they are not timed."""

    limit: int | None = None
    """Batches of an epoch, where it is not the whole dataset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def batches(self, epoch: int) -> Iterable[Arrays]:
        """Yield the batches of an epoch: the four tensors, and "key" or "index"."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write the dataset in this reader's own format, from the compact arrays."""

    def time(self, seconds: float, *, busy: bool) -> dict[str, Any]:
        """Go through whole epochs for so many seconds."""
        started, samples = time.perf_counter(), 0
        for epoch in range(1, 10**6):
            for batch in self.batches(epoch):
                samples += consume(batch)
                del batch
                if busy:
                    work()
            if (spent := time.perf_counter() - started) >= seconds:
                break
        return {"samples": samples, "seconds": spent}

    def check(self) -> dict[str, str]:
        """Return the digest of each sample of epoch 0 by number; none may come twice."""
        digests: dict[str, str] = {}
        for batch in self.batches(0):
            numbers = numbers_of(batch)
            rows = [to_numpy(batch[name]) for name in TENSORS]
            for place, number in enumerate(numbers):
                if str(number) in digests:
                    raise ValueError(f"sample {number} came twice")
                digests[str(number)] = digest_row([row[place] for row in rows])
            del batch
        return digests


def work() -> None:
    """Be a trainer: pure Python for a while. Waiting for the interpreter or for a core does not count as work."""
    end = time.thread_time() + BUSY_SECONDS
    while time.thread_time() < end:
        sum(range(200))


def consume(batch: Arrays) -> int:
    """Read one byte of each page; return the number of samples."""
    for name in TENSORS:
        array = to_numpy(batch[name])
        array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()
    return len(array)


def to_numpy(tensor: Any) -> NDArray[Any]:
    return tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.numpy())


def numbers_of(batch: Arrays) -> list[int]:
    if "index" in batch:
        return [int(number) for number in np.asarray(batch["index"]).reshape(-1)]
    return [int(re.findall(r"\d+", key.split("/")[1])[0]) - FIRST_NAME for key in batch["key"]]


def raw_name(number: int) -> str:
    return f"sa_{FIRST_NAME + number}.jpg"


def digest_row(arrays: Sequence[NDArray[Any]]) -> str:
    """Return a digest of one sample's four tensors: dtypes, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def normalize(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    out = np.divide(stored, np.float32(255), dtype=np.float32)
    np.subtract(out, MEAN[:, None, None], out=out)
    return np.divide(out, STD[:, None, None], out=out)


def expand(sample: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """Make what the trainer gets of a sample in compact form, with numpy, as torch tensors."""
    import torch

    out = {
        "pixel_values": normalize(sample["pixel_values"]),
        "g_pixel_values": np.asarray(sample["g_pixel_values"]),
        "prompt_masks": sample["prompt_masks"].astype(np.float32),
        "masks": np.unpackbits(sample["masks"], axis=1).astype(np.float32),
    }
    if not out["g_pixel_values"].flags.writeable:
        out["g_pixel_values"] = out["g_pixel_values"].copy()
    return {name: torch.from_numpy(array) for name, array in out.items()}


def compact_arrays(folder: Path) -> dict[str, NDArray[np.uint8]]:
    return {name: np.load(folder / "compact" / f"{name}.npy", mmap_mode="r") for name in TENSORS}


# ---------------------------------------------------------------------------------------------------------------
# The floor: the same copies and loops, from memory to buffers that are kept, with nobody to hand them to


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
        from loader import loops

        super().__init__(folder)
        self._loops, self._workers, self._processes = loops, workers, processes
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

    def _fill(self, batch: Mapping[str, NDArray[Any]], rows: Iterable[int]) -> None:
        stored, loops = self._rows, self._loops
        for place, row in enumerate(rows):
            loops.normalize(
                stored["pixel_values"][row].reshape(3, -1),
                MEAN,
                STD,
                batch["pixel_values"][place].reshape(3, -1),
            )
            np.copyto(batch["g_pixel_values"][place], stored["g_pixel_values"][row])
            np.copyto(batch["prompt_masks"][place], stored["prompt_masks"][row])
            loops.widen(stored["masks"][row].reshape(-1), batch["masks"][place].reshape(-1))


def new_batch() -> dict[str, NDArray[Any]]:
    return {
        name: np.empty(
            (BATCH_SIZE, *((1024, 1024) if name == "masks" else shape)),
            np.uint8 if name == "g_pixel_values" else np.float32,
        )
        for name, shape in COMPACT_SHAPES.items()
    }


# ---------------------------------------------------------------------------------------------------------------
# Ours


class Ours(Case):
    """`loader.BatchLoader`."""

    def __init__(self, folder: Path, workers: int, mode: Any) -> None:
        import torch  # noqa: F401

        from loader.batches import BatchLoader, BatchOptions

        super().__init__(folder)
        self._make = partial(
            BatchLoader,
            folder / "store.zarr",
            BATCH_SIZE,
            workers,
            options=BatchOptions(mode=mode),
        )

    @cached_property
    def _loader(self) -> Any:
        return self._make()

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class TorchCase(Case):
    """Anything behind a plain `DataLoader`, with persistent workers that are forked."""

    def __init__(self, folder: Path, workers: int) -> None:
        import torch.utils.data

        super().__init__(folder)
        self._workers = workers
        self._data = torch.utils.data

    def dataset(self) -> Any:
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        return {"shuffle": True}

    @cached_property
    def _loader(self) -> Any:
        more: dict[str, Any] = (
            {"persistent_workers": True, "multiprocessing_context": "fork"} if self._workers else {}
        )
        return self._data.DataLoader(
            self.dataset(), batch_size=BATCH_SIZE, num_workers=self._workers, **self.options(), **more
        )

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class OursInDataLoader(TorchCase):
    """`loader.SampleDataset` with `loader.collate`."""

    def __init__(self, folder: Path, workers: int) -> None:
        import loader

        super().__init__(folder, workers)
        self._ours = loader

    def dataset(self) -> Any:
        return self._ours.SampleDataset(self.folder / "store.zarr")

    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "collate_fn": self._ours.collate}


# ---------------------------------------------------------------------------------------------------------------
# Plain arrays


class Rows:
    """A map-style dataset of a function from a row to a sample."""

    def __init__(self, count: int, read: Callable[[int], dict[str, Any]]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self._read(row) | {"index": row + 1}


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


# ---------------------------------------------------------------------------------------------------------------
# The same store through other readers of Zarr


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


# ---------------------------------------------------------------------------------------------------------------
# Resizing at train time


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


# ---------------------------------------------------------------------------------------------------------------
# Other projects, with formats of their own: the compact form, which was the faster one for each of them


class Mds(TorchCase):
    """MosaicML streaming."""

    def __init__(self, folder: Path, workers: int) -> None:
        sys.path.append(str(Path(__file__).parent))
        from convert_rivals import stub_torchvision

        stub_torchvision()
        import streaming

        super().__init__(folder, workers)
        self._streaming = streaming
        streaming.base.util.clean_stale_shared_memory()

    def prepare(self) -> None:
        columns = {name: f"ndarray:uint8:{','.join(map(str, s))}" for name, s in COMPACT_SHAPES.items()}
        stored = compact_arrays(self.folder)
        with self._streaming.MDSWriter(
            out=str(self.folder / "mds"), columns=columns | {"index": "int"}
        ) as out:
            for row in range(count_rows(self.folder)):
                out.write({name: np.array(stored[name][row]) for name in TENSORS} | {"index": row + 1})

    def dataset(self) -> Any:
        class Samples(self._streaming.StreamingDataset):  # type: ignore[name-defined, misc]
            def __getitem__(self, at: Any) -> Any:
                sample = super().__getitem__(at)
                return expand(sample) | {"index": sample["index"]}

        return Samples(local=str(self.folder / "mds"), shuffle=True, batch_size=BATCH_SIZE)

    def options(self) -> dict[str, Any]:
        return {}


def read_compact(place: tuple[str, int]) -> dict[str, Any]:
    folder, row = place
    stored = compact_arrays(Path(folder))
    return {name: np.array(array[row]) for name, array in stored.items()} | {"index": row + 1}


class LitData(Case):
    """LitData's optimised datasets."""

    def __init__(self, folder: Path, workers: int) -> None:
        import litdata

        super().__init__(folder)
        self._litdata, self._workers = litdata, workers

    def prepare(self) -> None:
        # Found again by name in the processes that it starts.
        sys.path.append(str(Path(__file__).parent))
        from loading_cases import read_compact

        self._litdata.optimize(
            fn=read_compact,
            inputs=[(str(self.folder), row) for row in range(count_rows(self.folder))],
            output_dir=str(self.folder / "litdata"),
            chunk_bytes="64MB",
            num_workers=1,
            verbose=False,
        )

    @cached_property
    def _loader(self) -> Any:
        class Samples(self._litdata.StreamingDataset):  # type: ignore[name-defined, misc]
            def __getitem__(self, at: Any) -> Any:
                sample = super().__getitem__(at)
                return expand({name: np.asarray(sample[name]) for name in TENSORS}) | {
                    "index": sample["index"]
                }

        dataset = Samples(str(self.folder / "litdata"), shuffle=True, drop_last=False)
        return self._litdata.StreamingDataLoader(
            dataset, batch_size=BATCH_SIZE, num_workers=self._workers, persistent_workers=True
        )

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class WebDataset(TorchCase):
    """WebDataset: tar files of .npy members, read in sequence and shuffled in a buffer."""

    def __init__(self, folder: Path, workers: int) -> None:
        import webdataset

        super().__init__(folder, workers)
        self._wds = webdataset

    def prepare(self) -> None:
        stored, out = compact_arrays(self.folder), self.folder / "wds"
        out.mkdir(exist_ok=True)
        with self._wds.ShardWriter(f"{out}/%05d.tar", maxcount=24, verbose=0) as sink:
            for row in range(count_rows(self.folder)):
                arrays = {f"{name}.npy": np.array(stored[name][row]) for name in TENSORS}
                sink.write({"__key__": f"{row + 1:06}"} | arrays)

    @cached_property
    def _loader(self) -> Any:
        def finish(sample: dict[str, Any]) -> dict[str, Any]:
            arrays = {name: sample[f"{name}.npy"] for name in TENSORS}
            return expand(arrays) | {"index": int(sample["__key__"])}

        urls = sorted(map(str, (self.folder / "wds").glob("*.tar")))
        dataset = self._wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(32).decode().map(finish)
        return self._data.DataLoader(
            dataset,
            batch_size=BATCH_SIZE,
            num_workers=self._workers,
            persistent_workers=True,
        )


class Ffcv(Case):
    """FFCV. The arithmetic is a table of the 256 values: its compiler's fast-math would change the last bits."""

    def __init__(self, folder: Path, workers: int) -> None:
        import ffcv.fields
        import ffcv.loader
        import ffcv.writer  # noqa: F401

        super().__init__(folder)
        self._workers = workers

    def prepare(self) -> None:
        from ffcv.fields import IntField, NDArrayField
        from ffcv.writer import DatasetWriter

        stored = compact_arrays(self.folder)
        (self.folder / "ffcv").mkdir(exist_ok=True)

        class Samples:
            def __len__(self) -> int:
                return len(stored["masks"])

            def __getitem__(self, row: int) -> tuple[Any, ...]:
                return (*(np.array(stored[name][row]) for name in TENSORS), row + 1)

        fields = {name: NDArrayField(np.dtype("uint8"), shape) for name, shape in COMPACT_SHAPES.items()}
        # Pages of the default 8 MiB would stay half empty.
        writer = DatasetWriter(
            str(self.folder / "ffcv" / "all.beton"),
            fields | {"index": IntField()},
            num_workers=1,
            page_size=1 << 28,
        )
        writer.from_indexed_dataset(Samples(), chunksize=8)

    @cached_property
    def _loader(self) -> Any:
        from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
        from ffcv.loader import Loader, OrderOption

        normalizing, widening, unpacking = ffcv_operations()
        pipelines: dict[str, list[Any]] = {
            "pixel_values": [NDArrayDecoder(), normalizing()],
            "g_pixel_values": [NDArrayDecoder()],
            "prompt_masks": [NDArrayDecoder(), widening()],
            "masks": [NDArrayDecoder(), unpacking()],
            "index": [IntDecoder()],
        }
        return Loader(
            str(self.folder / "ffcv" / "all.beton"),
            batch_size=BATCH_SIZE,
            num_workers=self._workers,
            order=OrderOption.RANDOM,
            pipelines=pipelines,
        )

    def batches(self, epoch: int) -> Iterator[Arrays]:
        for batch in self._loader:
            yield dict(zip([*TENSORS, "index"], batch, strict=True))


def ffcv_operations() -> tuple[Any, Any, Any]:
    """Return FFCV's operations that make float32 of a compact sample, compiled and parallel."""
    from dataclasses import replace

    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
    from ffcv.pipeline.operation import Operation

    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    table = np.ascontiguousarray(normalize(levels)[:, 0])

    class ToFloat(Operation):  # type: ignore[misc]
        def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
            return given

        def declare_state_and_memory(self, previous_state: Any) -> Any:
            shape, dtype = self.shape(previous_state.shape), np.dtype("float32")
            state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
            return state, AllocationQuery(shape, dtype)

    class Normalizing(ToFloat):
        def generate_code(self) -> Any:
            my_range = Compiler.get_iterator()

            def normalize_all(images: Any, out: Any) -> Any:
                for i in my_range(images.shape[0]):
                    for channel in range(3):
                        for y in range(images.shape[2]):
                            for x in range(images.shape[3]):
                                out[i, channel, y, x] = table[channel, images[i, channel, y, x]]
                return out[: images.shape[0]]

            normalize_all.is_parallel = True  # type: ignore[attr-defined]
            return normalize_all

    class Widening(ToFloat):
        def generate_code(self) -> Any:
            my_range = Compiler.get_iterator()

            def widen_all(masks: Any, out: Any) -> Any:
                for i in my_range(masks.shape[0]):
                    out[i] = masks[i]
                return out[: masks.shape[0]]

            widen_all.is_parallel = True  # type: ignore[attr-defined]
            return widen_all

    class Unpacking(ToFloat):
        def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
            return given[0], given[1] * 8

        def generate_code(self) -> Any:
            my_range = Compiler.get_iterator()

            def unpack_all(masks: Any, out: Any) -> Any:
                for i in my_range(masks.shape[0]):
                    for y in range(masks.shape[1]):
                        for x in range(masks.shape[2]):
                            for bit in range(8):
                                out[i, y, x * 8 + bit] = (masks[i, y, x] >> (7 - bit)) & 1
                return out[: masks.shape[0]]

            unpack_all.is_parallel = True  # type: ignore[attr-defined]
            return unpack_all

    return Normalizing, Widening, Unpacking


# ---------------------------------------------------------------------------------------------------------------


def count_rows(folder: Path) -> int:
    return len(np.load(folder / "compact" / "masks.npy", mmap_mode="r"))


def list_places(folder: Path) -> list[tuple[int, int]]:
    """Return part and row of each sample; here every image has one mask."""
    counts = json.loads((folder / "places.json").read_text())
    return list(chain.from_iterable([(part, row) for row in range(n)] for part, n in enumerate(counts)))


CASES: dict[str, Callable[[Path], Case]] = {
    "floor, 2 processes": partial(Floor, workers=2, processes=True),
    "floor, 2 threads": partial(Floor, workers=2, processes=False),
    "floor, 1 thread": partial(Floor, workers=1, processes=False),
    "ours, 2 processes": partial(Ours, workers=2, mode="process"),
    "ours, 2 threads": partial(Ours, workers=2, mode="thread"),
    "ours, no workers": partial(Ours, workers=0, mode="thread"),
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
    "zarr-python, no workers": partial(ZarrPython, workers=0),
    "zarr-python, 2 workers": partial(ZarrPython, workers=2),
    "resize at train time, 640 x 480": partial(OnTheFly, workers=2, kind="coco-sized"),
    "resize at train time, 2250 x 1500": partial(OnTheFly, workers=2, kind="sa1b-sized"),
}


def forget(folder: Path) -> dict[str, Any]:
    """Unmap the pages of the folder's files, which can't be dropped from the page cache while they are mapped."""
    import ctypes

    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        if str(folder.resolve()) in line:
            start, end = (int(place, 16) for place in line.split()[0].split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
    return {}


def version_of(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    known = {
        "FFCV": "ffcv",
        "LitData": "litdata",
        "MosaicML": "mosaicml-streaming",
        "WebDataset": "webdataset",
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
                result: dict[str, Any] = case.prepare() or {}  # type: ignore[func-returns-value]
            elif order["do"] == "forget":
                result = forget(folder)
            elif order["do"] == "check":
                result = {"digests": case.check()}
            else:
                result = case.time(order["seconds"], busy=order["do"] == "busy")
        except Exception as err:
            result = {"error": f"{type(err).__name__}: {err}"}
        print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()
