"""Samples of a store for people: as pictures, and in words. One that can't be read is a tile that says so."""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from ...loader.format.errors import StoreError
from ...loader.store import Store

BACKGROUND = (238, 238, 238)
INK = (176, 0, 32)


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
    """Draw a sample: its image views side by side, both frames of a pair, with outlines and prompts over them.

    Args:
        store: where it is.
        sample: its number.
        height: of the picture in pixels.

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
