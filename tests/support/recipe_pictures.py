"""The pictures of docs/recipes.md, made of scikit-image's: `make docs` writes them."""

from pathlib import Path
from typing import get_args

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from resizeonce.loader.format.recipe import Fit, ImageView, MaskFilter, MaskView
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.tensors.transforms import resize_image, resize_mask

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SIDE = 160
GAP = 8
LABEL = 14
GREY = (128, 128, 128)


def fits() -> Image.Image:
    """Return a photograph, and what each fit makes of it."""
    photograph = read("coffee.png")
    small = photograph.resize((SIDE * photograph.width // photograph.height, SIDE))
    tiles = {"the picture": small}
    for fit in get_args(Fit):
        view = ImageView(size=(SIDE, SIDE), fit=fit, pad=GREY, values="uint8")
        tiles[fit] = Image.fromarray(resize_image(np.asarray(photograph), view).transpose(1, 2, 0))
    return in_a_row(tiles)


def rules() -> Image.Image:
    """Return a mask, and what each rule makes of it at 16 x 16."""
    mask = np.asarray(read("horse.png").convert("L")) < 128
    height, width = mask.shape
    tiles = {"the mask": as_picture(mask, (SIDE * width // height, SIDE))}
    over = ImageView(size=(16, 16))
    for rule in get_args(MaskFilter):
        view = MaskView(over="", size=(16, 16), filter=rule)
        tiles[rule] = as_picture(resize_mask(Rle.of_array(mask), view, over, mask.shape), (SIDE, SIDE))
    return in_a_row(tiles)


PICTURES = {"fits.jpg": fits, "rules.png": rules}


def read(name: str) -> Image.Image:
    """Return one of scikit-image's pictures, RGB."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        return picture.convert("RGB")


def as_picture(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """Return a mask, white on dark, each cell a block."""
    return Image.fromarray(np.where(mask, np.uint8(255), np.uint8(60))).resize(size, Image.Resampling.NEAREST)


def in_a_row(tiles: dict[str, Image.Image]) -> Image.Image:
    """Return pictures beside each other, each below its name."""
    width = sum(tile.width for tile in tiles.values()) + GAP * (len(tiles) - 1)
    row = Image.new("RGB", (width, LABEL + SIDE), "white")
    draw, left = ImageDraw.Draw(row), 0
    for name, tile in tiles.items():
        draw.text((left, 0), name, fill="black")
        row.paste(tile, (left, LABEL))
        left += tile.width + GAP
    return row


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in PICTURES.items():
        make().save(FOLDER / name, quality=88, optimize=True)
