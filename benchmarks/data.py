"""The raw datasets that the benchmarks convert: photographs of scikit-image under random outlines, as COCO or SA-1B has them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageOps
from plain import run_lengths

from resizeonce.preprocess.config import Config, parse_config

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg")
"""Photographs that scikit-image ships."""
DISTINCT = 8
"""Different images of a workload; the others are copies of them under other names."""


@dataclass(frozen=True)
class Workload:
    """A small raw dataset in the layout of SA-1B, or of COCO where images are small."""

    name: str
    size: tuple[int, int]
    masks: int
    images: int
    """What our pipeline converts, as many as one part holds in real use, so that the cost per part is in proportion."""
    plain: int
    """What the plain program converts, which has no such cost: fewer save time where annotations are not in one file."""
    bar: float
    """Times plain Pillow."""

    @property
    def source(self) -> str:
        return "sa1b" if self.size[1] > 1000 else "coco"

    def config(self, scenes_per_part: int, recipe: dict[str, Any] | None = None) -> Config:
        source = {"name": self.source}
        if self.source == "coco":
            source |= {"annotations": "instances.json", "images": "images"}
        store = {"scenes_per_part": scenes_per_part}
        return parse_config({"source": source, "store": store, "recipe": recipe or {}})


WORKLOADS = (
    Workload("SA-1B, 100 masks", (1500, 2250), 100, 64, DISTINCT, 5.0),
    Workload("SA-1B, 1 mask", (1500, 2250), 1, 128, 32, 2.5),
    Workload("COCO, 8 masks", (480, 640), 8, 256, 256, 2.5),
    Workload("COCO, 1 mask", (480, 640), 1, 256, 256, 2.5),
)


@cache
def enlarge_photo(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a photograph that is a fifth larger than a size, with a sensor's noise on top."""
    height, width = (side * 6 // 5 for side in size)
    picture = Image.open(Path(skimage.__file__).parent / "data" / PHOTOS[number]).convert("RGB")
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    rng = np.random.default_rng(number)
    noisy = np.asarray(picture) + rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return noisy.round().clip(0, 255).astype(np.uint8)


def draw_photo(number: int, size: tuple[int, int]) -> Image.Image:
    """Return a crop of a photograph, perhaps mirrored."""
    rng = np.random.default_rng(number)
    photo = enlarge_photo(number % len(PHOTOS), size)
    top, left = (int(rng.integers(0, full - part)) for full, part in zip(photo.shape[:2], size, strict=True))
    crop = photo[top : top + size[0], left : left + size[1], :: 1 if rng.integers(2) else -1]
    return Image.fromarray(np.ascontiguousarray(crop))


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
    rng = np.random.default_rng(number)
    return [draw_outline(rng, size) for _ in range(count)]


def encode_outline(outline: list[float], size: tuple[int, int]) -> dict[str, Any]:
    """Return an outline as SA-1B has it: compressed run lengths."""
    return {"size": list(size), "counts": run_lengths([outline], size)["counts"].decode()}


def make_dataset(root: Path, workload: Workload, images: int, distinct: int = DISTINCT) -> None:
    """Write SA-1B pairs with compressed run lengths, or COCO images with polygons, as those datasets have them.

    The first are different ones; of the others each is one of those.
    """
    size, is_coco = workload.size, workload.source == "coco"
    folder = root / "images" if is_coco else root
    folder.mkdir(parents=True)
    masks: list[list[Any]] = []
    for number in range(distinct):
        outlines = draw_outlines(number, workload.masks, size)
        masks.append([[one] if is_coco else encode_outline(one, size) for one in outlines])
    paths: list[Path] = []
    entries, annotations = [], []
    for number in range(images):
        image_id = number + 1
        path = folder / (f"{image_id:012}.jpg" if is_coco else f"sa_{image_id}.jpg")
        if number < distinct:
            draw_photo(number, size).save(path, "JPEG", quality=88 if is_coco else 90)
        else:
            path.hardlink_to(paths[number % distinct])
        paths.append(path)
        about = {"image_id": image_id, "category_id": 1, "iscrowd": 0}
        here = [
            {"id": image_id * 1000 + place, **about, "segmentation": mask}
            for place, mask in enumerate(masks[number % distinct])
        ]
        image = {"image_id": image_id, "width": size[1], "height": size[0], "file_name": path.name}
        if not is_coco:
            path.with_suffix(".json").write_text(json.dumps({"image": image, "annotations": here}))
        entries.append({"id": image_id, **image})
        annotations += here
    if is_coco:
        categories = [{"id": 1, "name": "thing"}]
        content = {"images": entries, "annotations": annotations, "categories": categories}
        (root / "instances.json").write_text(json.dumps(content))


def draw_video(
    number: int, size: tuple[int, int], frames: int, objects: int, step: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield frames and their label maps: a photograph, and ellipses with wavy edges that cover one another, which move along."""
    height, width = size
    rng = np.random.default_rng(number)
    rows, columns = np.ogrid[:height, :width]
    waves = 0.2 * np.sin(columns / 60 + rows / 50)
    labels = np.zeros(size, np.uint8)
    for value, radius in enumerate(np.geomspace(height // 2, 20, objects), start=1):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        labels[((rows - y) / radius) ** 2 + ((columns - x) / radius) ** 2 + waves < 1] = value
    # Whatever was covered all over is seen in a corner of its own.
    labels[:8, : 8 * objects] = np.repeat(np.arange(1, objects + 1), 8)
    picture = np.asarray(draw_photo(number, size))
    for time in range(frames):
        yield np.roll(picture, step * time, axis=1), np.roll(labels, step * time, axis=1)
