"""The mean and spread of each channel of the stored images, from a sample of them: beside those that the recipe names."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.layout import view_path
from ...loader.format.norms import Norm
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


def choose_images(store: Store, at_most: int, seed: int) -> list[int]:
    """Return numbers of images that are drawn by chance with a seed, ascending; of a store at a URL, of a few parts."""
    random = np.random.default_rng(seed)
    count = store.count("images")
    if store.is_local:
        return sorted(random.choice(count, min(at_most, count), replace=False).tolist())
    filled = [part for part in range(len(store.attributes["parts"])) if store.numbers_in(part, "images")]
    parts = random.choice(filled, min(MAX_PARTS_OF_URL, len(filled)), replace=False).tolist()
    places = [place for part in parts for place in store.numbers_in(part, "images")]
    return sorted(random.choice(places, min(at_most, len(places)), replace=False).tolist())


def measure_channels(store: Store, places: Sequence[int]) -> dict[str, Channels]:
    """Return the levels of each image view over the images at these places; what was padded is left out.

    Raises:
        StoreError: a row can't be read.
    """
    levels = {name: np.zeros((3, 256), np.int64) for name in store.recipe.images}
    for place in places:
        number, row = store.row_of(place, "images")
        part = store.part(number)
        for name, view in store.recipe.images.items():
            image = part.array(view_path(name, view)).row(row)
            if view.stored == "float32":
                image = Norm.of(view).to_whole_levels(image)
            if view.fit == "pad":
                height, width = shown_size(view, *part.column("images/size")[row].tolist())
                image = image[:, :height, :width]
            levels[name] += [np.bincount(channel.ravel(), minlength=256) for channel in image]
    return {name: _summed(store.recipe.images[name], counts) for name, counts in levels.items()}


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
