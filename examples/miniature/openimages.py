"""An OpenImages segmentation tree: images, mask PNGs in another resolution, a CSV per split, and the class names."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miniature.shapes import ellipse_of

COLUMNS = (
    "MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax", "PredictedIoU", "Clicks",
)  # fmt: skip

CLASSES = {"/m/0bt9lr": "Dog", "/m/0663v": "Pizza"}


def write_openimages(root: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write each picture with two masks: the last into validation, with masks by hex digit, the others into train."""
    for split in ("train", "validation"):
        (root / split).mkdir(parents=True)
        (root / f"{split}-masks").mkdir()
        with (root / f"{split}-annotations-object-segmentation.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
    with (root / "class-descriptions-boxable.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(CLASSES.items())
    for number, picture in enumerate(pictures):
        _write_image(root, "validation" if number == len(pictures) - 1 else "train", picture, number)


def image_id_of(number: int) -> str:
    """Return the id of picture `number`: hex digits, of which some look like a number."""
    return f"{number:02x}e1{number:012d}"


def mask_size_of(height: int, width: int, number: int) -> tuple[int, int]:
    """Return (height, width) of the masks of picture `number`: larger or smaller, the ratio a pixel off at times."""
    scale = (1.5625, 0.7)[number % 2]
    return int(height * scale), int(width * scale)


def _write_image(root: Path, split: str, picture: NDArray[np.uint8], number: int) -> None:
    image_id = image_id_of(number)
    Image.fromarray(picture).save(root / split / f"{image_id}.jpg", quality=95)
    folder = root / f"{split}-masks"
    if split == "validation":
        folder /= image_id[0].upper()
        folder.mkdir(exist_ok=True)
    rows = []
    for place, label in enumerate(CLASSES):
        height, width = mask_size_of(*picture.shape[:2], number)
        mask = ellipse_of(height, width, number * 10 + place)
        box_id = f"{number:04x}{place:04x}"
        name = f"{image_id}_{label.replace('/', '')}_{box_id}.png"
        Image.fromarray(mask).save(folder / name)
        y, x = np.nonzero(mask)
        box = (x.min() / width, (x.max() + 1) / width, y.min() / height, (y.max() + 1) / height)
        # The columns of people's work are filled in the train split only.
        human = ("0.86864", "0.95498 0.65197 1;0.89370 0.56579 1;") if split == "train" else ("", "")
        rows.append((name, image_id, label, box_id, *(f"{side:.6f}" for side in box), *human))
    with (root / f"{split}-annotations-object-segmentation.csv").open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
