"""Our ways to read batches, and the plain ones with torch's `DataLoader`: np.memmap, and Pillow at train time."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import (
    BATCH_SIZE,
    TENSORS,
    Arrays,
    Case,
    Rows,
    TorchCase,
    compact_arrays,
    compact_rows,
    count_rows,
    deliver,
    expand,
    new_batch,
    raw_name,
)
from plain import make_sample, read_sa1b

from resizeonce.loader import BatchLoader, BatchOptions, SampleDataset, collate


class Ours(Case):
    """`resizeonce.loader.BatchLoader`."""

    def __init__(self, folder: Path, workers: int, mode: Any, store: str) -> None:
        super().__init__(folder)
        if store.startswith("pairs"):
            self.tensors = [f"{name}{frame}" for frame in "12" for name in TENSORS]
        self._make = lambda: BatchLoader(folder / store, BATCH_SIZE, workers, options=BatchOptions(mode=mode))
        self._loader: BatchLoader | None = None

    def batches(self, epoch: int) -> Iterable[Arrays]:
        self._loader = self._loader or self._make()
        return iter(self._loader)

    def forget(self) -> None:
        assert self._loader is not None
        # What is filled by now is of the epoch that is left out.
        time.sleep(0.5)
        self._loader.set_epoch(self._loader.epoch + 1)
        super().forget()


class OursInDataLoader(TorchCase):
    """`resizeonce.loader.SampleDataset` with `resizeonce.loader.collate`."""

    def dataset(self) -> Any:
        return SampleDataset(self.folder / "store.zarr")

    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "collate_fn": collate}


class MemmapFull(TorchCase):
    """The delivered bytes themselves in .npy files."""

    def prepare(self) -> None:
        out = self.folder / "full"
        out.mkdir()
        files = {}
        for name, array in new_batch().items():
            shape, path = (count_rows(self.folder), *array.shape[1:]), out / f"{name}.npy"
            files[name] = np.lib.format.open_memmap(path, mode="w+", dtype=array.dtype, shape=shape)
        for row, compact in enumerate(compact_rows(self.folder)):
            for name, tensor in expand(compact).items():
                files[name][row] = tensor.numpy()

    def dataset(self) -> Any:
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


class AtTrainTime(TorchCase):
    """JPEG and run lengths, decoded and resized by Pillow for each sample, as trainers do now; eight batches an epoch."""

    def dataset(self) -> Any:
        def read(row: int) -> dict[str, Any]:
            pair = (self.folder / "raw" / raw_name(row + 1)).with_suffix(".json")
            return deliver(make_sample(read_sa1b(pair)))

        return Rows(8 * BATCH_SIZE, read)
