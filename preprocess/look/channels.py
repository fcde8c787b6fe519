"""The mean and spread of each channel of the stored images, from a sample of them: beside those that the recipe names."""

from collections import defaultdict
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.layout import view_path
from ...loader.format.recipe import ImageView, shown_size

MAX_IMAGES = 256
"""In a sample. The mean of so many is a level or so off, as pictures' own means spread over some 30 levels."""

MAX_PARTS_OF_URL = 4
"""Of which rows are read where each part is fetched whole."""


class Channels(msgspec.Struct):
    """Levels of an image view by channel: red, green, blue; 0..255, before it is normalized."""

    mean: list[float]
    std: list[float]
    recipe_mean: list[float] | None
    """What the recipe subtracts, in the same levels; None for a view that is not normalized, as is the next."""
    recipe_std: list[float] | None


def choose_images(store: Store, at_most: int, seed: int) -> dict[int, list[int]]:
    """Return rows of images that are drawn at random with a seed, by the number of their part; both ascend.

    Of a store at a URL they are of a few parts.
    """
    random = np.random.default_rng(seed)
    ends = np.cumsum([part["rows"]["images"] for part in store.attributes["parts"]], dtype=np.int64)
    count = store.count("images")
    if store.is_local:
        places = random.choice(count, min(at_most, count), replace=False)
    else:
        filled = np.flatnonzero(np.diff(ends, prepend=0))
        parts = random.choice(filled, min(MAX_PARTS_OF_URL, len(filled)), replace=False)
        candidates = np.concatenate(
            [np.arange(ends[part - 1] if part else 0, ends[part]) for part in parts] or [np.arange(0)]
        )
        places = random.choice(candidates, min(at_most, len(candidates)), replace=False)
    rows: dict[int, list[int]] = defaultdict(list)
    for place in sorted(places.tolist()):
        part, row = store.place_of(place, "images")
        rows[part].append(row)
    return rows


def measure_channels(store: Store, rows: dict[int, list[int]]) -> dict[str, Channels]:
    """Return the levels of each image view over these rows, by the parts they are in; what was padded is left out.

    Raises:
        StoreError: a row can't be read.
    """
    levels = {name: np.zeros((3, 256), np.int64) for name in store.recipe.images}
    for number, chosen in rows.items():
        part = store.part(number)
        sizes = part.column("images/size")
        for name, view in store.recipe.images.items():
            array = part.array(view_path(name, view))
            for row in chosen:
                image = _levels_of(view, array.row(row))
                if view.fit == "pad":
                    height, width = shown_size(view, *sizes[row].tolist())
                    image = image[:, :height, :width]
                levels[name] += [np.bincount(channel.ravel(), minlength=256) for channel in image]
    return {name: _summed(store.recipe.images[name], counts) for name, counts in levels.items()}


def _levels_of(view: ImageView, row: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a stored row, [3, H, W], as the levels that it was made of."""
    if view.stored != "float32":
        return row
    mean, std = (np.array(values)[:, None, None] for values in (view.mean, view.std))
    levels: NDArray[np.uint8] = np.rint((row * std + mean) * view.scale).clip(0, 255).astype(np.uint8)
    return levels


def _summed(view: ImageView, counts: NDArray[np.int64]) -> Channels:
    """Return what counts of levels, [3, 256], amount to."""
    pixels = np.maximum(counts.sum(1), 1)
    mean = counts @ np.arange(256) / pixels
    variance = counts @ np.arange(256) ** 2 / pixels - mean**2
    recipe_mean = recipe_std = None
    if view.values == "normalized":
        recipe_mean = [value * view.scale for value in view.mean]
        recipe_std = [value * view.scale for value in view.std]
    return Channels(mean.tolist(), np.sqrt(np.maximum(variance, 0)).tolist(), recipe_mean, recipe_std)
