"""Our ways to read batches, for `benchmarks/loading_cases.py`."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from case import BATCH_SIZE, Arrays, Case
from torch_case import TorchCase

from resizeonce.loader import BatchLoader, SampleDataset, collate
from resizeonce.loader.workers.batch_loader import BatchOptions


class Ours(Case):
    """`resizeonce.loader.BatchLoader`."""

    def __init__(self, folder: Path, workers: int, mode: Any, store: str) -> None:
        super().__init__(folder)
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
