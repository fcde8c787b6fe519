"""The plain program that a conversion is compared with: what one would write first, with Pillow and pycocotools."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from convert_data import Workload
from numcodecs import Zstd
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from preprocess.layout import TEXT_COLUMNS, ZSTD_LEVEL, TensorSizes, array_specs, part_name

SIZES = TensorSizes()


@dataclass(frozen=True)
class RawImage:
    key: str
    path: Path
    masks: list[tuple[str, str, dict[str, Any]]]
    """Object id, category and run lengths as pycocotools takes them."""


def read_raw(root: Path, workload: Workload, count: int) -> Iterator[RawImage]:
    """Yield the first `count` images with their annotations, as plainly as can be."""
    if workload.source == "sa1b":
        for number in range(1, count + 1):
            content = json.loads((root / f"sa_{number}.json").read_bytes())
            masks = [(str(one["id"]), "", one["segmentation"]) for one in content["annotations"]]
            yield RawImage(f"sa1b/sa_{number}", root / f"sa_{number}.jpg", masks)
        return
    content = json.loads((root / f"instances_{count}.json").read_bytes())
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in content["images"]:
        size = image["height"], image["width"]
        masks = [
            (
                str(one["id"]),
                names[one["category_id"]],
                coco_mask.merge(coco_mask.frPyObjects(one["segmentation"], *size)),
            )
            for one in by_image[image["id"]]
        ]
        yield RawImage(f"coco/{image['id']}", root / "images" / image["file_name"], masks)


def resize_plainly(image: Image.Image, size: int) -> NDArray[np.uint8]:
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def sample_plainly(mask: Image.Image, size: int) -> NDArray[np.bool_]:
    return np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)) > 0


def convert_plainly(root: Path, workload: Workload, count: int, out: Path) -> None:
    """Write the arrays of a part as plain files: what one would write first, with Pillow and pycocotools.

    Rows go to one file for each array as they come; compressed mask rows are told apart by `mask_bytes`. Every file is
    synced to the disk at the end, as in a part.
    """
    out.mkdir()
    codec = Zstd(level=ZSTD_LEVEL)
    columns: dict[str, list[Any]] = {}

    def put(name: str, value: object) -> None:
        columns.setdefault(name, []).append(value)

    with (
        (out / "pixel_values").open("wb") as pixel_values,
        (out / "g_pixel_values").open("wb") as g_pixel_values,
        (out / "masks").open("wb") as mask_rows,
    ):
        for number, raw in enumerate(read_raw(root, workload, count)):
            image = Image.open(raw.path).convert("RGB")
            put("scenes/key", raw.key)
            pixel_values.write(resize_plainly(image, SIZES.pixel_values).data)
            g_pixel_values.write(resize_plainly(image, SIZES.g_pixel_values).data)
            put("images/size", (image.height, image.width))
            put("images/scene", number)
            put("images/time", 0)
            put("images/key", raw.key)
            put("images/path", str(raw.path.relative_to(root)))
            for object_id, category, rle in raw.masks:
                mask = Image.fromarray(coco_mask.decode(rle))
                prompt = sample_plainly(mask, SIZES.prompt_masks)
                encoded = codec.encode(sample_plainly(mask, SIZES.masks))
                mask_rows.write(encoded)
                put("mask_bytes", len(encoded))
                put("masks/prompt_masks", prompt)
                put("masks/image", number)
                put("masks/area", int(coco_mask.area(rle)))
                put("masks/prompt_cells", int(prompt.sum()))
                put("masks/object_id", object_id)
                put("masks/category", category)
                put("samples/mask", (len(columns["samples/mask"]) if "samples/mask" in columns else 0,))
        for file in (pixel_values, g_pixel_values, mask_rows):
            file.flush()
            os.fsync(file.fileno())
    for name, values in columns.items():
        with (out / f"{name.replace('/', '-')}.npy").open("wb") as file:
            np.save(file, np.array(values))
            file.flush()
            os.fsync(file.fileno())


def assert_same(store: Path, plain: Path, count: int) -> int:
    """Compare every array of a store of one part with the plain program's; return how many arrays that were."""
    part = zarr.open_group(store / part_name(0), mode="r")
    texts = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
    expected: dict[str, Any] = {
        "images/pixel_values": np.fromfile(plain / "pixel_values", np.uint8).reshape(count, 3, 448, 448),
        "images/g_pixel_values": np.fromfile(plain / "g_pixel_values", np.uint8).reshape(
            count, 3, 1024, 1024
        ),
    }
    rows = (plain / "masks").read_bytes()
    ends = np.cumsum(np.load(plain / "mask_bytes.npy"))
    decoded = [
        np.frombuffer(Zstd().decode(rows[start:end]), np.bool_).reshape(1024, 1024)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    expected["masks/masks"] = decoded
    for path in plain.glob("*-*.npy"):
        name = path.stem.replace("-", "/")
        values = np.load(path)
        if name in texts:
            encoded = [text.encode() for text in values]
            expected[f"{name}_bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
            expected[f"{name}_offsets"] = np.cumsum([0, *map(len, encoded)])
        else:
            expected[name] = values
    for spec in array_specs(SIZES, 1):
        array = part[spec.path]
        assert isinstance(array, zarr.Array)
        if spec.table == "expressions":
            # Neither dataset has expressions: no rows, and one offset.
            assert array.size == spec.name.endswith("_offsets"), spec.path
            continue
        wanted = expected.pop(spec.path)
        assert array.shape[0] == len(wanted), spec.path
        if spec.row_chunks:
            assert all(np.array_equal(array[row], wanted[row]) for row in range(len(wanted))), spec.path
        else:
            assert np.array_equal(np.asarray(array[:]), wanted), spec.path
    assert not expected, sorted(expected)
    return len(array_specs(SIZES, 1))
