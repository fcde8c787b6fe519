"""Fills the arrays of a batch with the samples of one or several stores, and says what else belongs to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loader.rows import fill_rows
from loader.store import Store
from loader.tensors import fill_tensor
from preprocess.errors import StoreError

ChooseExpressions = Callable[[list[str], int], list[str]]
"""Takes the phrases of an object and the place of its sample in the batch; returns those to give."""


class SampleError(StoreError):
    """Raised when a sample can't be read; names it, and the store."""


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
        placed = []
        for place in range(first, min(first + at_once, len(picks))):
            store, sample = picks[place]
            with _naming(picks[place], "key unknown"):
                part, rows = store.locate(sample)
                masks = rows.tolist()
                keys.append(part.key(masks))
            with _naming(picks[place], keys[place]):
                cells[:, place] = part.column("masks/prompt_cells")[rows]
                phrases.append(choose(part.sample_expressions(masks), place))
            placed.append((part, masks))
        for name, tensor, frame in _name_tensors(arrays, suffixes):
            of_frame = [(part, masks[frame]) for part, masks in placed]
            out = arrays[name][first : first + len(placed)]
            for place in fill_rows(tensor, of_frame, out):
                with _naming(picks[first + place], keys[first + place]):
                    fill_tensor(of_frame[place][0], tensor, of_frame[place][1], out[place])
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


def _name_tensors(arrays: Iterable[str], suffixes: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return the name in the batch, the tensor and the frame of each array."""
    return [
        (name, name.removesuffix(suffix), frame)
        for frame, suffix in enumerate(suffixes)
        for name in arrays
        if name.endswith(suffix)
    ]


@contextmanager
def _naming(pick: tuple[Store, int], key: str) -> Iterator[None]:
    """Raise `SampleError` for what goes wrong with a sample."""
    try:
        yield
    except (StoreError, OSError, ValueError) as err:
        store, sample = pick
        raise SampleError(f"sample {sample} of {store.name} ({key}): {err}") from err


def advise_batch(picks: Sequence[tuple[Store, int]], tensors: Sequence[str]) -> None:
    """Ask the system to read ahead, and of stores at a URL to fetch ahead, what `fill_batch` will need."""
    for store, sample in picks:
        if not store.expect(sample):
            # Locating it would wait for its part, and hold up the batches before this one.
            continue
        part, masks = store.locate(sample)
        for mask in masks.tolist():
            image = int(part.column("masks/image")[mask])
            for tensor in tensors:
                if tensor == "masks":
                    part.array("masks/masks").advise(mask)
                elif tensor != "prompt_masks":
                    part.array(f"images/{tensor}").advise(image)
