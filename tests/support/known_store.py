"""A store whose every number can be worked out by hand, and whose texts would take over a page that did not escape them."""

import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from stores import CONFIGS, TINY

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

IMAGES = "images/mscoco/images/train2014"

HOSTILE_CLASS = '<script>alert("class")</script>' + 80 * "W"
HOSTILE_TEXT = '"><img src=https://example.org/x onerror=alert(1)>'
"""Three words."""

SIZES = {1: (100, 200), 2: (100, 100), 3: (50, 50)}
"""(height, width); the file of the third is missing."""

COLOURS = {1: (200, 100, 50), 2: (100, 100, 100)}

RECTANGLES = {
    10: (1, 5, (0, 0, 10, 20), ("left cat", "a b c d")),
    11: (1, 7, (0, 0, 100, 200), (HOSTILE_TEXT,)),
    20: (2, 5, (0, 0, 1, 1), ("dot",)),
    30: (3, 5, (0, 0, 9, 9), ("gone",)),
}
"""By annotation: image, category, (top, left, height, width), sentences."""


def known_store(folder: Path) -> Path:
    """Write a RefCOCO root of these and its store `folder / "known.zarr"`; return that."""
    root = folder / "refcoco"
    (root / IMAGES).mkdir(parents=True)
    (root / "refcoco").mkdir()
    for number, colour in COLOURS.items():
        height, width = SIZES[number]
        # Its name is a JPEG's, its bytes a PNG's: so the levels are exact.
        Image.new("RGB", (width, height), colour).save(root / IMAGES / _file_name(number), "PNG")
    annotations, refs = [], []
    for place, (annotation, (image, category, rectangle, texts)) in enumerate(RECTANGLES.items()):
        annotations.append(
            {
                "id": annotation,
                "image_id": image,
                "category_id": category,
                "iscrowd": 0,
                "segmentation": _run_lengths(SIZES[image], rectangle),
            }
        )
        refs.append(
            {
                "ref_id": place,
                "ann_id": annotation,
                "image_id": image,
                "category_id": category,
                "file_name": _file_name(image),
                "split": "train",
                "sent_ids": [place * 10 + number for number in range(len(texts))],
                "sentences": [
                    {"raw": text, "sent": text, "tokens": text.split(), "sent_id": place * 10 + number}
                    for number, text in enumerate(texts)
                ],
            }
        )
    images = [
        {"id": number, "file_name": _file_name(number), "height": height, "width": width}
        for number, (height, width) in SIZES.items()
    ]
    categories = [{"id": 5, "name": "cat"}, {"id": 7, "name": HOSTILE_CLASS}]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    (root / "refcoco" / "instances.json").write_text(json.dumps(instances))
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, 0))
    convert(load_config(CONFIGS / "refcoco.toml", TINY), root, folder / "known.zarr")
    return folder / "known.zarr"


def _file_name(number: int) -> str:
    return f"COCO_train2014_{number:012d}.jpg"


def _run_lengths(size: tuple[int, int], rectangle: tuple[int, int, int, int]) -> dict[str, object]:
    top, left, height, width = rectangle
    pixels = np.zeros(size, np.uint8, order="F")
    pixels[top : top + height, left : left + width] = 1
    return {"size": list(size), "counts": coco_mask.encode(pixels)["counts"].decode()}
