"""Lance: a table of bytes, the rows of a batch taken at once."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import lance
import numpy as np
import pyarrow
import torch
from case import BATCH_SIZE, TENSORS, Arrays, Case, compact_rows, count_rows

from rivals.packed import pack, unpack

ROWS_PER_FILE = 64


class Lance(Case):
    """Its table, without workers: it has threads of its own."""

    def prepare(self) -> None:
        schema = pyarrow.schema([("sample", pyarrow.large_binary())])

        def tables() -> Iterator[Any]:
            for compact in compact_rows(self.folder):
                column = pyarrow.array([pack(compact)], pyarrow.large_binary())
                yield pyarrow.RecordBatch.from_arrays([column], schema=schema)

        reader = pyarrow.RecordBatchReader.from_batches(schema, tables())
        lance.write_dataset(reader, str(self.folder / "lance"), max_rows_per_file=ROWS_PER_FILE)

    @cached_property
    def _dataset(self) -> Any:
        return lance.dataset(str(self.folder / "lance"))

    def batches(self, epoch: int) -> Iterator[Arrays]:
        order = np.random.default_rng(epoch).permutation(count_rows(self.folder)).reshape(-1, BATCH_SIZE)
        for rows in order.tolist():
            table = self._dataset.take(rows)
            samples = [unpack(value.as_buffer()) for value in table["sample"]]
            yield {name: torch.stack([sample[name] for sample in samples]) for name in TENSORS}
