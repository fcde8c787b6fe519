"""Readers of general formats: tables, records and tensor files that were made for other data, holding the compact form."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from loading_case import (
    BATCH_SIZE,
    COMPACT_SHAPES,
    TENSORS,
    Arrays,
    Case,
    Rows,
    TorchCase,
    compact_arrays,
    count_rows,
    expand,
)

ROWS_PER_FILE = 64

SIZES = {name: int(np.prod(shape)) for name, shape in COMPACT_SHAPES.items()}


def pack(folder: Path, row: int) -> bytes:
    """Return a sample in compact form as one string of bytes."""
    stored = compact_arrays(folder)
    return b"".join(np.array(stored[name][row]).tobytes() for name in TENSORS)


def unpack(packed: bytes) -> dict[str, Any]:
    """Return what the trainer gets of a sample that `pack` made."""
    arrays, start = {}, 0
    for name in TENSORS:
        array = np.frombuffer(packed, np.uint8, SIZES[name], start)
        arrays[name], start = array.reshape(COMPACT_SHAPES[name]), start + SIZES[name]
    return expand(arrays)


class HuggingFace(TorchCase):
    """Hugging Face datasets: Arrow files, mapped, as numpy arrays of uint8, which it makes int64 unless it is told not to."""

    def __init__(self, folder: Path, workers: int) -> None:
        import datasets

        super().__init__(folder, workers)
        self._datasets = datasets

    def prepare(self) -> None:
        folder, kinds = self.folder, self._datasets
        shaped = {2: kinds.Array2D, 3: kinds.Array3D}
        features = {name: shaped[len(shape)](shape, "uint8") for name, shape in COMPACT_SHAPES.items()}

        def rows() -> Iterator[dict[str, Any]]:
            stored = compact_arrays(folder)
            for row in range(count_rows(folder)):
                yield {name: np.array(stored[name][row]) for name in TENSORS}

        dataset = kinds.Dataset.from_generator(
            rows,
            features=kinds.Features(features),
            cache_dir=str(folder / "hf-cache"),
            writer_batch_size=16,
        )
        dataset.save_to_disk(str(folder / "hf"))

    def dataset(self) -> Any:
        samples = self._datasets.load_from_disk(str(self.folder / "hf")).with_format("numpy", dtype=np.uint8)
        return Rows(len(samples), lambda row: expand(samples[row]))


class Safetensors(TorchCase):
    """safetensors files of 64 samples, mapped, read row by row."""

    def __init__(self, folder: Path, workers: int) -> None:
        import safetensors.numpy

        super().__init__(folder, workers)
        self._safetensors = safetensors

    def prepare(self) -> None:
        stored, out = compact_arrays(self.folder), self.folder / "safetensors"
        out.mkdir(exist_ok=True)
        for start in range(0, count_rows(self.folder), ROWS_PER_FILE):
            arrays = {name: np.array(stored[name][start : start + ROWS_PER_FILE]) for name in TENSORS}
            self._safetensors.numpy.save_file(arrays, out / f"{start:06}.safetensors")

    @cached_property
    def _files(self) -> list[Any]:
        paths = sorted((self.folder / "safetensors").glob("*.safetensors"))
        opened = [self._safetensors.safe_open(path, framework="np") for path in paths]
        return [{name: file.get_slice(name) for name in TENSORS} for file in opened]

    def dataset(self) -> Any:
        def read(row: int) -> dict[str, Any]:
            file, place = self._files[row // ROWS_PER_FILE], row % ROWS_PER_FILE
            return expand({name: file[name][place] for name in TENSORS})

        return Rows(count_rows(self.folder), read)


class Lance(Case):
    """Lance: a table of bytes, the rows of a batch taken at once."""

    def __init__(self, folder: Path) -> None:
        import lance
        import pyarrow
        import torch

        super().__init__(folder)
        self._lance, self._pyarrow, self._torch = lance, pyarrow, torch

    def prepare(self) -> None:
        folder, arrow = self.folder, self._pyarrow
        schema = arrow.schema([("sample", arrow.large_binary()), ("index", arrow.int64())])

        def tables() -> Iterator[Any]:
            for row in range(count_rows(folder)):
                columns = [
                    arrow.array([pack(folder, row)], arrow.large_binary()),
                    arrow.array([row + 1], arrow.int64()),
                ]
                yield arrow.RecordBatch.from_arrays(columns, schema=schema)

        reader = arrow.RecordBatchReader.from_batches(schema, tables())
        self._lance.write_dataset(reader, str(folder / "lance"), max_rows_per_file=ROWS_PER_FILE)

    @cached_property
    def _dataset(self) -> Any:
        return self._lance.dataset(str(self.folder / "lance"))

    def batches(self, epoch: int) -> Iterator[Arrays]:
        order = np.random.default_rng(epoch).permutation(count_rows(self.folder)).reshape(-1, BATCH_SIZE)
        for rows in order.tolist():
            table = self._dataset.take(rows)
            samples = [unpack(value.as_buffer()) for value in table["sample"]]
            batch = {name: self._torch.stack([sample[name] for sample in samples]) for name in TENSORS}
            yield batch | {"index": table["index"].to_pylist()}


class Grain(Case):
    """Grain over ArrayRecord files, with threads."""

    def __init__(self, folder: Path, threads: int) -> None:
        import grain
        from array_record.python import array_record_module

        super().__init__(folder)
        self._grain, self._records, self._threads = grain, array_record_module, threads

    def prepare(self) -> None:
        out = self.folder / "array_record"
        out.mkdir(exist_ok=True)
        for start in range(0, count_rows(self.folder), ROWS_PER_FILE):
            writer = self._records.ArrayRecordWriter(str(out / f"{start:06}.array_record"), "group_size:1")
            for row in range(start, min(start + ROWS_PER_FILE, count_rows(self.folder))):
                writer.write(np.int64(row + 1).tobytes() + pack(self.folder, row))
            writer.close()

    @cached_property
    def _source(self) -> Any:
        paths = sorted(map(str, (self.folder / "array_record").glob("*.array_record")))
        return self._grain.sources.ArrayRecordDataSource(paths)

    def batches(self, epoch: int) -> Iterable[Arrays]:
        def read(record: bytes) -> dict[str, Any]:
            sample = unpack(record[8:])
            arrays = {name: sample[name].numpy() for name in TENSORS}
            return arrays | {"index": np.frombuffer(record, np.int64, 1)[0]}

        dataset = self._grain.MapDataset.source(self._source).shuffle(seed=epoch).map(read)
        options = self._grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=16)
        return iter(dataset.to_iter_dataset(options).batch(BATCH_SIZE, drop_remainder=True))
