"""`make demo`: small raw datasets in their official layouts, converted, and one batch of each read by the loader.

The pictures are photographs that scikit-image ships. They get shapes for masks: what is shown is the way from a raw
dataset to a batch, not what the masks outline.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from miniature.npz import write_npz_pairs
from miniature.openimages import write_openimages
from miniature.refcoco import write_refcoco
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from resizeonce.loader import SampleDataset, collate
from resizeonce.preprocess import convert, load_config

DATASETS = (
    ("SA-V pairs as npz", "npz", "npz", ()),
    ("SA-V, official layout", "sav", "sav", ()),
    ("SA-1B, folders", "sa1b", "sa1b", ()),
    ("SA-1B, published tars", "sa1b-tar", "sa1b", ()),
    ("OpenImages V7", "openimages", "openimages", ()),
    ("RefCOCO", "refcoco", "refcoco", ("recipe.prompt_masks.filter=cover",)),
)
"""What is shown, its folder, its config, and settings on top."""


def photograph(name: str) -> NDArray[np.uint8]:
    """Return one of scikit-image's photographs, uint8 [H, W, 3]."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        return np.asarray(picture.convert("RGB"))


def pan(picture: NDArray[np.uint8], num_frames: int) -> list[NDArray[np.uint8]]:
    """Return the frames of a camera that moves over a photograph."""
    height, width = (side * 3 // 4 // 2 * 2 for side in picture.shape[:2])
    steps = np.linspace(0, 1, num_frames)
    tops = (steps * (picture.shape[0] - height)).astype(int)
    lefts = (steps * (picture.shape[1] - width)).astype(int)
    return [picture[top : top + height, left : left + width] for top, left in zip(tops, lefts, strict=True)]


def write_raw(raw: Path) -> None:
    """Write the raw datasets."""
    stills = [photograph(name) for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")]
    stereo = (photograph("motorcycle_left.png"), photograph("motorcycle_right.png"))
    clips = [(f"sav_{number:06d}", pan(picture, 9)) for number, picture in enumerate(stills, start=1)]
    # Both pictures of a stereo pair, and two moments of a moving camera.
    write_npz_pairs(raw / "npz", [stereo, *((frames[0], frames[4]) for _, frames in clips)])
    write_sav_train(raw / "sav", clips)
    write_sa1b(raw / "sa1b", stills)
    write_sa1b(raw / "sa1b-tar", stills, tar=True)
    write_openimages(raw / "openimages", stills)
    write_refcoco(raw / "refcoco", stills)


def describe(key: str, value: Any) -> Sequence[str]:
    """Return a table row: key, shape, dtype, range."""
    if isinstance(value, torch.Tensor):
        low, high = value.min().item(), value.max().item()
        digits = ".3f" if key.startswith("pixel_values") else ".0f"
        return key, str(tuple(value.shape)), str(value.dtype), f"{low:{digits}} .. {high:{digits}}"
    if isinstance(value, list):
        return (
            key,
            f"list of {len(value)}",
            "str" if isinstance(value[0], str) else "list[str]",
            repr(value[0]),
        )
    return key, "", type(value).__name__, repr(value)


def main() -> None:
    """Write, convert, read, print."""
    demo = Path(sys.argv[1])
    # Only what an earlier demo made is removed.
    for folder in ("raw", "stores"):
        shutil.rmtree(demo / folder, ignore_errors=True)
    started = time.monotonic()
    write_raw(demo / "raw")
    print(f"raw datasets written to {demo / 'raw'} in {time.monotonic() - started:.1f} s")
    for title, folder, config, overrides in DATASETS:
        store = demo / "stores" / f"{folder}.zarr"
        report = convert(load_config(config, overrides), demo / "raw" / folder, store)
        totals = report.attributes["totals"]
        print(f"\n{title}: {store}")
        print(
            f"  {totals['images']} images, {totals['masks']} masks, {totals['samples']} samples, "
            f"{report.num_rejects} rejects, {totals['bytes'] / 1e6:.1f} MB in {report.seconds:.1f} s"
        )
        batches = DataLoader(SampleDataset(store), batch_size=4, shuffle=True, collate_fn=collate)
        batch = next(iter(batches))
        for key, value in batch.items():
            print("  {:<17} {:<20} {:<14} {}".format(*describe(key, value)))
    print(
        f"\nThe stores are in {demo / 'stores'}; look at one with: resizeonce info {demo / 'stores' / 'sav.zarr'}"
    )


if __name__ == "__main__":
    main()
