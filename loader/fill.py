"""Fills the arrays of a batch with the samples of one or several stores, and says what else belongs to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .format.errors import StoreError
from .rows import fill_rows
from .store import Store
from .tensors import fill_tensor

ChooseExpressions = Callable[[list[str], int], list[str]]
"""Takes the phrases of an object and the place of its sample in the batch; returns those to give."""


class SampleError(StoreError):
    """Raised when a sample can't be read; names it, and the store."""


_FAULTS = (StoreError, OSError, ValueError)
"""What a sample that can't be read raises. An `IndexError` is one only where columns are read: a number outside the store
is the caller's mistake."""


def fill_batch(
    picks: Sequence[tuple[Store, int]],
    arrays: Mapping[str, NDArray[Any]],
    choose: ChooseExpressions = lambda phrases, _: phrases,
) -> dict[str, Any]:
    """Write samples into the rows of `arrays`; return the other keys of the batch.

    Args:
        picks: store and number of each sample; all paired or all single, of one set of shapes.
        arrays: by name with suffix, such as "masks1", each [at least len(picks), ...] in C order.
        choose: which phrases of an object to give.

    Raises:
        SampleError: a sample can't be read, for the reason that is its cause.
    """
    suffixes = picks[0][0].suffixes
    for store, sample in picks:
        # Parts at a URL arrive side by side while the first of them are read.
        store.expect(sample)
    cells = np.empty((len(suffixes), len(picks)), np.int64)
    keys: list[str] = []
    phrases: list[list[str]] = []
    at_once = min(store.max_at_once() for store in {store for store, _ in picks})
    for first in range(0, len(picks), at_once):
        group = picks[first : first + at_once]
        out = {name: array[first : first + len(group)] for name, array in arrays.items()}
        # In a function of its own, so that nothing keeps its parts open while those of the next are opened.
        located = _fill_group(group, out)
        for place, (key, cells_of_frames, found) in enumerate(located, first):
            keys.append(key)
            cells[:, place] = cells_of_frames
            phrases.append(choose(found, place))
    types = [store.dataset_type for store, _ in picks]
    described: dict[str, Any] = {
        "dataset_type": types[0] if len(set(types)) == 1 else types,
        "has_paired_frame": picks[0][0].paired,
    }
    for suffix, counts in zip(suffixes, cells, strict=True):
        described[f"prompt_cells{suffix}"] = counts
    described["key"] = keys
    if all(store.has_expressions for store, _ in picks):
        described["expressions"] = phrases
    return described


def _fill_group(
    picks: Sequence[tuple[Store, int]], arrays: Mapping[str, NDArray[Any]]
) -> list[tuple[str, list[int], list[str]]]:
    """Fill the rows of samples whose parts may be open at once; return key, prompt cells and phrases of each."""
    described, placed = [], []
    for pick in picks:
        store, sample = pick
        key = "key unknown"
        try:
            part, rows = store.locate(sample)
        except _FAULTS as err:
            raise _name(pick, key, err) from err
        try:
            masks: list[int] = rows.tolist()
            key = part.key(masks)
            column = part.column("masks/prompt_cells")
            described.append((key, [column.item(mask) for mask in masks], part.sample_expressions(masks)))
        except (*_FAULTS, IndexError) as err:
            raise _name(pick, key, err) from err
        placed.append((part, masks))
    for name, tensor, frame in _name_tensors(arrays, picks[0][0].suffixes):
        of_frame = [(part, masks[frame]) for part, masks in placed]
        for place in fill_rows(tensor, of_frame, arrays[name]):
            part, mask = of_frame[place]
            try:
                fill_tensor(part, tensor, mask, arrays[name][place])
            except (*_FAULTS, IndexError) as err:
                raise _name(picks[place], described[place][0], err) from err
    return described


def _name_tensors(arrays: Iterable[str], suffixes: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the name in the batch, the tensor and the frame of each array."""
    return [
        (name, name.removesuffix(suffix), frame)
        for frame, suffix in enumerate(suffixes)
        for name in arrays
        if name.endswith(suffix)
    ]


def _name(pick: tuple[Store, int], key: str, fault: Exception) -> SampleError:
    """Return a fault as one that names its sample."""
    store, sample = pick
    return SampleError(f"sample {sample} of {store.name} ({key}): {fault}")


def advise_batch(picks: Sequence[tuple[Store, int]], tensors: Sequence[str]) -> bool:
    """Ask the system to read ahead, and of stores at a URL to fetch ahead, what `fill_batch` will need.

    Returns:
        Whether all of it is known to be in memory.
    """
    # Filling the batch meets the same fault, and says which sample has it.
    with suppress(*_FAULTS, IndexError):
        is_there = all(store.is_local for store, _ in picks)
        # Locating a sample of a part that has to be fetched would wait for it, and hold up the batches before this one.
        for store, sample in [pick for pick in picks if pick[0].expect(pick[1])]:
            part, masks = store.locate(sample)
            for mask in masks.tolist():
                image = part.column("masks/image").item(mask)
                for tensor in tensors:
                    if tensor == "masks":
                        is_there &= part.array("masks/masks").advise(mask)
                    elif tensor != "prompt_masks":
                        is_there &= part.array(f"images/{tensor}").advise(image)
        return is_there
    return False
