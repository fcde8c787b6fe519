"""Fills the arrays of a batch with the samples of one or several stores, and says what else belongs to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    tensors = [
        (name, name.removesuffix(suffix), frame)
        for frame, suffix in enumerate(suffixes)
        for name in arrays
        if name.endswith(suffix)
    ]
    cells = np.empty((len(suffixes), len(picks)), np.int64)
    keys, phrases = [], []
    for store, sample in picks:
        # Parts at a URL arrive side by side while the first of them are read.
        store.expect(sample)
    for place, (store, sample) in enumerate(picks):
        try:
            part, rows = store.locate(sample)
            masks = rows.tolist()
            keys.append(part.key(masks))
            cells[:, place] = part.column("masks/prompt_cells")[rows]
            for name, tensor, frame in tensors:
                fill_tensor(part, tensor, masks[frame], arrays[name][place])
            phrases.append(choose(part.sample_expressions(masks), place))
        except (StoreError, OSError, ValueError) as err:
            key = keys[place] if len(keys) > place else "key unknown"
            raise SampleError(f"sample {sample} of {store.name} ({key}): {err}") from err
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
