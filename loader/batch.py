"""`Batch`, `SampleDataset` and `collate`: batches of a store for a plain `DataLoader`."""

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from .buffers.dataloader_slots import BatchMemory, Posted, receive
from .buffers.slots import ArrayLayout
from .cache.part_cache import CacheOptions
from .fill import BatchRows, ReadAhead, choose_views
from .format.recipe import Recipe
from .kernels.core import warn_without_core
from .notebook import THUMBNAILS, as_html
from .own_size import MaskRoom
from .picture import draw_thumbnail
from .store import OF_THE_BATCH, Store, first_of, open_store

MAX_HELD = 2
"""Batches of this process that lie in memory used again: the one that a loop works on, and the next one."""

SMALL_BYTES = 1 << 18
"""Tensors up to this size go to another process with the message itself: copying them is faster than sharing memory."""

_DTYPES = (torch.uint8, torch.int64, torch.float32)
"""Those of a batch."""


class Batch(dict[str, Any]):
    """A batch: tensors with the sample as their first axis, lists with one element a sample, and two values of all.

    Masks at their own size are a list of tensors, bool [H, W].

    `dataset_type` (str) and `has_paired_frame` (bool) are of the whole batch.

    Attributes:
        streams: where the batch lies in pinned memory that is filled again, the streams that `record_stream` was given.
        posted: where a DataLoader's worker made it, the slot that its tensors go to the trainer in.
        object_keys: where samples are drawn, which keys have a row for each object, and not for each sample.
        recipe: what its views were made by; None where it was put together from single samples, which do not tell.
    """

    streams: list[Any] | None = None
    posted: Posted | None = None
    object_keys: frozenset[str] = frozenset()
    recipe: Recipe | None = None

    def record_stream(self, stream: Any) -> None:
        """Say that a stream of the device reads the batch, as `torch.Tensor.record_stream` does for one tensor.

        Pinned memory is filled again only when what was asked for on that stream, until the batch was let go, is over.
        The stream that is current when the last tensor of the batch is let go need not be given.

        Args:
            stream: a `torch.cuda.Stream` that the batch is copied on with `non_blocking=True`.
        """
        if self.streams is not None:
            self.streams.append(stream)

    def post(self, posted: Posted | None) -> "Batch":
        """Return the batch itself, its tensors known as those of a slot where it lies in one."""
        if posted is not None:
            posted.tensors = {key: self[key] for key in posted.arrays}
            self.posted = posted
        return self

    def of(self, place: int) -> "Batch":
        """Return one sample of a batch, without copying: of what is of objects, those of the sample.

        Args:
            place: of the sample in the batch, counted from 0.

        Raises:
            IndexError: the batch has no such sample.
        """
        count = len(self["key"])
        if not 0 <= place < count:
            raise IndexError(f"sample {place} of a batch of {count}")
        bounds = self.get("objects")
        objects = None if bounds is None else slice(*bounds[place : place + 2].tolist())
        part = Batch()
        part.recipe = self.recipe
        for key, value in self.items():
            if key in OF_THE_BATCH:
                part[key] = value
            elif key != "objects":
                part[key] = value[objects] if objects and key in self.object_keys else value[place]
        return part

    def _repr_html_(self) -> str:
        """Return what a notebook shows: shapes and dtypes, and the first samples as pictures."""
        keys = self.get("key", [])
        is_sample = isinstance(keys, str)
        what = f"one sample, {keys}" if is_sample else f"{len(keys)} samples"
        shapes = [
            f"{key} {list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
            for key, value in self.items()
            if isinstance(value, torch.Tensor)
        ]
        summary = f"{type(self).__name__} of {what}: {', '.join(shapes)}"
        recipe = self.recipe
        if recipe is None:
            return as_html(summary, [])
        if is_sample:
            return as_html(summary, [(keys, draw_thumbnail(self, recipe))])
        whole = self._whole(min(len(keys), THUMBNAILS))
        samples = ((key, whole.of(place)) for place, key in enumerate(keys[:THUMBNAILS]))
        return as_html(summary, [(key, draw_thumbnail(sample, recipe)) for key, sample in samples])

    def _whole(self, count: int) -> "Batch":
        """Return a batch that begins with so many samples of this one, in the dtypes and values of the contract."""
        del count
        return self

    def __copy__(self) -> "Batch":
        copied = type(self).__new__(type(self))
        copied.update(self)
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> "Batch":
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.update((key, copy.deepcopy(value, memo)) for key, value in self.items())
        copied.__dict__.update(copy.deepcopy(self._attributes(), memo))
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        """Send small tensors by value: torch would make shared memory for each, and keep a descriptor open as long as it lives."""
        place = None if self.posted is None else self.posted.send(self)
        posted = () if place is None else place[-1].arrays
        items = {key: _by_value(value) for key, value in self.items() if key not in posted}
        return _remake, (type(self), items, place), self._attributes() or None

    def _attributes(self) -> dict[str, Any]:
        """Return what was set on the batch itself, but for what is of its place in memory."""
        return {name: value for name, value in self.__dict__.items() if name not in ("streams", "posted")}

    def __missing__(self, key: object) -> Any:
        if key == 0:
            raise KeyError(
                "this is a batch already: give the DataLoader collate_fn=resizeonce.loader.collate"
            )
        raise KeyError(key)


class _Pickled(NamedTuple):
    """A tensor as it is pickled with its bytes; with a shape, a mask at its own size, eight pixels a byte."""

    array: NDArray[Any]
    shape: tuple[int, ...] | None = None


def as_tensor(value: Any) -> Any:
    """Return an array as a tensor that shares its memory; anything else as it is."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _by_value(value: Any) -> Any:
    """Return small and plain tensors, and masks at their own size, as what is pickled with its bytes; others as they are."""
    if isinstance(value, list):
        return [_by_value(one) for one in value]
    if type(value) is torch.Tensor and value.dtype == torch.bool and value.device.type == "cpu":
        return _Pickled(np.packbits(value.numpy()), tuple(value.shape))
    if type(value) is not torch.Tensor or value.dtype not in _DTYPES or value.layout != torch.strided:
        return value
    is_small = value.device.type == "cpu" and value.nbytes <= SMALL_BYTES
    is_plain = not value.requires_grad and not value.is_neg() and not value.__dict__
    return _Pickled(value.numpy()) if is_small and is_plain else value


def _remake(
    kind: type[Batch], items: Mapping[str, Any], place: tuple[tuple[int, int], int, ArrayLayout] | None
) -> Batch:
    received = {} if place is None else receive(*place)
    return kind(received | {key: _from_value(value) for key, value in items.items()})


def _from_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_value(one) for one in value]
    if not isinstance(value, _Pickled):
        return value
    if value.shape is None:
        return torch.from_numpy(value.array)
    bits = np.unpackbits(value.array, count=math.prod(value.shape)).view(np.bool_)
    return torch.from_numpy(bits.reshape(value.shape))


class SampleDataset(Dataset[dict[str, Any]]):
    """The samples of a store as torch tensors.

    With a `DataLoader`, give it `collate_fn=resizeonce.loader.collate`: whole batches are read in one pass.

    Args:
        store: a store, or the path or URL of one; a `Store(path, check_rows=False)` leaves out checksums.
        tensors: which of the recipe's views to read, None for all; a loop that needs no segmenter image saves its 3 MiB a
            sample. "sources", of a store that has them, are the files of the images.
        cache: where parts of a URL are kept, and how many; None for the defaults.

    Raises:
        StoreError: as `resizeonce.loader.Store` does.
        ValueError: `tensors` names something else, or there is a cache for what is no URL.
    """

    def __init__(
        self,
        store: Store | str | Path,
        tensors: Sequence[str] | None = None,
        *,
        cache: CacheOptions | None = None,
    ) -> None:
        warn_without_core()
        self.store = open_store(store, cache)
        self.tensors = choose_views(self.store, tensors)
        self._memory = BatchMemory(MAX_HELD)
        self._room = MaskRoom(MAX_HELD, torch.from_numpy)
        self._ahead = ReadAhead()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.store)

    def __getitem__(
        self, sample: int | slice | Sequence[int] | NDArray[np.integer] | torch.Tensor
    ) -> dict[str, Any]:
        """Return one sample: the keys of the batch, without the batch's axis. A slice or a list gives its samples' batch.

        Args:
            sample: a whole number of Python, numpy or torch, below 0 from the end; or a slice, a list or a 1-d array of them.

        Raises:
            IndexError: there is no such sample, or none at all.
            TypeError: it is neither a whole number nor a list of them.
        """
        if isinstance(sample, slice):
            return self.__getitems__(range(*sample.indices(len(self))))
        if isinstance(sample, np.ndarray | torch.Tensor) and sample.ndim:
            sample = sample.tolist()
        if isinstance(sample, Sequence):
            if any(isinstance(one, bool) for one in sample):
                raise TypeError("samples are chosen by their numbers, not by bools: see numpy.flatnonzero")
            return self.__getitems__(sample)
        return first_of(self.__getitems__([operator.index(sample)]))

    def __getitems__(self, samples: Sequence[int]) -> Batch:
        """Return samples as one batch, in the order asked for.

        Raises:
            IndexError: there is no such sample, or none at all.
            TypeError: one is no whole number.
        """
        if not len(samples):
            raise IndexError("a batch has at least one sample")
        layout = ArrayLayout.of(self.store.array_layout(len(samples), self.tensors), len(samples))
        arrays, posted = self._memory.take(layout)
        rows = BatchRows([self.store] * len(samples), samples, self.tensors)
        # The disk reads all of them at once, while the first are filled.
        self._ahead.prefetch(rows)
        others = rows.fill(arrays)
        self._room.expand(others)
        batch = Batch((key, as_tensor(value)) for key, value in (arrays | others).items())
        batch.recipe = self.store.recipe
        return batch.post(posted)


def collate(samples: Batch | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Batch:
    """Return a batch: as it is where the dataset made one, else put together from single samples.

    Masks at their own size, which alone are bool, are a list.

    A single sample, as a `DataLoader` with `batch_size=None` hands it over, stays one.

    `dataset_type` is a list of str, one a sample, only where samples of several datasets come together.

    Raises:
        ValueError: there is no sample; the samples are some paired and some single, or of recipes with different shapes.
    """
    if isinstance(samples, Batch):
        return samples
    if isinstance(samples, Mapping):
        return Batch(samples)
    if not samples:
        raise ValueError("a batch has at least one sample")
    if len({sample["has_paired_frame"] for sample in samples}) > 1:
        raise ValueError("a batch is all paired or all single: draw each batch from one kind of store")
    # Only some datasets have expressions; a mixed batch has what all of its samples have.
    keys = [key for key in samples[0] if all(key in sample for sample in samples)]
    batch = Batch()
    for key in keys:
        values = [sample[key] for sample in samples]
        if key in OF_THE_BATCH:
            batch[key] = values[0] if len(set(values)) == 1 else values
        elif isinstance(values[0], torch.Tensor) and values[0].dtype != torch.bool:
            if len({value.shape for value in values}) > 1:
                raise ValueError(
                    f"{key} differs in shape among the samples: their stores have different recipes"
                )
            batch[key] = torch.stack(values)
        else:
            batch[key] = values
    return batch
