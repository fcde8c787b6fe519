"""The plain ways to read batches with torch's `DataLoader`: np.memmap, and Pillow at train time."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import BATCH_SIZE, TENSORS, compact_arrays, compact_rows, count_rows, new_batch, raw_name
from plain import make_sample, read_sa1b
from torch_case import Rows, TorchCase, deliver, expand


class MemmapFull(TorchCase):
    """The delivered bytes themselves in .npy files."""

    def prepare(self) -> None:
        out = self.folder / "full"
        out.mkdir()
        files = {}
        for name, array in new_batch().items():
            shape = (count_rows(self.folder), *array.shape[1:])
            files[name] = np.lib.format.open_memmap(
                out / f"{name}.npy", mode="w+", dtype=array.dtype, shape=shape
            )
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

    def __init__(self, folder: Path, workers: int, raw: str) -> None:
        super().__init__(folder, workers)
        self._raw = folder / raw

    def dataset(self) -> Any:
        def read(row: int) -> dict[str, Any]:
            pair = (self._raw / raw_name(row + 1)).with_suffix(".json")
            return deliver(make_sample(read_sa1b(pair)))

        return Rows(8 * BATCH_SIZE, read)
