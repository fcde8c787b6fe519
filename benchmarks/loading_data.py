"""The datasets that `loading.py` reads: photographs, our stores of them, compact arrays for the others, and pairs."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import FIRST_NAME, STORED, TENSORS, digest_row, expand
from cases import COMPACT_STORE, PAIRS_STORE, STORE
from data import WORKLOADS, draw_photo, make_dataset, make_pairs
from PIL import Image

from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import RunOptions, convert

NUM_PAIRS = 512
_PHOTOS = 8
_WORKLOAD = WORKLOADS[1]

_photo = cache(lambda number: np.asarray(draw_photo(number, tuple(side * 6 // 5 for side in _WORKLOAD.size))))


def draw_crop(number: int, size: tuple[int, int]) -> Image.Image:
    """Return a crop of a photograph, half of them mirrored."""
    rng = np.random.default_rng(number)
    photo = _photo(number % _PHOTOS)
    top, left = (int(rng.integers(0, full - part)) for full, part in zip(photo.shape[:2], size, strict=True))
    crop = photo[top : top + size[0], left : left + size[1], :: 1 if rng.integers(2) else -1]
    return Image.fromarray(np.ascontiguousarray(crop))


def make_singles(folder: Path, count: int) -> dict[str, str]:
    """Write the raw dataset, our stores and the compact arrays; return the digest of each sample by number."""
    make_dataset(folder / "raw", _WORKLOAD, count, draw_crop, distinct=count, first=FIRST_NAME + 1)
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
