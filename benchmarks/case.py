"""What every way to read batches is, for `cases.py`: also in the environments of other projects, which don't have ours."""

import hashlib
import mmap
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

BATCH_SIZE = 8

SCENES_PER_PART = 64
"""Of our stores."""

BUSY_SECONDS = 0.02
"""What the busy trainer does with each batch, of processor time."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)

COMPACT_SHAPES = {
    "pixel_values": (3, 448, 448),
    "g_pixel_values": (3, 1024, 1024),
    "prompt_masks": (16, 16),
    "masks": (1024, 128),
}
"""Of one sample in compact form, all uint8: the large mask is packed to bits."""
TENSORS = tuple(COMPACT_SHAPES)
DTYPES = dict.fromkeys(TENSORS, "float32") | {"g_pixel_values": "uint8"}
"""Of what the trainer gets."""

STORED = {name: f"{'masks' if 'masks' in name else 'images'}/{name}" for name in TENSORS}
"""The array of each tensor in a part of our store."""

Arrays = Mapping[str, Any]


class Case(ABC):
    """A way to read batches of the datasets in a folder."""

    tensors: Sequence[str] = TENSORS

    def __init__(self, folder: Path, workers: int = 0) -> None:
        self.folder, self.workers = folder, workers

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Arrays]:
        """Yield the batches of an epoch, the tensors by name."""

    def prepare(self) -> None:
        """Write the dataset in this reader's own format, from the compact arrays."""
        raise NotImplementedError("it has no format of its own")

    def time(self, seconds: float, *, busy: bool = False) -> tuple[int, float]:
        """Go through whole epochs for so many seconds, one at least; return how many samples came, and in what time."""
        return time_epochs(map(self.batches, count(1)), self.tensors, seconds, busy=busy)

    def check(self) -> list[str]:
        """Return the digest of each sample of an epoch, in whatever order they come."""
        digests = []
        for batch in self.batches(0):
            rows = zip(*(to_numpy(batch[name]) for name in self.tensors), strict=True)
            digests += map(digest_row, rows)
        return digests


class TorchCase(Case):
    """Anything behind a plain `DataLoader`, with persistent workers that are forked."""

    @abstractmethod
    def dataset(self) -> Any:
        """Return the torch dataset to read."""

    def options(self) -> dict[str, Any]:
        return {"shuffle": True}

    @cached_property
    def _loader(self) -> Any:
        options = self.options()
        if self.workers:
            options |= {"persistent_workers": True, "multiprocessing_context": "fork"}
        return DataLoader(self.dataset(), batch_size=BATCH_SIZE, num_workers=self.workers, **options)

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class Rows:
    """A map-style dataset of a function from a row to the tensors of its sample."""

    def __init__(self, length: int, read: Callable[[int], dict[str, Any]]) -> None:
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self._read(row)


def time_epochs(
    epochs: Iterable[Iterable[Arrays]], tensors: Sequence[str], seconds: float, *, busy: bool
) -> tuple[int, float]:
    started, samples, spent = time.perf_counter(), 0, 0.0
    for epoch in epochs:
        for batch in epoch:
            samples += consume(batch, tensors)
            del batch
            if busy:
                work()
        spent = time.perf_counter() - started
        if spent >= seconds:
            break
    return samples, spent


def work() -> None:
    """Be a trainer: pure Python for a while. Waiting for the interpreter or for a core does not count as work."""
    end = time.thread_time() + BUSY_SECONDS
    while time.thread_time() < end:
        sum(range(200))


def consume(batch: Any, names: Iterable[Any] = TENSORS) -> int:
    """Read one byte of each page of the arrays of these names, or places; return the number of samples."""
    for name in names:
        array = to_numpy(batch[name])
        array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()
    return len(array)


def to_numpy(tensor: Any) -> NDArray[Any]:
    return tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.numpy())


def digest_row(arrays: Iterable[NDArray[Any]]) -> str:
    """Return a digest of one sample's tensors: dtypes, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def new_batch() -> dict[str, NDArray[Any]]:
    shapes = COMPACT_SHAPES | {"masks": (1024, 1024)}
    return {name: np.empty((BATCH_SIZE, *shape), DTYPES[name]) for name, shape in shapes.items()}


def compact_arrays(folder: Path) -> dict[str, NDArray[np.uint8]]:
    return {name: np.load(folder / "compact" / f"{name}.npy", mmap_mode="r") for name in TENSORS}


def compact_rows(folder: Path) -> Iterable[dict[str, NDArray[np.uint8]]]:
    """Yield the samples in compact form."""
    stored = compact_arrays(folder)
    for row in range(count_rows(folder)):
        yield {name: np.array(array[row]) for name, array in stored.items()}


def count_rows(folder: Path) -> int:
    return len(np.load(folder / "compact" / "masks.npy", mmap_mode="r"))


def list_places(folder: Path) -> list[tuple[int, int]]:
    """Return part and row of each sample; here every image has one mask."""
    return [divmod(row, SCENES_PER_PART) for row in range(count_rows(folder))]


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
