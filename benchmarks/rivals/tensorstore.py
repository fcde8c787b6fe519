"""TensorStore on our store: all rows of a batch are read at once, by its own threads."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import torch
from case import BATCH_SIZE, STORED, TENSORS, Arrays, Case, deliver, list_places


class TensorStore(Case):
    """Two batches are read ahead."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._places = list_places(folder)

    @cached_property
    def _parts(self) -> list[dict[str, Any]]:
        parts = []
        for folder in sorted((self.folder / "store.zarr").glob("part-*")):
            futures = {}
            for name, path in STORED.items():
                store = {"driver": "file", "path": str(folder / path)}
                futures[name] = tensorstore.open({"driver": "zarr3", "kvstore": store}, open=True, read=True)
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

    def batches(self, epoch: int) -> Iterator[Arrays]:
        order = np.random.default_rng(epoch).permutation(len(self._places)).reshape(-1, BATCH_SIZE)
        ahead = iter(order)
        reads = [self._read(samples) for samples in islice(ahead, 2)]
        while reads:
            futures = reads.pop(0)
            reads += [self._read(samples) for samples in islice(ahead, 1)]
            rows = [
                deliver({name: np.asarray(getattr(f, "result", lambda f=f: f)()) for name, f in row.items()})
                for row in futures
            ]
            yield {name: torch.stack([row[name] for row in rows]) for name in TENSORS}
