"""Samples of a store with what is said of each, as a page holds them in itself."""

from base64 import b64encode
from io import BytesIO
from typing import NamedTuple

from ...loader import Store
from .channels import choose_places
from .samples import draw_sample

PICTURE_WIDTH, MOST_HEIGHT = 640, 240
"""Of a picture in pixels, about: some 30 kB each."""

QUALITY = 75

MOST_EXPRESSIONS = 3
"""Shown with a sample."""


class Tile(NamedTuple):
    """A sample as a page shows it."""

    source: str
    """The picture as a `data:` URL."""
    width: int
    height: int
    key: str
    category: str
    areas: list[int]
    """Of its mask in each frame, in pixels."""
    prompt_cells: list[int]
    """Likewise; empty where the recipe has no prompt."""
    expressions: list[str]
    """The first few."""


def draw_gallery(store: Store, count: int, seed: int) -> list[Tile]:
    """Return samples that are drawn at random with a seed, in the order of the store.

    Raises:
        StoreError: what the store says of one can't be read; where only its pictures can't, those say so.
    """
    return [_tile(store, sample) for sample in choose_places(store, "samples", count, seed)]


def _tile(store: Store, sample: int) -> Tile:
    part, rows = store.locate(sample)
    masks = rows.tolist()
    views = len(store.recipe.images) * len(store.suffixes)
    picture = draw_sample(store, sample, min(MOST_HEIGHT, PICTURE_WIDTH // max(views, 1)))
    encoded = BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY, optimize=True)
    cells = part.column("masks/prompt_cells")[masks].tolist() if store.recipe.prompt else []
    return Tile(
        f"data:image/jpeg;base64,{b64encode(encoded.getvalue()).decode()}",
        picture.width,
        picture.height,
        part.key(masks),
        part.text("masks/category", masks[0]),
        part.column("masks/area")[masks].tolist(),
        cells,
        part.sample_expressions(masks)[:MOST_EXPRESSIONS],
    )
