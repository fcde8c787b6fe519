"""Makes the golden store of a format version, with the code that brings the version: once, for ever.

    PYTHONPATH=examples python tests/support/make_golden.py format-3

takes `tests/golden/format-3/config.toml`, which is written by hand before, and writes beside it `raw` (the raw files, by what
`RAW` has for the folder), `store.zarr`, and `golden.json`: the digest of every file of the store, the batch of all of
its samples as the loader gives it, of frames without masks those of a clip, and the libraries that may decide its bytes. A store that is there is never made
again: that later versions open it and remake it is what `tests/test_golden.py` holds them to. The raw files are
committed with it, since an encoder of another version would write others.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from miniature.coco import write_coco
from miniature.folders import save_indexed
from miniature.refcoco import IMAGES, write_refcoco
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from PIL import Image, features
from stores import tree_digest

from resizeonce import loader
from resizeonce.preprocess.cli import main as resizeonce

GOLDEN = Path(__file__).parents[1] / "golden"


def libraries() -> dict[str, str]:
    """Return the versions of what decodes and resizes pictures and compresses masks; numcodecs brings libzstd.

    What else a store was made with stands in its root, and should not change a byte.
    """
    packages = {package: version(package) for package in ("pillow", "simplejpeg", "numcodecs")}
    of_pillow = {"libjpeg": "jpg", "libjpeg_turbo": "libjpeg_turbo"}
    return packages | {name: features.version(feature) or "unknown" for name, feature in of_pillow.items()}


def convert_golden(folder: Path, store: Path, *options: str) -> None:
    """Make `store` of the config and the raw files in a golden folder."""
    command = ["convert", str(folder / "config.toml"), "--root", str(folder / "raw"), "--out", str(store)]
    outcome = CliRunner().invoke(resizeonce, [*command, "--max-rejects", "2", *options])
    assert outcome.exit_code == 0, outcome.output


def describe_batch(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch as JSON values: of a tensor or an array its dtype, shape and SHA-256, anything else as it is."""
    return {key: _describe(value) for key, value in batch.items()}


def describe_clips(store: loader.Store) -> dict[str, Any] | None:
    """Return a batch of all frames of scenes, in the same way; None of a store without frames that have no masks."""
    if not store.attributes.get("empty_frames"):
        return None
    clip = loader.Clip(frames=4, objects=2, short="repeat", visible="any")
    order = loader.Order([loader.SampleIndex(store, draw=clip)], loader.OrderOptions(shuffle=None))
    (batch,) = loader.BatchLoader(order, 2, 0)
    return describe_batch(batch)


def _describe(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return {"dtype": str(value.dtype), "shape": list(value.shape), "sha256": digest}
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    return [_describe(one) for one in value] if isinstance(value, list) else value


def write_stills(root: Path) -> None:
    """Write four pictures with expressions (gRefCOCO): one is grey and progressive, one damaged; a ref is of no annotation."""
    write_refcoco(root, [picture_of(18 + n, 34 - n, n) for n in range(13)])
    _keep_training_split(root)
    _, grey, damaged, _ = sorted((root / IMAGES).iterdir())
    with Image.open(grey) as picture:
        picture.convert("L").save(grey, progressive=True)
    damaged.write_bytes(damaged.read_bytes()[:-200])


def write_pairs(root: Path) -> None:
    """Write the frames of three videos (SA-V) with two objects, of which one comes and goes."""
    clips = [
        (f"sav_{number:06d}", [np.roll(picture_of(20, 30, number), 3 * t, axis=1) for t in range(num_frames)])
        for number, num_frames in ((1, 3), (2, 1), (3, 2))
    ]
    write_sav_train(root, clips)


def write_oblong(root: Path) -> None:
    """Write three pictures (COCO), two of them oblong: one is turned by EXIF, so that another file is kept of it."""
    write_coco(root, [picture_of(21, 34, 0), picture_of(36, 16, 1), picture_of(18, 18, 2)])
    second = sorted((root / "train2017").iterdir())[1]
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(second) as picture:
        picture.load()
        # Lying, with the turn that stands it up: as its annotation has it.
        picture.transpose(Image.Transpose.ROTATE_90).save(second, quality=95, exif=exif)


def write_videos(root: Path) -> None:
    """Write two videos with label maps: in each, objects come and go, and in some frames there is nobody."""
    for video_id, there in (("bear", [(1, 2), (1,), (), (2,)]), ("late", [(), (3,), ()])):
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / video_id).mkdir(parents=True)
        for time, values in enumerate(there):
            labels = np.zeros((20, 30), np.uint8)
            for value in values:
                labels[2:18, 9 * value - 8 : 9 * value] = value
            picture = np.roll(picture_of(20, 30, len(there)), 3 * time, axis=1)
            Image.fromarray(picture).save(root / f"JPEGImages/{video_id}/{time:05d}.jpg", quality=95)
            save_indexed(root / f"Annotations/{video_id}/{time:05d}.png", labels)


RAW = {
    "format-1": write_stills,
    "format-2": write_pairs,
    "format-3": write_oblong,
    "format-3-empty-frames": write_videos,
}
"""Writes the raw files of each folder: one for each format version, and for what a version came to have later."""


def _keep_training_split(root: Path) -> None:
    """Leave only what the training split of gRefCOCO has, every fourth picture, and add a ref to no annotation."""
    for folder in ("refcoco", "refcoco+", "refcocog"):
        for path in (root / folder).iterdir():
            path.unlink()
        (root / folder).rmdir()
    grefs, instances = root / "grefcoco" / "grefs(unc).json", root / "grefcoco" / "instances.json"
    refs = [ref for ref in json.loads(grefs.read_text()) if ref["split"] == "train"]
    image_ids = {ref["image_id"] for ref in refs}
    grefs.write_text(json.dumps([*refs, refs[0] | {"ref_id": 300000, "ann_id": [9]}]))
    content = json.loads(instances.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in image_ids]
    content["images"] = [one for one in content["images"] if one["id"] in image_ids]
    instances.write_text(json.dumps(content))
    for path in (root / IMAGES).iterdir():
        if int(path.stem.rpartition("_")[2]) not in image_ids:
            path.unlink()


def main() -> None:
    """Make the store of the folder that the command line names."""
    folder = GOLDEN / sys.argv[1]
    store = folder / "store.zarr"
    if store.exists():
        sys.exit(f"{store} is there, and a golden store is never made again")
    RAW[folder.name](folder / "raw")
    convert_golden(folder, store)
    golden = {
        "libraries": libraries(),
        "batch": describe_batch(loader.SampleDataset(store)[:]),
        "files": tree_digest(store),
    }
    if clips := describe_clips(loader.Store(store)):
        golden["clips"] = clips
    (folder / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
