"""What every way to read batches is, for `benchmarks/loading_cases.py`."""

import ctypes
import hashlib
import json
import mmap
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH_SIZE = 8

FIRST_NAME = 1_000_000
"""Sample 1 is the next after this one: names of equal length sort as numbers do."""

BUSY_SECONDS = 0.02
"""What the busy trainer does with each batch, of processor time."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
NORM = np.array([*MEAN, *STD, 255], np.float32)

COMPACT_SHAPES = {
    "pixel_values": (3, 448, 448),
    "g_pixel_values": (3, 1024, 1024),
    "prompt_masks": (16, 16),
    "masks": (1024, 128),
}
"""Of one sample in compact form, all uint8: the large mask is packed to bits."""
TENSORS = tuple(COMPACT_SHAPES)

STORED = {
    "pixel_values": "images/pixel_values",
    "g_pixel_values": "images/g_pixel_values",
    "prompt_masks": "masks/prompt_masks",
    "masks": "masks/masks",
}
"""The array of each tensor in a part of our store."""

Arrays = Mapping[str, Any]


class Case(ABC):
    """A way to read batches of the datasets in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Arrays]:
        """Yield the batches of an epoch: the four tensors, and "key" or "index"."""

    def prepare(self) -> None:
        """Write the dataset in this reader's own format, from the compact arrays."""
        raise NotImplementedError("it has no format of its own")

    def forget(self) -> None:
        """Unmap the pages of the folder's files, which can't be dropped from the page cache while they are mapped."""
        libc = ctypes.CDLL(None)
        for line in Path("/proc/self/maps").read_text().splitlines():
            if str(self.folder.resolve()) in line:
                start, end = (int(place, 16) for place in line.split()[0].split("-"))
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)

    def time(self, seconds: float, *, busy: bool) -> dict[str, Any]:
        """Go through whole epochs for so many seconds."""
        started, samples = time.perf_counter(), 0
        for epoch in range(1, 10**6):
            for batch in self.batches(epoch):
                samples += consume(batch)
                del batch
                if busy:
                    work()
            if (spent := time.perf_counter() - started) >= seconds:
                break
        return {"samples": samples, "seconds": spent}

    def check(self) -> dict[str, str]:
        """Return the digest of each sample of epoch 0 by number; none may come twice."""
        digests: dict[str, str] = {}
        for batch in self.batches(0):
            numbers = numbers_of(batch)
            rows = [to_numpy(batch[name]) for name in TENSORS]
            for place, number in enumerate(numbers):
                if str(number) in digests:
                    raise ValueError(f"sample {number} came twice")
                digests[str(number)] = digest_row([row[place] for row in rows])
            del batch
        return digests


def work() -> None:
    """Be a trainer: pure Python for a while. Waiting for the interpreter or for a core does not count as work."""
    end = time.thread_time() + BUSY_SECONDS
    while time.thread_time() < end:
        sum(range(200))


def consume(batch: Arrays) -> int:
    """Read one byte of each page; return the number of samples."""
    for name in TENSORS:
        array = to_numpy(batch[name])
        array.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()
    return len(array)


def to_numpy(tensor: Any) -> NDArray[Any]:
    return tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.numpy())


def numbers_of(batch: Arrays) -> list[int]:
    if "index" in batch:
        return [int(number) for number in np.asarray(batch["index"]).reshape(-1)]
    return [int(re.findall(r"\d+", key.split("/")[1])[0]) - FIRST_NAME for key in batch["key"]]


def raw_name(number: int) -> str:
    return f"sa_{FIRST_NAME + number}.jpg"


def digest_row(arrays: Sequence[NDArray[Any]]) -> str:
    """Return a digest of one sample's four tensors: dtypes, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def new_batch() -> dict[str, NDArray[Any]]:
    shapes = COMPACT_SHAPES | {"masks": (1024, 1024)}
    dtypes = dict.fromkeys(TENSORS, np.float32) | {"g_pixel_values": np.uint8}
    return {name: np.empty((BATCH_SIZE, *shape), dtypes[name]) for name, shape in shapes.items()}


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
    counts = json.loads((folder / "places.json").read_text())
    return [(part, row) for part, count in enumerate(counts) for row in range(count)]
