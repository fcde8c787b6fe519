"""Ways to read behind torch's `DataLoader`, and what a plain program makes of a stored sample, with numpy."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from case import BATCH_SIZE, MEAN, STD, Arrays, Case
from numpy.typing import NDArray
from torch.utils.data import DataLoader


class TorchCase(Case):
    """Anything behind a plain `DataLoader`, with persistent workers that are forked."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder)
        self._workers = workers

    @abstractmethod
    def dataset(self) -> Any:
        """Return the torch dataset to read."""

    def options(self) -> dict[str, Any]:
        return {"shuffle": True}

    @cached_property
    def _loader(self) -> Any:
        options = self.options()
        if self._workers:
            options |= {"persistent_workers": True, "multiprocessing_context": "fork"}
        return DataLoader(self.dataset(), batch_size=BATCH_SIZE, num_workers=self._workers, **options)

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class Rows:
    """A map-style dataset of a function from a row to the tensors of its sample."""

    def __init__(self, count: int, read: Callable[[int], dict[str, Any]]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self._read(row) | {"index": row + 1}


def normalize(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    out = np.divide(stored, np.float32(255), dtype=np.float32)
    np.subtract(out, MEAN[:, None, None], out=out)
    return np.divide(out, STD[:, None, None], out=out)


def deliver(sample: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Make what the trainer gets of a sample as it is stored, as torch tensors."""
    out = {
        "pixel_values": normalize(sample["pixel_values"]),
        "g_pixel_values": np.asarray(sample["g_pixel_values"]),
        "prompt_masks": sample["prompt_masks"].astype(np.float32),
        "masks": sample["masks"].astype(np.float32),
    }
    if not out["g_pixel_values"].flags.writeable:
        out["g_pixel_values"] = out["g_pixel_values"].copy()
    return {name: torch.from_numpy(array) for name, array in out.items()}


def expand(sample: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """Make the same of a sample in compact form."""
    return deliver({**sample, "masks": np.unpackbits(sample["masks"], axis=1)})
