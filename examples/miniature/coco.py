"""A COCO instances tree: `annotations/instances_train2017.json` and `train2017/*.jpg`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from miniature.shapes import polygon_of


def write_coco(root: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write each picture with a polygon, a compressed RLE and a crowd as an uncompressed RLE list."""
    folder = root / "train2017"
    folder.mkdir(parents=True)
    (root / "annotations").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, start=1):
        height, width = picture.shape[:2]
        name = f"{number:012d}.jpg"
        Image.fromarray(picture).save(folder / name, quality=95)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        polygon = polygon_of(height, width, number)
        compressed = coco_mask.merge(
            coco_mask.frPyObjects([polygon_of(height, width, number + 100)], height, width)
        )
        crowd = [height * (width // 2), height, height * (width - width // 2 - 1)]
        for place, (segmentation, iscrowd) in enumerate(
            (
                ([polygon], 0),
                ({"size": [height, width], "counts": compressed["counts"].decode()}, 0),
                ({"size": [height, width], "counts": crowd}, 1),
            )
        ):
            # Crowd ids are larger than 32 bits in the original, too.
            annotation_id = 900100000000 + number if iscrowd else number * 10 + place
            annotations.append(
                {
                    "id": annotation_id,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": iscrowd,
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 1, "name": "person", "supercategory": "person"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
