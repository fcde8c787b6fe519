"""An SA-1B tree: `sa_000000/sa_1.jpg` and `sa_1.json`, or the same in `sa_000000.tar`."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from miniature.shapes import ellipse_of, polygon_of


def write_sa1b(root: Path, pictures: Sequence[NDArray[np.uint8]], tar: bool = False) -> None:
    """Write each picture with five masks: a large one, one nested in it, two that may overlap both, and a small one."""
    files = {}
    for number, picture in enumerate(pictures, start=1):
        encoded = io.BytesIO()
        Image.fromarray(picture).save(encoded, "JPEG", quality=95)
        files[f"sa_{number}.jpg"] = encoded.getvalue()
        files[f"sa_{number}.json"] = json.dumps(_describe(picture, number)).encode()
    root.mkdir(parents=True, exist_ok=True)
    if tar:
        with tarfile.open(root / "sa_000000.tar", "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return
    folder = root / "sa_000000"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def masks_of(height: int, width: int, number: int) -> list[NDArray[np.bool_]]:
    """Return the masks of picture `number`, bool [height, width] each."""
    polygon = coco_mask.frPyObjects([polygon_of(height, width, number)], height, width)
    large = coco_mask.decode(coco_mask.merge(polygon)).astype(bool)
    nested = large.copy()
    nested[: height // 2] = False
    small = np.zeros_like(large)
    small[height // 3 : height // 3 + 3, width // 4 : width // 4 + 5] = True
    first, second = (ellipse_of(height, width, number * 10 + place) for place in range(2))
    return [large, nested, first, second, small]


def _describe(picture: NDArray[np.uint8], number: int) -> dict[str, Any]:
    height, width = picture.shape[:2]
    annotations = []
    for place, mask in enumerate(masks_of(height, width, number)):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        rows, columns = np.nonzero(mask)
        left, right = int(columns.min()), int(columns.max())
        top, bottom = int(rows.min()), int(rows.max())
        annotations.append(
            {
                # One less than the extent in width and height, as in the original.
                "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                "area": int(mask.sum()),
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                "predicted_iou": 0.9 + place / 64,
                "point_coords": [[float(columns[0]) + 0.5, float(rows[0]) + 0.5]],
                # Where the mask was found: often a part of the image, and ints and floats are mixed.
                "crop_box": [0.0, 0.0, width, height] if place % 2 else [0, 0, width // 2, height],
                "id": 523353700 + number * 10 + place,
                "stability_score": 0.95 + place / 128,
            }
        )
    image = {
        "image_id": number,
        "width": width,
        "height": height,
        "file_name": f"sa_{number}.jpg",
    }
    return {"image": image, "annotations": annotations}
