"""Samples of a store as pictures, for sheets and pages: one that can't be read is a tile that says so."""

from PIL import Image, ImageDraw, ImageFont

from ...loader.fill import SampleError
from ...loader.store import Store

BACKGROUND = (238, 238, 238)
INK = (176, 0, 32)


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
    except SampleError:
        return _damaged(height, len(store.recipe.images) * len(store.suffixes))


def thumbnail(store: Store, sample: int, height: int) -> Image.Image:
    """Draw one view of a sample with its mask's outline; arguments and errors as of `draw_sample`."""
    try:
        return store.thumbnail(sample, height)
    except SampleError:
        return _damaged(height, 1)


def _damaged(height: int, views: int) -> Image.Image:
    """Return what stands for a sample that can't be read."""
    tile = Image.new("RGB", (height * views, height), BACKGROUND)
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, tile.width - 1, height - 1), outline=INK, width=max(1, height // 64))
    font = ImageFont.load_default(max(8, min(24, height // 8)))
    draw.text((tile.width / 2, height / 2), "can't be\nread", INK, font, anchor="mm", align="center")
    return tile
