"""Samples of a store with what is said of each, as a page holds them in itself."""

from math import isqrt
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ...loader import Store
from ...loader.notebook import jpeg_url
from ...loader.picture import GAP
from .choose import choose_by_chance
from .samples import Facts, draw_sample, read_facts

MOST_HEIGHT = 240
"""Of an image view, in pixels."""
PICTURE_PIXELS = 120_000
"""Of all views of a sample together, about: some 30 kB."""

QUALITY = 75


class Tile(NamedTuple):
    """A sample as a page shows it."""

    source: str
    """The picture as a `data:` URL."""
    width: int
    height: int
    facts: Facts


def draw_gallery(path: Path | str, count: int, seed: int) -> list[Tile]:
    """Return those samples of the store at a path or URL that a preview with the seed shows, in its order.

    Raises:
        StoreError: what the store says of one can't be read; where only its pictures can't, those say so.
    """
    store = Store(path)
    return [_tile(store, sample) for sample in choose_by_chance(store, count, seed).samples]


def _tile(store: Store, sample: int) -> Tile:
    views = max(len(store.recipe.images) * len(store.suffixes), 1)
    picture = draw_sample(store, sample, min(MOST_HEIGHT, isqrt(PICTURE_PIXELS // views)))
    if store.paired:
        picture = stack_frames(picture)
    return Tile(
        jpeg_url(picture, QUALITY, optimize=True), picture.width, picture.height, read_facts(store, sample)
    )


def stack_frames(pair: Image.Image) -> Image.Image:
    """Return the picture of a pair with the later frame below the earlier one, so that both are wide enough on a phone."""
    width, height = (pair.width - GAP) // 2, pair.height
    stacked = Image.new("RGB", (width, 2 * height + GAP), "white")
    stacked.paste(pair.crop((0, 0, width, height)))
    stacked.paste(pair.crop((width + GAP, 0, pair.width, height)), (0, height + GAP))
    return stacked
