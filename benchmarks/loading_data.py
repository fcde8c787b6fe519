"""The datasets that `benchmarks/loading.py` reads: photographs, our store of them, and compact arrays for the others."""

import io
import json
import multiprocessing
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import FIRST_NAME, STORED, TENSORS, digest_row, raw_name
from data import draw_outlines, draw_photo, encode_outline
from loading_cases import COMPACT_STORE, STORE
from PIL import Image
from torch_case import expand

from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import RunOptions, convert

SIZES = {"sa1b-sized": (1500, 2250), "coco-sized": (480, 640)}
NUM_SMALL = 64
"""Samples of the dataset that only resizing at train time reads."""
_PHOTOS = 8

_photo = cache(lambda number, height, width: np.asarray(draw_photo(number, (height, width))))


def draw_sample(number: int, size: tuple[int, int], folder: Path) -> None:
    """Write a crop of a photograph, half of them mirrored, and one mask, as SA-1B has them."""
    rng = np.random.default_rng(number)
    height, width = size
    photo = _photo(number % _PHOTOS, height * 6 // 5, width * 6 // 5)
    top, left = (int(rng.integers(0, full - part)) for full, part in zip(photo.shape[:2], size, strict=True))
    crop = photo[top : top + height, left : left + width, :: 1 if rng.integers(2) else -1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(crop)).save(stream, "JPEG", quality=90)
    path = folder / raw_name(number)
    path.write_bytes(stream.getvalue())
    mask = encode_outline(draw_outlines(number, 1, size)[0], size)
    image = {"image_id": FIRST_NAME + number, "width": width, "height": height, "file_name": path.name}
    content = {"image": image, "annotations": [{"id": number * 100, "segmentation": mask}]}
    path.with_suffix(".json").write_text(json.dumps(content))


def make_inputs(folder: Path, count: int) -> None:
    """Write the raw datasets, our stores, the compact arrays and the expected digests."""
    if (folder / "expected.json").exists():
        return
    for name, size in SIZES.items():
        raw = folder / name
        raw.mkdir(parents=True)
        for number in range(_PHOTOS):
            # Inherited by the processes.
            _photo(number, size[0] * 6 // 5, size[1] * 6 // 5)
        numbers = range(1, (count if name == "sa1b-sized" else NUM_SMALL) + 1)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(partial(draw_sample, size=size, folder=raw), numbers)
        write_store(raw, folder / f"{name}.zarr", {})
    (folder / STORE).symlink_to("sa1b-sized.zarr")
    form = {"stored": "compact"}
    write_store(folder / "sa1b-sized", folder / COMPACT_STORE, {"pixel_values": form, "g_pixel_values": form})
    expected = {name: export(folder, name) for name in SIZES}
    (folder / "expected.json").write_text(json.dumps(expected))


def write_store(raw: Path, store: Path, recipe: dict[str, Any]) -> None:
    """Convert a raw dataset."""
    config = parse_config({"source": {"name": "sa1b"}, "store": {"scenes_per_part": 64}, "recipe": recipe})
    report = convert(config, raw, store, RunOptions(workers=2))
    if report.num_rejects:
        raise SystemExit(f"{report.num_rejects} of the generated images were rejected; see {report.store}")


def export(folder: Path, name: str) -> dict[str, str]:
    """Read a store with zarr-python; return the digest of each sample by number, and keep compact arrays of the large one.

    The digests are of what plain numpy makes of the stored rows, not of what our loader does.
    """
    groups = [zarr.open_group(path, mode="r") for path in sorted((folder / f"{name}.zarr").glob("part-*"))]
    parts: list[Any] = [{key: group[path] for key, path in STORED.items()} for group in groups]
    counts = [part["masks"].shape[0] for part in parts]
    files: dict[str, Any] = {}
    if name == "sa1b-sized":
        (folder / "places.json").write_text(json.dumps(counts))
        (folder / "compact").mkdir()
    digests: dict[str, str] = {}
    for part, count in zip(parts, counts, strict=True):
        part["prompt_masks"] = part["prompt_masks"][:]
        for row in range(count):
            sample = {key: np.asarray(part[key][row]).view(np.uint8) for key in TENSORS}
            sample["masks"] = np.packbits(sample["masks"], axis=1)
            if name == "sa1b-sized":
                for key, array in sample.items():
                    if key not in files:
                        path, shape = folder / "compact" / f"{key}.npy", (sum(counts), *array.shape)
                        files[key] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
                    files[key][len(digests)] = array
            tensors = expand(sample)
            digests[str(len(digests) + 1)] = digest_row([tensors[key].numpy() for key in TENSORS])
    return digests
