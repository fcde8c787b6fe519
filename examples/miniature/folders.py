"""One's own folders: `images/*.jpg` and `masks/*.png` of the same names, an object a value."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miniature.shapes import ellipse_of

PALETTE = (0, 0, 0, 236, 95, 103, 249, 145, 87, *[200] * 759)
"""Black for the background, then a colour for each object; all 256, since Pillow writes no more bits than it has colours for."""


def write_folders(root: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write each picture with a palette PNG of two objects, 1 and 2, of which the second covers the first."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(root / "images" / f"{number:04d}.jpg", quality=95)
        save_indexed(root / "masks" / f"{number:04d}.png", labels_of(*picture.shape[:2], 10 * number))


def labels_of(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return a label map of two ellipses, uint8 [height, width]."""
    labels = ellipse_of(height, width, seed + 1).astype(np.uint8)
    labels[ellipse_of(height, width, seed + 2)] = 2
    return labels


def save_indexed(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map as a palette PNG."""
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette(PALETTE)
    picture.save(path)
