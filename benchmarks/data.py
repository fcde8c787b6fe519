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

from resizeonce.preprocess.config import Config, parse_config

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
    bar: float = 0
    images: int = DISTINCT
    """What our pipeline converts: as many as one part holds in real use, so that the cost per part is in proportion."""
    plain_images: int = DISTINCT
    """What the plain program converts. It has no cost per part; a smaller number saves time."""
    rounds: int = 1

    @property
    def source(self) -> str:
        return "sa1b" if self.size[1] > 1000 else "coco"

    def config(self, images: int, scenes_per_part: int) -> Config:
        source = {"name": self.source}
        if self.source == "coco":
            source |= {"annotations": f"instances_{images}.json", "images": "images"}
        return parse_config({"source": source, "store": {"scenes_per_part": scenes_per_part}})


def draw_photo(number: int, size: tuple[int, int]) -> Image.Image:
    """Return a photograph, cropped to the aspect ratio, scaled, perhaps mirrored, with a sensor's noise on top."""
    height, width = size
    rng = np.random.default_rng(number)
    path = Path(skimage.__file__).parent / "data" / PHOTOS[number % len(PHOTOS)]
    picture = Image.open(path).convert("RGB")
    scale = min(picture.width / width, picture.height / height) * rng.uniform(0.7, 1)
    left = rng.uniform(0, picture.width - width * scale)
    top = rng.uniform(0, picture.height - height * scale)
    box = (left, top, left + width * scale, top + height * scale)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS, box)
    if number // len(PHOTOS) % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    noisy = np.asarray(picture) + rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


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


def encode_outline(outline: list[float], size: tuple[int, int]) -> dict[str, Any]:
    """Return an outline as SA-1B has it: compressed run lengths."""
    counts = coco_mask.merge(coco_mask.frPyObjects([outline], *size))["counts"]
    return {"size": list(size), "counts": counts.decode()}


def make_dataset(root: Path, workload: Workload, images: int) -> None:
    """Write SA-1B pairs with compressed run lengths, or COCO images with polygons, as those datasets have them."""
    size, is_coco = workload.size, workload.source == "coco"
    folder = root / "images" if is_coco else root
    folder.mkdir(parents=True)
    masks: list[list[Any]] = []
    for number in range(DISTINCT):
        outlines = draw_outlines(number, workload.masks, size)
        masks.append([[one] if is_coco else encode_outline(one, size) for one in outlines])
    entries: list[dict[str, Any]] = []
    annotations: list[list[dict[str, Any]]] = []
    for number in range(images):
        name = f"{number + 1:012}" if is_coco else f"sa_{number + 1}"
        path = folder / f"{name}.jpg"
        if number < DISTINCT:
            stream = io.BytesIO()
            draw_photo(number, size).save(stream, "JPEG", quality=88 if is_coco else 90)
            path.write_bytes(stream.getvalue())
        else:
            path.hardlink_to(folder / f"{entries[number % DISTINCT]['file_name']}")
        about = {"image_id": number + 1, "category_id": 1, "iscrowd": 0}
        here = [
            {"id": (number + 1) * 1000 + place, **about, "segmentation": mask}
            for place, mask in enumerate(masks[number % DISTINCT])
        ]
        image = {"image_id": number + 1, "width": size[1], "height": size[0], "file_name": path.name}
        if not is_coco:
            path.with_suffix(".json").write_text(json.dumps({"image": image, "annotations": here}))
        entries.append({"id": number + 1, **image})
        annotations.append(here)
    if is_coco:
        # One file for each number of images: reading the annotations is in proportion, too.
        for count in {images, min(workload.plain_images, images), DISTINCT}:
            kept = [annotation for here in annotations[:count] for annotation in here]
            content = {"images": entries[:count], "annotations": kept}
            content["categories"] = [{"id": 1, "name": "thing"}]
            (root / f"instances_{count}.json").write_text(json.dumps(content))
