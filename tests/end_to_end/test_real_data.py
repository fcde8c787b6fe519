"""The real samples, converted, against an independent computation from the raw files, bit for bit.

Images: Pillow reads the file and resizes it, torch does the arithmetic of torchvision's ToTensor and Normalize.
Masks: pycocotools or Pillow decode them, Pillow's NEAREST or torch's `interpolate` resizes them. `naive.py` reads both.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from grids import slow
from naive import Mask, NaiveReader
from numcodecs.zstd import Zstd
from PIL import Image
from pycocotools import mask as coco_mask
from stores import COMPACT_IMAGES, CONFIGS, TINY

from resizeonce.loader import SampleDataset
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.loader.format.recipe import DEFAULT_VIEWS
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.kernels.encode import compress_mask
from resizeonce.preprocess.run.convert import Report, RunOptions, convert


@cache
def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


# Name: (folder, config, overrides, (images, masks, samples, expressions, rejects)).
CASES: dict[str, tuple[str, str, list[str], tuple[int, ...]]] = {
    "coco": ("coco", "coco", [], (98, 932, 932, 0, 0)),
    "refcoco": ("refcoco", "refcoco", [], (7, 7, 7, 8, 1)),
    "refcoco-testB": ("refcoco", "refcoco", ["source.split=testB"], (3, 4, 4, 4, 0)),
    "refcoco+": ("refcoco", "refcoco+", [], (7, 7, 7, 8, 0)),
    "refcocog": ("refcoco", "refcocog", [], (7, 7, 7, 8, 0)),
    "grefcoco-val": ("refcoco", "grefcoco", ["source.split=val"], (2, 2, 2, 2, 0)),
    "sa1b": ("sa1b", "sa1b", [], (12, 172, 172, 0, 0)),
    "openimages": ("openimages", "openimages", [], (4, 5, 5, 0, 2)),
    "openimages-validation": (
        "openimages",
        "openimages",
        ["source.split=validation"],
        (2, 4, 4, 0, 0),
    ),
    "sav": ("sav/sav_train", "sav", ["source.annotations=both"], (61, 79, 44, 0, 0)),
    "sav-val": ("sav/sav_val", "sav_val", [], (28, 37, 24, 0, 0)),
}


# COCO has by far the most masks: one recipe of it is enough, RefCOCO has its polygons and run lengths in the other.
BOTH = [
    slow(case, recipe) if (case, recipe) in (("sa1b", "sa2va"), ("sav", "sa2va")) else (case, recipe)
    for case in CASES
    for recipe in ("default", "sa2va")
    if (case, recipe) != ("coco", "sa2va")
]


def convert_case(shared_data: Path, case: str, out: Path, *overrides: str) -> tuple[Path, Report]:
    folder, config, own, _ = CASES[case]
    root = shared_data / folder
    report = convert(load_config(CONFIGS / f"{config}.toml", [*own, *overrides]), root, out, RunOptions())
    return root, report


def expected_images(rgb: Image.Image, resample: Image.Resampling) -> tuple[torch.Tensor, torch.Tensor]:
    small = torch.from_numpy(np.array(rgb.resize((448, 448), resample))).permute(2, 0, 1).contiguous()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    large = torch.from_numpy(np.array(rgb.resize((1024, 1024), resample))).permute(2, 0, 1)
    return small.float().div(255).sub_(mean).div_(std), large


def pillow_nearest(mask: Mask, size: int) -> torch.Tensor:
    resized = Image.fromarray(mask.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(resized, np.float32))


def torch_nearest(mask: Mask, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), (size, size))[0, 0]


def frames_of(dataset: SampleDataset, number: int) -> Iterator[tuple[str, str, str, str, int]]:
    """Yield suffix, raw path, image key, object id and time of each frame of a sample."""
    part, masks = dataset.store.locate(number)
    for suffix, mask in zip(dataset.store.suffixes, masks, strict=True):
        image = int(part.column("masks/image")[mask])
        path, key = part.text("images/path", image), part.text("images/key", image)
        time = int(part.column("images/time")[image])
        yield suffix, path, key, part.text("masks/object_id", int(mask)), time


@pytest.mark.parametrize(("case", "recipe"), BOTH)
def test_every_tensor_of_every_sample_equals_an_independent_computation(
    shared_data: Path, tmp_path: Path, case: str, recipe: str
) -> None:
    root, report = convert_case(shared_data, case, tmp_path / "store.zarr", f"recipe.name={recipe}")
    reader = NaiveReader(root, load_config(CONFIGS / f"{CASES[case][1]}.toml").source)
    resample = {"default": Image.Resampling.BILINEAR, "sa2va": Image.Resampling.BICUBIC}[recipe]
    nearest = {"default": pillow_nearest, "sa2va": torch_nearest}[recipe]
    images = cache(lambda path, key: expected_images(next(reader.images(path, key)), resample))
    totals = report.attributes["totals"]
    found = tuple(totals[name] for name in ("images", "masks", "samples", "expressions"))
    assert (*found, report.num_rejects) == CASES[case][3]
    # Neighbouring samples share an image: it is read and compared once, by the first of them.
    whole, masks_only = (
        SampleDataset(tmp_path / "store.zarr", tensors=tensors)
        for tensors in (tuple(DEFAULT_VIEWS), tuple(DEFAULT_VIEWS)[2:])
    )
    seen: set[str] = set()
    for number in range(len(whole)):
        frames = list(frames_of(whole, number))
        has_new = not seen.issuperset(key for _, _, key, _, _ in frames)
        sample = (whole if has_new else masks_only)[number]
        for suffix, path, key, object_id, time in frames:
            mask = reader.mask(path, key, object_id, time)
            if has_new:
                pixel_values, g_pixel_values = images(path, key)
                assert torch.equal(sample[f"pixel_values{suffix}"], pixel_values)
                assert torch.equal(sample[f"g_pixel_values{suffix}"], g_pixel_values)
                seen.add(key)
            assert torch.equal(sample[f"prompt_masks{suffix}"], nearest(mask, 16))
            assert torch.equal(sample[f"masks{suffix}"], nearest(mask, 1024))
            assert sample[f"prompt_cells{suffix}"] == nearest(mask, 16).sum()


def test_photographs_stored_compact_take_at_most_0_45_of_their_bytes(
    shared_data: Path, tmp_path: Path
) -> None:
    """Of the whole of them; noise and fine texture take more, and each dataset counts as much as its images."""
    taken = raw = 0
    for case in ("coco", "sa1b", "sav"):
        out = tmp_path / case
        convert_case(shared_data, case, out, *COMPACT_IMAGES)
        for array in ("pixel_values", "g_pixel_values"):
            files = list(out.glob(f"part-*/images/{array}/c/**/*"))
            taken += sum(file.stat().st_size for file in files if file.is_file())
        size = 3 * (448**2 + 1024**2)
        raw += read_attributes(out)["totals"]["images"] * size
    assert taken <= 0.45 * raw


def test_real_masks_take_less_than_libzstd_makes_of_them(shared_data: Path) -> None:
    masks = [
        pillow_nearest(coco_mask.decode(annotation["segmentation"]), 1024).bool().numpy()
        for path in sorted((shared_data / "sa1b" / "sa_000000").glob("*.json"))
        for annotation in read_json(path)["annotations"]
    ]
    theirs = sum(len(Zstd(level=3).encode(mask)) for mask in masks)
    assert sum(len(compress_mask(mask)) for mask in masks) < 0.95 * theirs


def test_crowds_are_counted_when_asked_for(shared_data: Path, tmp_path: Path) -> None:
    _, report = convert_case(shared_data, "coco", tmp_path / "store.zarr", "source.crowds=true", *TINY)
    assert report.attributes["totals"]["samples"] == 946


def test_expressions_are_those_of_the_file(shared_data: Path, tmp_path: Path) -> None:
    convert_case(shared_data, "refcoco", tmp_path / "store.zarr", *TINY)
    dataset = SampleDataset(tmp_path / "store.zarr")
    refs = read_json(shared_data / "refcoco" / "grefcoco" / "grefs(unc).json")
    # The gRefCOCO records of one target are those of RefCOCO, in JSON.
    expected = {str(ref["ann_id"][0]): [sentence["raw"] for sentence in ref["sentences"]] for ref in refs}
    for number in range(len(dataset)):
        sample = dataset[number]
        assert sample["expressions"] == expected[sample["key"].split("/")[-1]]


def test_npz_pairs_of_real_frames_equal_an_independent_computation(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "sav" / "sav_train"
    reader = NaiveReader(root, "sav")
    frames, masks = [], []
    for number in (0, 4):
        path, key = f"JPEGImages_24fps/sav_090001/{number:05d}.jpg", f"sav/sav_090001/{number:05d}"
        frames.append(next(reader.images(path, key)))
        masks.append(reader.mask(path, key, "manual-0", number))
    (tmp_path / "raw").mkdir()
    np.savez(
        tmp_path / "raw" / "swan.npz",
        image1=frames[0],
        image2=frames[1],
        mask1=masks[0].astype(np.uint8) * 255,
        mask2=masks[1],
    )
    report = convert(load_config(CONFIGS / "npz.toml"), tmp_path / "raw", tmp_path / "store.zarr")
    assert report.attributes["totals"]["samples"] == 1
    (sample,) = (SampleDataset(tmp_path / "store.zarr")[number] for number in range(1))
    for suffix, frame, mask in zip(("1", "2"), frames, masks, strict=True):
        pixel_values, g_pixel_values = expected_images(frame, Image.Resampling.BILINEAR)
        assert torch.equal(sample[f"pixel_values{suffix}"], pixel_values)
        assert torch.equal(sample[f"g_pixel_values{suffix}"], g_pixel_values)
        assert torch.equal(sample[f"prompt_masks{suffix}"], pillow_nearest(mask, 16))
        assert torch.equal(sample[f"masks{suffix}"], pillow_nearest(mask, 1024))
    assert sample["dataset_type"] == "sav"
    assert sample["has_paired_frame"] is True
