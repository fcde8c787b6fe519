"""The plain program that a conversion is compared with: what one would write first, with Pillow and pycocotools."""

import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Zstd
from PIL import Image
from plain import IMAGE_SIZES, SHAPES, make_images, make_masks, read_raw, run_lengths
from pycocotools import mask as coco_mask

from resizeonce.loader.format.layout import TEXT_COLUMNS, ZSTD_LEVEL, array_specs, part_name
from resizeonce.loader.format.recipe import DEFAULT_RECIPE


def convert_plainly(root: Path, count: int, out: Path) -> None:
    """Write the arrays of a part as plain files.

    Rows go to one file for each array as they come; compressed mask rows are told apart by `mask_bytes`. Every file is
    synced to the disk at the end, as in a part.
    """
    out.mkdir()
    codec = Zstd(level=ZSTD_LEVEL)
    columns: dict[str, list[Any]] = defaultdict(list)
    files = {name: (out / name).open("wb") for name in ("pixel_values", "g_pixel_values", "masks")}
    for number, raw in enumerate(read_raw(root, count)):
        picture = Image.open(raw.path).convert("RGB")
        for name, image in make_images(picture).items():
            files[name].write(image.data)
        columns["scenes/key"].append(raw.key)
        columns["images/size"].append((picture.height, picture.width))
        columns["images/scene"].append(number)
        columns["images/time"].append(0)
        columns["images/key"].append(raw.key)
        columns["images/path"].append(str(raw.path.relative_to(root)))
        for mask in raw.masks:
            rle = run_lengths(mask.segmentation, raw.size)
            prompt, full = (array > 0 for array in make_masks(coco_mask.decode(rle)).values())
            encoded = codec.encode(full)
            files["masks"].write(encoded)
            columns["mask_bytes"].append(len(encoded))
            columns["masks/prompt_masks"].append(prompt)
            columns["masks/image"].append(number)
            columns["masks/area"].append(int(coco_mask.area(rle)))
            columns["masks/prompt_cells"].append(int(prompt.sum()))
            columns["masks/object_id"].append(mask.object_id)
            columns["masks/category"].append(mask.category)
            columns["samples/mask"].append((len(columns["samples/mask"]),))
    for name, values in columns.items():
        files[name] = (out / f"{name.replace('/', '-')}.npy").open("wb")
        np.save(files[name], np.array(values))
    for file in files.values():
        with file:
            file.flush()
            os.fsync(file.fileno())


def assert_same(store: Path, plain: Path) -> int:
    """Compare every array of a store of one part with the plain program's; return how many arrays that were."""
    part = zarr.open_group(store / part_name(0), mode="r")
    rows = (plain / "masks").read_bytes()
    ends = np.cumsum(np.load(plain / "mask_bytes.npy"))
    expected: dict[str, Any] = {
        f"images/{name}": np.fromfile(plain / name, np.uint8).reshape(-1, *SHAPES[name])
        for name in IMAGE_SIZES
    }
    expected["masks/masks"] = [
        np.frombuffer(Zstd().decode(rows[start:end]), np.bool_).reshape(SHAPES["masks"])
        for start, end in pairwise([0, *ends])
    ]
    texts = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
    for path in plain.glob("*-*.npy"):
        name, values = path.stem.replace("-", "/"), np.load(path)
        if name in texts:
            encoded = [text.encode() for text in values]
            expected[f"{name}_bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
            expected[f"{name}_offsets"] = np.cumsum([0, *map(len, encoded)])
        else:
            expected[name] = values
    specs = array_specs(DEFAULT_RECIPE, 1)
    for spec in specs:
        array: Any = part[spec.path]
        if spec.table == "expressions":
            # Neither dataset has expressions: no rows, and one offset.
            assert array.size == spec.name.endswith("_offsets"), spec.path
            continue
        wanted = expected.pop(spec.path)
        assert array.shape[0] == len(wanted), spec.path
        # Row by row where a row is a chunk: the memory of all masks at once is too much.
        for here in range(len(wanted)) if spec.row_chunks else [slice(None)]:
            assert np.array_equal(array[here], wanted[here]), spec.path
    assert not expected, sorted(expected)
    return len(specs)
