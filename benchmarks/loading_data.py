"""The datasets that `loading.py` reads: photographs, our stores of them, compact arrays for the others, and pairs."""

import json
import multiprocessing
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import FIRST_NAME, STORED, TENSORS, digest_row, expand, raw_name
from cases import COMPACT_STORE, PAIRS_STORE, STORE
from data import draw_outlines, draw_photo, encode_outline, make_pairs
from PIL import Image

from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import RunOptions, convert

SIZE = (1500, 2250)
NUM_PAIRS = 512
_PHOTOS = 8

_photo = cache(lambda number: np.asarray(draw_photo(number, (SIZE[0] * 6 // 5, SIZE[1] * 6 // 5))))


def draw_sample(number: int, folder: Path) -> None:
    """Write a crop of a photograph, half of them mirrored, and one mask, as SA-1B has them."""
    rng = np.random.default_rng(number)
    height, width = SIZE
    photo = _photo(number % _PHOTOS)
    top, left = (int(rng.integers(0, full - part)) for full, part in zip(photo.shape[:2], SIZE, strict=True))
    crop = photo[top : top + height, left : left + width, :: 1 if rng.integers(2) else -1]
    path = folder / raw_name(number)
    Image.fromarray(np.ascontiguousarray(crop)).save(path, "JPEG", quality=90)
    mask = encode_outline(draw_outlines(number, 1, SIZE)[0], SIZE)
    image = {"image_id": FIRST_NAME + number, "width": width, "height": height, "file_name": path.name}
    content = {"image": image, "annotations": [{"id": number * 100, "segmentation": mask}]}
    path.with_suffix(".json").write_text(json.dumps(content))


def make_singles(folder: Path, count: int) -> dict[str, str]:
    """Write the raw dataset, our stores and the compact arrays; return the digest of each sample by number."""
    (folder / "raw").mkdir(parents=True)
    for number in range(_PHOTOS):
        # Inherited by the processes.
        _photo(number)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(partial(draw_sample, folder=folder / "raw"), range(1, count + 1))
    form = {"stored": "compact"}
    for store, recipe in ((STORE, {}), (COMPACT_STORE, {"pixel_values": form, "g_pixel_values": form})):
        write_store(folder / "raw", folder / store, {"source": {"name": "sa1b"}, "recipe": recipe})
    (folder / "compact").mkdir()
    return read_samples(folder, STORE, folder / "compact")


def make_paired(folder: Path) -> dict[str, str]:
    """Write pairs of frames and our store of them; return the digest of each pair by number."""
    make_pairs(folder / "raw-pairs", NUM_PAIRS, FIRST_NAME + 1)
    write_store(folder / "raw-pairs", folder / PAIRS_STORE, {"source": {"name": "npz"}})
    return read_samples(folder, PAIRS_STORE)


def write_store(raw: Path, store: Path, config: dict[str, Any]) -> None:
    """Convert a raw dataset."""
    report = convert(
        parse_config(config | {"store": {"scenes_per_part": 64}}), raw, store, RunOptions(workers=2)
    )
    if report.num_rejects:
        raise SystemExit(f"{report.num_rejects} of the generated images were rejected; see {report.store}")


def read_samples(folder: Path, store: str, compact: Path | None = None) -> dict[str, str]:
    """Read a store with zarr-python; return the digest of each sample, and keep compact arrays where that is asked for.

    The digests are of what plain numpy makes of the stored rows, not of what our loader does.
    """
    groups = [zarr.open_group(path, mode="r") for path in sorted((folder / store).glob("part-*"))]
    counts = [group["samples/mask"].shape[0] for group in groups]
    files: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for group in groups:
        rows: Mapping[str, Any] = {name: group[path] for name, path in STORED.items()}
        image_of = group["masks/image"][:]
        for masks in group["samples/mask"][:].tolist():
            arrays = []
            for mask in masks:
                places = [mask if "masks" in name else image_of[mask] for name in TENSORS]
                sample = {
                    n: np.asarray(rows[n][p]).view(np.uint8) for n, p in zip(TENSORS, places, strict=True)
                }
                sample["masks"] = np.packbits(sample["masks"], axis=1)
                for name, array in sample.items() if compact else ():
                    if name not in files:
                        shape = (sum(counts), *array.shape)
                        files[name] = np.lib.format.open_memmap(
                            compact / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape
                        )
                    files[name][len(digests)] = array
                arrays += [tensor.numpy() for tensor in expand(sample).values()]
            digests[str(len(digests) + 1)] = digest_row(arrays)
    if compact:
        (folder / "places.json").write_text(json.dumps(counts))
    return digests
