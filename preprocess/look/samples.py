"""Samples of a store for people: as pictures, and in words. One that can't be read is a tile that says so."""

from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from ...loader.format.errors import StoreError
from ...loader.notebook import jpeg_url
from ...loader.picture import GAP
from ...loader.store import Store
from .choose import choose_by_chance

BACKGROUND = (238, 238, 238)
INK = (176, 0, 32)

GALLERY_HEIGHT = 240
"""Of an image view in a gallery at most, in pixels."""
GALLERY_PIXELS = 120_000
"""Of all views of a sample together, about: some 30 kB."""

QUALITY = 75


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tables of a store say of a sample. Lists have an element for each frame."""

    sample: int
    key: str
    sizes: list[tuple[int, int]]
    """Height and width of the original."""
    areas: list[int]
    """Set pixels of the mask, in its own resolution, which may be another one."""
    prompt_cells: list[int]
    """Empty where the recipe has no prompt."""
    boxes: list[list[float]]
    """x0, y0, x1, y1 in pixels of the original; empty where the store has none."""
    category: str
    expressions: list[str]


def read_facts(store: Store, sample: int) -> Facts:
    """Return what the tables say of a sample.

    Raises:
        IndexError: there is no such sample.
        StoreError: its part can't be read.
    """
    part, rows = store.locate(sample)
    masks = rows.tolist()
    sizes = [tuple(part.column("images/size")[image].tolist()) for image in part.column("masks/image")[rows]]
    return Facts(
        sample=sample,
        key=part.key(masks),
        sizes=sizes,
        areas=part.column("masks/area")[rows].tolist(),
        prompt_cells=part.column("masks/prompt_cells")[rows].tolist() if store.recipe.prompt else [],
        boxes=part.column("masks/box")[rows].tolist() if "boxes" in store.columns else [],
        category=part.text("masks/category", masks[0]),
        expressions=part.sample_expressions(masks),
    )


def draw_sample(store: Store, sample: int, height: int) -> Image.Image:
    """Draw a sample, so many pixels high: its image views side by side, both frames of a pair, with outlines and prompts over them.

    Raises:
        IndexError: there is no such sample.
    """
    try:
        return store.picture(sample, height)
    except StoreError:
        return draw_unread(height, len(store.recipe.images) * len(store.suffixes))


def thumbnail(store: Store, sample: int, height: int) -> Image.Image:
    """Draw one view of a sample with its mask's outline; arguments and errors as of `draw_sample`."""
    try:
        return store.thumbnail(sample, height)
    except StoreError:
        return draw_unread(height, 1)


def draw_unread(height: int, views: int) -> Image.Image:
    """Return what stands for a sample that can't be read, as wide as that many square views."""
    tile = Image.new("RGB", (height * views, height), BACKGROUND)
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, tile.width - 1, height - 1), outline=INK, width=max(1, height // 64))
    font = ImageFont.load_default(max(8, min(24, height // 8)))
    draw.text((tile.width / 2, height / 2), "can't be\nread", INK, font, anchor="mm", align="center")
    return tile


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
    picture = draw_sample(store, sample, min(GALLERY_HEIGHT, isqrt(GALLERY_PIXELS // views)))
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
