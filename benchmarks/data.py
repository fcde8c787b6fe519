"""The raw datasets that the benchmarks convert: photographs of scikit-image under random outlines, as COCO or SA-1B has them."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from PIL import Image
from pycocotools import mask as coco_mask

from preprocess.config import Config, parse_config

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg")
"""Photographs that scikit-image ships."""
DISTINCT = 8
"""Different images of a workload; the others are copies of them under other names."""


@dataclass(frozen=True)
class Workload:
    """A small raw dataset, and how much of it each side converts in a round."""

    name: str
    size: tuple[int, int]
    masks: int
    bar: float
    images: int
    """What our pipeline converts: as many as one part holds in real use, so that the cost per part is in proportion."""
    plain_images: int
    """What the plain program converts. It has no cost per part; a smaller number saves time."""
    rounds: int

    @property
    def source(self) -> str:
        return "sa1b" if self.size[1] > 1000 else "coco"

    def config(self, images: int, scenes_per_part: int) -> Config:
        return parse_config({"source": self._options(images), "store": {"scenes_per_part": scenes_per_part}})

    def _options(self, images: int) -> dict[str, str]:
        if self.source == "sa1b":
            return {"name": "sa1b"}
        return {"name": "coco", "annotations": f"instances_{images}.json", "images": "images"}


def draw_photo(number: int, size: tuple[int, int]) -> Image.Image:
    """Return a photograph, cropped to the aspect ratio, scaled, perhaps mirrored, with a sensor's noise on top."""
    height, width = size
    rng = np.random.default_rng(number)
    path = Path(skimage.__file__).parent / "data" / PHOTOS[number % len(PHOTOS)]
    picture = Image.open(path).convert("RGB")
    scale = min(picture.width / width, picture.height / height) * rng.uniform(0.7, 1)
    left, top = (
        rng.uniform(0, full - part * scale)
        for full, part in ((picture.width, width), (picture.height, height))
    )
    box = (left, top, left + width * scale, top + height * scale)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS, box)
    if number // len(PHOTOS) % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    noisy = np.asarray(picture) + rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def encode_photo(number: int, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    draw_photo(number, size).save(stream, "JPEG", quality=90 if size[1] > 1000 else 88)
    return stream.getvalue()


def draw_outline(rng: np.random.Generator, size: tuple[int, int]) -> list[float]:
    """Return a wobbly closed outline as x1, y1, x2, y2, ...: from a thousandth of the image to a quarter of it."""
    height, width = size
    radius = np.sqrt(height * width * np.exp(rng.uniform(np.log(1e-3), np.log(0.25))) / np.pi)
    angle = np.linspace(0, 2 * np.pi, max(12, int(radius)), endpoint=False)
    wobble = sum(
        rng.uniform(0, 0.5 / wave) * np.sin(wave * angle + rng.uniform(0, 6.28)) for wave in range(2, 12)
    )
    reach = radius * (1 + wobble + rng.normal(0, 0.01, angle.size))
    x = rng.uniform(0, width) + reach * np.cos(angle)
    y = rng.uniform(0, height) + reach * np.sin(angle)
    points = np.stack([x.clip(0, width), y.clip(0, height)], axis=1)
    return [float(value) for value in points.round(2).ravel()]


def draw_outlines(number: int, count: int, size: tuple[int, int]) -> list[list[float]]:
    """Return outlines that each cover something."""
    rng = np.random.default_rng(number)
    outlines: list[list[float]] = []
    while len(outlines) < count:
        outline = draw_outline(rng, size)
        if coco_mask.area(coco_mask.merge(coco_mask.frPyObjects([outline], *size))):
            outlines.append(outline)
    return outlines


def make_dataset(root: Path, workload: Workload, images: int) -> None:
    """Write SA-1B pairs with compressed run lengths, or COCO images with polygons, as those datasets have them."""
    size, (height, width) = workload.size, workload.size
    root.mkdir(parents=True)
    folder = root / "images" if workload.source == "coco" else root
    folder.mkdir(exist_ok=True)
    photos = [encode_photo(number, size) for number in range(DISTINCT)]
    files: list[Path] = []
    outlines = [draw_outlines(number, workload.masks, size) for number in range(DISTINCT)]
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(images):
        name = f"sa_{number + 1}" if workload.source == "sa1b" else f"{number + 1:012}"
        if number < DISTINCT:
            files.append(folder / f"{name}.jpg")
            files[number].write_bytes(photos[number])
        else:
            (folder / f"{name}.jpg").hardlink_to(files[number % DISTINCT])
        here: list[dict[str, Any]] = []
        for place, outline in enumerate(outlines[number % DISTINCT]):
            about = {
                "id": (number + 1) * 1000 + place,
                "image_id": number + 1,
                "category_id": 1,
                "iscrowd": 0,
            }
            if workload.source == "coco":
                here.append(about | {"segmentation": [outline]})
            else:
                rle = coco_mask.merge(coco_mask.frPyObjects([outline], height, width))
                counts = rle["counts"].decode()
                here.append(about | {"segmentation": {"size": [height, width], "counts": counts}})
        image = {"image_id": number + 1, "width": width, "height": height, "file_name": f"{name}.jpg"}
        if workload.source == "sa1b":
            (root / f"{name}.json").write_text(json.dumps({"image": image, "annotations": here}))
        entries.append({"id": number + 1, **image})
        annotations += here
    if workload.source == "coco":
        # One file for each number of images: reading the annotations is in proportion, too.
        for count in sorted({images, min(workload.plain_images, images), DISTINCT}):
            kept = [annotation for annotation in annotations if annotation["image_id"] <= count]
            content = {
                "images": entries[:count],
                "annotations": kept,
                "categories": [{"id": 1, "name": "thing"}],
            }
            (root / f"instances_{count}.json").write_text(json.dumps(content))
