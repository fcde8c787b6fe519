"""The way from stored rows to the arrays of a batch, for a batch of any size, one sample included.

One tensor of all samples is filled at once, in one call of a compiled loop. Between two samples a batch's bytes have driven
everything else out of the processor's caches: what Python does for each sample then takes four times as long as it does
for all of them in one go. And a thread gives the interpreter away once for a batch, and not for each row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array import MappedArray
from .format.errors import DamageError, StoreError
from .format.layout import TENSOR_PATHS, TENSORS
from .kernels.batch_kernels import Form, Rows, batch_kernels
from .kernels.core import DAMAGED, DONE, LEFT
from .open_parts import OpenParts
from .part import Part

ChooseExpressions = Callable[[list[str], int], list[str]]
"""Takes the phrases of an object and the place of its sample in the batch; returns those to give."""


class SampleError(StoreError):
    """Raised when a sample can't be read; names it, the store, the row and what to do.

    Attributes:
        store: the store's path, or its URL without a password.
        sample: its number there.
        part: the name of its part, such as "part-00003".
        key: its id, None where the part's tables can't be read.
        place: where it stands in the batch.
        is_damage: whether bytes of the store are not those that were written, or are gone. A part that can't be fetched for
            now, a store that is gone as a whole, or a limit of the system, is no damage.
    """

    def __init__(
        self,
        message: str,
        *,
        store: str = "",
        sample: int = -1,
        part: str = "",
        key: str | None = None,
        place: int = 0,
        is_damage: bool = False,
    ) -> None:
        super().__init__(message)
        self.store, self.sample, self.part = store, sample, part
        self.key, self.place, self.is_damage = key, place, is_damage


_FAULTS = (StoreError, OSError, ValueError, IndexError)
"""What a sample that can't be read raises."""


class Location(NamedTuple):
    """Where a sample is stored."""

    part: int
    """Number of the part; few parts may be open at a time, so they are not held."""
    masks: list[int]
    """Rows of its masks there, one for each frame."""
    images: list[int]
    """Rows of its images."""


class BatchRows:
    """The samples of one batch: where each is stored is looked up once, for reading ahead as for filling.

    Args:
        stores: of each sample; all paired or all single, of one set of shapes.
        samples: number of each in its store.
    """

    def __init__(self, stores: Sequence[OpenParts], samples: Sequence[int]) -> None:
        self._stores = stores
        self._samples = samples
        self._locations: list[Location | None] = [None] * len(samples)
        # Parts of which the lengths of files were compared for this batch.
        self._checked: set[tuple[OpenParts, int]] = set()

    def __len__(self) -> int:
        return len(self._samples)

    def with_samples_of(self, places: Sequence[int]) -> "BatchRows":
        """Return a batch of these samples, by their places in this one."""
        return BatchRows(
            [self._stores[place] for place in places], [self._samples[place] for place in places]
        )

    def prefetch(self, tensors: Sequence[str]) -> bool:
        """Ask the system to read ahead, and of stores at a URL to fetch ahead, what `fill` will need.

        Returns:
            Whether all of it is known to be in memory.
        """
        self._checked.clear()
        # Filling the batch meets the same fault, and says which sample has it.
        with suppress(*_FAULTS):
            is_there = all(store.is_local for store in self._stores)
            # Locating a sample of a part that has to be fetched would wait for it, and hold up the batches before this one.
            for place in [place for place, is_near in enumerate(self._expect()) if is_near]:
                location = self._locate(place)
                part = self._part(place, location.part)
                for mask, image in zip(location.masks, location.images, strict=True):
                    for tensor in tensors:
                        if tensor != "prompt_masks":
                            row = mask if tensor == "masks" else image
                            is_there &= part.array(TENSOR_PATHS[tensor]).advise(row)
            return is_there
        return False

    def fill(
        self,
        arrays: Mapping[str, NDArray[Any]],
        choose: ChooseExpressions = lambda phrases, _: phrases,
    ) -> dict[str, Any]:
        """Write the samples into the rows of `arrays`; return the other keys of the batch.

        Args:
            arrays: by name with suffix, such as "masks1", each of at least as many rows as samples, in C order.
            choose: which phrases of an object to give.

        Raises:
            IndexError: there is no such sample.
            SampleError: a sample can't be read, for the reason that is its cause.
        """
        self._checked.clear()
        # Parts at a URL arrive side by side while the first of them are read.
        self._expect()
        suffixes = self._stores[0].suffixes
        cells = np.empty((len(suffixes), len(self._samples)), np.int64)
        keys: list[str] = []
        phrases: list[list[str]] = []
        at_once = min(store.max_at_once() for store in set(self._stores))
        for first in range(0, len(self._samples), at_once):
            group = range(first, min(first + at_once, len(self._samples)))
            # In a function of its own, so that nothing keeps its parts open while those of the next are opened.
            for place, (key, cells_of_frames, found) in zip(
                group, self._fill_group(group, arrays), strict=True
            ):
                keys.append(key)
                cells[:, place] = cells_of_frames
                phrases.append(choose(found, place))
        types = [store.dataset_type for store in self._stores]
        described: dict[str, Any] = {
            "dataset_type": types[0] if len(set(types)) == 1 else types,
            "has_paired_frame": self._stores[0].paired,
        }
        for suffix, counts in zip(suffixes, cells, strict=True):
            described[f"prompt_cells{suffix}"] = counts
        described["key"] = keys
        if all(store.has_expressions for store in self._stores):
            described["expressions"] = phrases
        return described

    def _expect(self) -> list[bool]:
        """Begin to read or fetch what is needed of parts; return of each sample whether it waits for a disk at most."""
        return [store.expect(sample) for store, sample in zip(self._stores, self._samples, strict=True)]

    def _part(self, place: int, number: int) -> Part:
        """Return the part of a sample; once for a batch it is looked whether its files are as long as they were."""
        store = self._stores[place]
        part = store.part(number)
        if (store, number) not in self._checked:
            part.check_lengths()
            self._checked.add((store, number))
        return part

    def _locate(self, place: int) -> Location:
        """Return where a sample is stored, looked up now where it was not before."""
        location = self._locations[place]
        if location is None:
            number, row = self._stores[place].place_of(self._samples[place])
            part = self._part(place, number)
            masks = part.column("samples/mask")[row].tolist()
            images = part.column("masks/image")
            location = Location(number, masks, [images.item(mask) for mask in masks])
            self._locations[place] = location
        return location

    def _fill_group(
        self, group: range, arrays: Mapping[str, NDArray[Any]]
    ) -> list[tuple[str, list[int], list[str]]]:
        """Fill the rows of samples whose parts may be open at once; return key, prompt cells and phrases of each."""
        described: list[tuple[str, list[int], list[str]]] = []
        parts: list[Part] = []
        locations: list[Location] = []
        for place in group:
            store = self._stores[place]
            key = None
            if self._locations[place] is None:
                # Outside of what is told as the sample's fault: a number that the store has not is the caller's.
                store.place_of(self._samples[place])
            try:
                location = self._locate(place)
                part = self._part(place, location.part)
                key = part.key(location.masks)
                column = part.column("masks/prompt_cells")
                cells = [column.item(mask) for mask in location.masks]
                described.append((key, cells, part.sample_expressions(location.masks)))
            except _FAULTS as err:
                raise self._error(place, key, err) from err
            parts.append(part)
            locations.append(location)
        for name, tensor, frame in _name_tensors(arrays, self._stores[0].suffixes):
            in_masks = tensor in ("prompt_masks", "masks")
            numbers = [(one.masks if in_masks else one.images)[frame] for one in locations]
            out = arrays[name][group.start : group.stop]
            with suppress(*_FAULTS):
                _fill_tensor(tensor, parts, numbers, out)
                continue
            # One of them is damaged or can't be read: which one, batches of one tell.
            for at, place in enumerate(group):
                one = slice(at, at + 1)
                try:
                    _fill_tensor(tensor, parts[one], numbers[one], out[one])
                except _FAULTS as err:
                    raise self._error(place, described[at][0], err) from err
        return described

    def _error(self, place: int, key: str | None, fault: Exception) -> SampleError:
        """Return a fault as one that names its sample."""
        store, sample = self._stores[place], self._samples[place]
        number, _ = store.place_of(sample)
        finding = str(fault)
        is_damage = isinstance(fault, DamageError) and store.is_there()
        if isinstance(fault, DamageError):
            remedy = store.describe_mending(number) if is_damage else "the store was moved, or is not mounted"
            finding = f"{fault.finding}; {remedy}"
        return SampleError(
            f"sample {sample} of {store.name} ({key or 'key unknown'}): {finding}",
            store=store.name,
            sample=int(sample) % len(store),
            part=store.part_name(number),
            key=key,
            place=place,
            is_damage=is_damage,
        )


def check_tensors(tensors: Sequence[str]) -> None:
    """Raise `ValueError` where a name is not one of `TENSORS`."""
    if unknown := set(tensors) - set(TENSORS):
        raise ValueError(f"tensors are {', '.join(TENSORS)}; not {', '.join(sorted(unknown))}")


def _name_tensors(arrays: Iterable[str], suffixes: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the name in the batch, the tensor and the frame of each array."""
    return [
        (name, name.removesuffix(suffix), frame)
        for frame, suffix in enumerate(suffixes)
        for name in arrays
        if name.endswith(suffix)
    ]


def _fill_tensor(tensor: str, parts: Sequence[Part], numbers: Sequence[int], out: NDArray[Any]) -> None:
    """Write one tensor of samples into the rows of `out`; raise any of the faults where one can't be read.

    Args:
        tensor: one of `TENSORS`.
        parts: of each sample.
        numbers: of each sample, the row of its mask or image there.
        out: of the tensor's shape and dtype, or those of its compact form, one row for each sample, in C order.
    """
    path = TENSOR_PATHS[tensor]
    if tensor == "prompt_masks":
        for room, part, number in zip(out, parts, numbers, strict=True):
            np.copyto(room, part.column(path)[number])
        return
    arrays = [part.array(path) for part in parts]
    (codec, stored, shape, is_checked), *others = {array.form for array in arrays}
    if others:
        # Of stores of several forms.
        for at in range(len(parts)):
            one = slice(at, at + 1)
            _fill_tensor(tensor, parts[one], numbers[one], out[one])
        return
    kernel = batch_kernels()[Form(tensor, codec, stored, out.dtype)]
    done = bytes([LEFT]) * len(arrays)
    # Masks may be delivered as bits: then only their height is that of a row.
    if out.flags.carray and shape[:-1] == out.shape[1:-1]:
        done = kernel.fill_rows(_rows(arrays, numbers, is_checked), out)
    if done.count(DONE) == len(done):
        return
    for array, number, room, state in zip(arrays, numbers, out, done, strict=True):
        if state == DAMAGED:
            raise array.damage(number)
        if state == LEFT:
            kernel.finish_row(array.row(number), room)


def _rows(arrays: Sequence[MappedArray], numbers: Sequence[int], is_checked: bool) -> Rows:
    """Return where rows are stored."""
    spans = [array.span(number) for array, number in zip(arrays, numbers, strict=True)]
    return Rows([array.content for array in arrays], np.array(spans, np.int64), is_checked)
