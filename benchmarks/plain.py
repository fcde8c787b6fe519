"""The plain way, which is the oracle of the benchmarks: raw files to arrays with json, Pillow and pycocotools as they come.

What is converted plainly, what other projects' writers are given, and what resizing at train time does. Nothing of this
project is imported here: the environments of other projects don't have to hold it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

IMAGE_SIZES = {"pixel_values": 448, "g_pixel_values": 1024}
MASK_SIZES = {"prompt_masks": 16, "masks": 1024}
SHAPES = {
    **{name: (3, size, size) for name, size in IMAGE_SIZES.items()},
    **{name: (size, size) for name, size in MASK_SIZES.items()},
}
"""Of the arrays of a sample."""


class RawImage(NamedTuple):
    """An image file and its masks as they stand in the annotations: run lengths or polygons."""

    path: Path
    size: tuple[int, int]
    masks: list[Any]


def read_sa1b(path: Path) -> RawImage:
    """Read the annotations of an SA-1B pair, whose json this is."""
    content = json.loads(path.read_bytes())
    size = content["image"]["height"], content["image"]["width"]
    return RawImage(path.with_suffix(".jpg"), size, [one["segmentation"] for one in content["annotations"]])


def read_coco(path: Path) -> Iterator[RawImage]:
    """Read an instances file; images lie beside it, in `images`."""
    content = json.loads(path.read_bytes())
    by_image = defaultdict(list)
    for one in content["annotations"]:
        by_image[one["image_id"]].append(one["segmentation"])
    for image in content["images"]:
        file = path.parent / "images" / image["file_name"]
        yield RawImage(file, (image["height"], image["width"]), by_image[image["id"]])


def read_raw(root: Path, count: int) -> Iterator[RawImage]:
    """Yield the first `count` images of a dataset that `data.make_dataset` wrote."""
    if (root / "images").exists():
        yield from islice(read_coco(root / "instances.json"), count)
    else:
        yield from (read_sa1b(root / f"sa_{number}.json") for number in range(1, count + 1))


def make_images(image: Image.Image) -> dict[str, NDArray[np.uint8]]:
    """Return both images of a picture, uint8 [3, S, S]."""
    resized = {
        name: np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
        for name, size in IMAGE_SIZES.items()
    }
    return {name: np.ascontiguousarray(array.transpose(2, 0, 1)) for name, array in resized.items()}


def run_lengths(segmentation: Any, size: tuple[int, int]) -> Any:
    """Return run lengths as pycocotools takes them."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return segmentation


def make_masks(mask: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Return both masks of an object, uint8 [S, S], 0 or 1."""
    picture = Image.fromarray(mask)
    return {
        name: np.asarray(picture.resize((size, size), Image.Resampling.NEAREST))
        for name, size in MASK_SIZES.items()
    }


def make_sample(raw: RawImage) -> dict[str, NDArray[np.uint8]]:
    """Return the four arrays of an image with its first mask, uint8."""
    mask = coco_mask.decode(run_lengths(raw.masks[0], raw.size))
    return make_images(Image.open(raw.path).convert("RGB")) | make_masks(mask)
