"""Grain over ArrayRecord files, with threads."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import grain
from array_record.python.array_record_module import ArrayRecordWriter
from case import BATCH_SIZE, Arrays, Case, compact_rows

from rivals.packed import pack, unpack

ROWS_PER_FILE = 64


def _read(record: bytes) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in unpack(record).items()}


class Grain(Case):
    """Its dataset, shuffled, read by its threads."""

    def prepare(self) -> None:
        out = self.folder / "array_record"
        out.mkdir()
        writer = None
        for row, compact in enumerate(compact_rows(self.folder)):
            if row % ROWS_PER_FILE == 0:
                if writer:
                    writer.close()
                writer = ArrayRecordWriter(str(out / f"{row:06}.array_record"), "group_size:1")
            writer.write(pack(compact))
        writer.close()

    @cached_property
    def _source(self) -> Any:
        paths = sorted(map(str, (self.folder / "array_record").glob("*.array_record")))
        return grain.sources.ArrayRecordDataSource(paths)

    def batches(self, epoch: int) -> Iterable[Arrays]:
        dataset = grain.MapDataset.source(self._source).shuffle(seed=epoch).map(_read)
        options = grain.ReadOptions(num_threads=self.workers, prefetch_buffer_size=16)
        return iter(dataset.to_iter_dataset(options).batch(BATCH_SIZE, drop_remainder=True))
