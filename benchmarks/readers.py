"""Our ways to read batches, and the plain ones with torch's `DataLoader`: np.memmap, and Pillow at train time."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import case
import numpy as np
import torch
from numpy.lib.format import open_memmap
from plain import make_sample, read_sa1b

from resizeonce.loader import BatchLoader, BatchOptions, SampleDataset, collate


class Ours(case.Case):
    """`resizeonce.loader.BatchLoader`."""

    def __init__(self, folder: Path, workers: int, mode: Any, store: str) -> None:
        super().__init__(folder, workers)
        if store.startswith("pairs"):
            self.tensors = [f"{name}{frame}" for frame in "12" for name in case.TENSORS]
        self._store, self._options = folder / store, BatchOptions(mode=mode)

    @cached_property
    def _loader(self) -> BatchLoader:
        return BatchLoader(self._store, case.BATCH_SIZE, self.workers, options=self._options)

    def batches(self, epoch: int) -> Iterable[case.Arrays]:
        return iter(self._loader)


class OursInDataLoader(case.TorchCase):
    """`resizeonce.loader.SampleDataset` with `resizeonce.loader.collate`."""

    def dataset(self) -> Any:
        return SampleDataset(self.folder / "store.zarr")

    def options(self) -> dict[str, Any]:
        return {"shuffle": True, "collate_fn": collate}


class MemmapFull(case.TorchCase):
    """The delivered bytes themselves in .npy files."""

    def prepare(self) -> None:
        out = self.folder / "full"
        out.mkdir()
        count = case.count_rows(self.folder)
        files = {
            name: open_memmap(out / f"{name}.npy", "w+", array.dtype, (count, *array.shape[1:]))
            for name, array in case.new_batch().items()
        }
        for row, compact in enumerate(case.compact_rows(self.folder)):
            for name, tensor in case.expand(compact).items():
                files[name][row] = tensor.numpy()

    def dataset(self) -> Any:
        arrays = {name: np.load(self.folder / "full" / f"{name}.npy", mmap_mode="c") for name in case.TENSORS}

        def read(row: int) -> dict[str, Any]:
            return {name: torch.from_numpy(array[row]) for name, array in arrays.items()}

        return case.Rows(case.count_rows(self.folder), read)


class MemmapCompact(case.TorchCase):
    """The compact arrays in .npy files, expanded by numpy."""

    def dataset(self) -> Any:
        arrays = case.compact_arrays(self.folder)

        def read(row: int) -> dict[str, Any]:
            return case.expand({name: array[row] for name, array in arrays.items()})

        return case.Rows(case.count_rows(self.folder), read)


class AtTrainTime(case.TorchCase):
    """JPEG and run lengths, decoded and resized by Pillow for each sample, as trainers do now; eight batches an epoch."""

    def dataset(self) -> Any:
        def read(row: int) -> dict[str, Any]:
            return case.deliver(make_sample(read_sa1b(self.folder / f"raw/sa_{row + 1}.json")))

        return case.Rows(8 * case.BATCH_SIZE, read)
