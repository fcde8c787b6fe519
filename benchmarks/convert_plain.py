"""The plain program that a conversion is compared with: what one would write first, with Pillow and pycocotools."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import STORED
from numcodecs import Zstd
from PIL import Image
from plain import SHAPES, make_images, make_masks, read_raw, run_lengths
from pycocotools import mask as coco_mask

from resizeonce.loader.format.layout import ZSTD_LEVEL, part_name


def convert_plainly(root: Path, count: int, out: Path) -> None:
    """Write the four tensors of a part as plain files, a row after the other, each large mask compressed; sync at the end."""
    out.mkdir()
    codec = Zstd(level=ZSTD_LEVEL)
    files = {name: (out / name).open("wb") for name in SHAPES}
    lengths = []
    for raw in read_raw(root, count):
        for name, image in make_images(Image.open(raw.path).convert("RGB")).items():
            files[name].write(image.data)
        for segmentation in raw.masks:
            masks = make_masks(coco_mask.decode(run_lengths(segmentation, raw.size)))
            encoded = codec.encode(masks["masks"] > 0)
            files["prompt_masks"].write(masks["prompt_masks"].data)
            files["masks"].write(encoded)
            lengths.append(len(encoded))
    files["lengths"] = (out / "lengths.npy").open("wb")
    np.save(files["lengths"], np.array(lengths))
    for file in files.values():
        with file:
            file.flush()
            os.fsync(file.fileno())


def assert_same(store: Path, plain: Path) -> int:
    """Compare all rows of a store of one part with the plain program's; return how many rows that were."""
    part: Any = zarr.open_group(store / part_name(0), mode="r")
    compared = 0
    for name, shape in SHAPES.items():
        written, stored = (plain / name).read_bytes(), part[STORED[name]]
        if name == "masks":
            ends, decode = [0, *np.cumsum(np.load(plain / "lengths.npy"))], Zstd().decode
        else:
            ends, decode = range(0, len(written) + 1, int(np.prod(shape))), bytes
        assert stored.shape == (len(ends) - 1, *shape), name
        # Row by row: the memory of all masks at once is too much.
        for row, (start, end) in enumerate(pairwise(ends)):
            assert stored[row].tobytes() == decode(written[start:end]), (name, row)
        compared += len(ends) - 1
    return compared
