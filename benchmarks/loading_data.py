"""The datasets that `loading.py` reads: photographs, our stores of them, compact arrays for the others, and pairs."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from case import FIRST_NAME, SCENES_PER_PART, TENSORS, digest_row, expand
from cases import COMPACT_STORE, PAIRS_STORE, STORE
from data import DISTINCT, WORKLOADS, draw_photo, make_dataset, make_pairs
from numpy.typing import NDArray
from PIL import Image
from plain import make_images, make_masks, make_sample, read_sa1b

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
    raw = folder / "raw"
    make_dataset(raw, _WORKLOAD, count, draw_crop, distinct=count, first=FIRST_NAME + 1)
    form = {"stored": "compact"}
    for store, recipe in ((STORE, {}), (COMPACT_STORE, {"pixel_values": form, "g_pixel_values": form})):
        write_store(raw, folder / store, {"source": {"name": "sa1b"}, "recipe": recipe})
    (folder / "compact").mkdir()
    files: dict[str, Any] = {}
    digests = {}
    for row in range(count):
        sample = compacted(make_sample(read_sa1b(raw / f"sa_{FIRST_NAME + 1 + row}.json")))
        for name, array in sample.items():
            if not row:
                files[name] = np.lib.format.open_memmap(
                    folder / f"compact/{name}.npy", mode="w+", dtype=np.uint8, shape=(count, *array.shape)
                )
            files[name][row] = array
        digests[str(row + 1)] = digest_of([sample])
    return digests


def make_paired(folder: Path) -> dict[str, str]:
    """Write pairs of frames and our store of them; return the digest of each pair by number."""
    raw = folder / "raw-pairs"
    make_pairs(raw, NUM_PAIRS, FIRST_NAME + 1)
    write_store(raw, folder / PAIRS_STORE, {"source": {"name": "npz"}})
    digests = []
    for number in range(DISTINCT):
        arrays = np.load(raw / f"{FIRST_NAME + 1 + number}.npz")
        frames = [
            make_images(Image.fromarray(arrays[f"image{frame}"])) | make_masks(arrays[f"mask{frame}"])
            for frame in (1, 2)
        ]
        digests.append(digest_of(map(compacted, frames)))
    return {str(number + 1): digests[number % DISTINCT] for number in range(NUM_PAIRS)}


def write_store(raw: Path, store: Path, config: dict[str, Any]) -> None:
    """Convert a raw dataset."""
    options = {"scenes_per_part": SCENES_PER_PART}
    report = convert(parse_config(config | {"store": options}), raw, store, RunOptions(workers=2))
    if report.num_rejects:
        raise SystemExit(f"{report.num_rejects} of the generated images were rejected; see {report.store}")


def compacted(sample: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """Return what the plain way makes of a sample in compact form."""
    return {name: sample[name] for name in TENSORS} | {"masks": np.packbits(sample["masks"], axis=1)}


def digest_of(frames: Iterable[Mapping[str, NDArray[np.uint8]]]) -> str:
    """Return the digest of what plain numpy makes of a sample's frames in compact form: our code has no part in it."""
    return digest_row(tensor.numpy() for frame in frames for tensor in expand(frame).values())
