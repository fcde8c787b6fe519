"""The datasets that `loading.py` and `turns.py` read: photographs, our stores of them, compact arrays for the others, and pairs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from case import COMPACT_SHAPES, SCENES_PER_PART, digest_row, expand
from cases import COMPACT_STORE, PAIRS_STORE, STORE
from data import DISTINCT, WORKLOADS, draw_outlines, draw_photo, encode_outline, make_dataset
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image
from plain import make_images, make_masks, make_sample, read_raw
from pycocotools import mask as coco_mask

from resizeonce.preprocess.config import Config, parse_config
from resizeonce.preprocess.run.convert import RunOptions, convert

NUM_PAIRS = 512


def make_singles(folder: Path, count: int) -> list[str]:
    """Write the raw dataset, our stores and the compact arrays; return the digest of each sample."""
    raw, compact, form = folder / "raw", folder / "compact", {"stored": "compact"}
    make_dataset(raw, WORKLOADS[1], count, distinct=count)
    for store, recipe in ((STORE, {}), (COMPACT_STORE, {"pixel_values": form, "g_pixel_values": form})):
        write_store(raw, folder / store, WORKLOADS[1].config(SCENES_PER_PART, recipe))
    compact.mkdir()
    files = {
        name: open_memmap(compact / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, *shape))
        for name, shape in COMPACT_SHAPES.items()
    }
    digests = []
    for row, image in enumerate(read_raw(raw, count)):
        sample = compacted(make_sample(image))
        for name, file in files.items():
            file[row] = sample[name]
        digests.append(digest_of([sample]))
    return digests


def make_paired(folder: Path) -> list[str]:
    """Write pairs, a photograph and the same a little moved, and our store of them; return the digest of each pair."""
    raw, size = folder / "raw-pairs", (480, 640)
    raw.mkdir()
    digests = []
    for number in range(DISTINCT):
        image = np.asarray(draw_photo(number, size))
        mask = coco_mask.decode(encode_outline(draw_outlines(number, 1, size)[0], size))
        frames = [(np.roll(image, moved, axis=1), np.roll(mask, moved, axis=1)) for moved in (0, 8)]
        (image1, mask1), (image2, mask2) = frames
        np.savez(raw / f"{number}.npz", image1=image1, mask1=mask1, image2=image2, mask2=mask2)
        for copy in range(number + DISTINCT, NUM_PAIRS, DISTINCT):
            (raw / f"{copy}.npz").hardlink_to(raw / f"{number}.npz")
        made = (make_images(Image.fromarray(shown)) | make_masks(object_) for shown, object_ in frames)
        digests.append(digest_of(map(compacted, made)))
    config = parse_config({"source": {"name": "npz"}, "store": {"scenes_per_part": SCENES_PER_PART}})
    write_store(raw, folder / PAIRS_STORE, config)
    return digests * (NUM_PAIRS // DISTINCT)


def write_store(raw: Path, store: Path, config: Config) -> None:
    report = convert(config, raw, store, RunOptions(workers=2))
    if report.num_rejects:
        raise SystemExit(f"{report.num_rejects} of the generated images were rejected; see {report.store}")


def compacted(sample: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    return {**sample, "masks": np.packbits(sample["masks"], axis=1)}


def digest_of(frames: Iterable[Mapping[str, NDArray[np.uint8]]]) -> str:
    """Return the digest of what plain numpy makes of a sample's frames in compact form: our code has no part in it."""
    return digest_row(tensor.numpy() for frame in frames for tensor in expand(frame).values())
