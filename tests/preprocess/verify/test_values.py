"""Consistent damage that the pixels show: clean at the default depth, found by `--values`."""

import re
from collections.abc import Callable
from pathlib import Path

import damage
import numpy as np
import pytest
from damage import parts_of, read_array, recount_prompts, rewrite, rewrite_images
from numpy.typing import NDArray
from PIL import Image

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import Finding, VerifyOptions, verify_store

Copy = Callable[[str], Path]


def found_by_values(store: Path) -> list[Finding]:
    """Return the damage that `--values` finds, after seeing that the default depth finds none."""
    assert not verify_store(store).is_damaged
    report = verify_store(store, VerifyOptions(values=True))
    return [finding for finding in report.findings if finding.level == "damage"]


def by_centre(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return what Pillow's NEAREST makes of a mask."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)) == 255


@pytest.mark.parametrize(
    ("make", "check", "says"),
    [
        (damage.founding_bug, "images-disagree", "normalised image times 255, clamped"),
        (damage.normalized, "images-disagree", "the normalised image|normalised, or scaled|same picture"),
        (damage.blue_first, "images-disagree", "BGR"),
        (damage.transposed, "images-disagree", "transposed"),
        (damage.mirrored, "images-disagree", "mirrored"),
        (damage.half_pixel_off, "images-shifted", "right"),
        (damage.corner_aligned, "images-shifted", "right"),
        (damage.enlarged, "images-enlarged", "no detail beyond"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_wrong_segmenter_image_is_found_and_named(
    copy_of: Copy, sound: Path, make: Callable[[Image.Image], NDArray[np.uint8]], check: str, says: str
) -> None:
    store = copy_of("full")
    # That images were enlarged is told of a store most of whose images were.
    count = None if make is damage.enlarged else 2
    rewrite_images(sound / "full" / "coco", parts_of(store)[0], make, count=count)
    findings = found_by_values(store)
    assert check in {finding.check for finding in findings}
    assert any(re.search(says, finding.found) for finding in findings), findings[0].found


def test_padded_oblong_images_are_each_named(copy_of: Copy, sound: Path) -> None:
    store = copy_of("full")
    rewrite_images(sound / "full" / "coco", parts_of(store)[0], damage.padded)
    findings = found_by_values(store)
    # 301 x 299 is square enough to hide: only the deepest check sees its two lines of padding.
    assert {finding.row for finding in findings} >= {0, 1, 2, 3}
    assert "images-disagree" in {finding.check for finding in findings}
    assert any("padded, centred" in finding.found for finding in findings)


def test_float_image_that_no_byte_gives_is_found(sound: Path, tmp_path: Path) -> None:
    config = load_config(
        Path(__file__).parents[3] / "configs" / "coco.toml", ["recipe.pixel_values.stored=float32"]
    )
    store = tmp_path / "float.zarr"
    convert(config, sound / "full" / "coco", store, RunOptions(limit=2, engine="pillow"))
    assert found_by_values(store) == []
    part = parts_of(store)[0]
    values = read_array(part, "images/pixel_values")
    rewrite(part, "images/pixel_values", values * np.float32(1.0001))
    assert {finding.check for finding in found_by_values(store)} == {"pixel-values"}


def test_mask_scaled_by_one_over_255_is_found(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    masks = read_array(part, "masks/masks").astype(np.uint8)
    rewrite(part, "masks/masks", (masks / 255).astype(np.uint8))
    assert {"mask-area", "masks-disagree"} & {finding.check for finding in found_by_values(store)}


@pytest.mark.parametrize("white", [255, 2])
def test_mask_bytes_other_than_0_and_1_are_found(copy_of: Copy, white: int) -> None:
    part = parts_of(store := copy_of("full"))[0]
    rewrite(part, "masks/masks", read_array(part, "masks/masks").astype(np.uint8) * white)
    assert {finding.check for finding in found_by_values(store)} == {"mask-values"}


def test_soft_mask_is_found(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    soft = [
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((300, 300)).resize((1024, 1024)))
        for mask in read_array(part, "masks/masks")
    ]
    rewrite(part, "masks/masks", soft)
    assert {finding.check for finding in found_by_values(store)} == {"mask-values"}


def test_transposed_mask_is_found_and_named(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    rewrite(part, "masks/masks", read_array(part, "masks/masks").transpose(0, 2, 1))
    assert any("transposed" in finding.found for finding in found_by_values(store))


def test_mask_of_another_object_is_found_by_its_prompt(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    rewrite(part, "masks/masks", np.roll(read_array(part, "masks/masks"), 1, axis=0))
    assert "masks-disagree" in {finding.check for finding in found_by_values(store)}


def test_mask_and_prompt_of_another_object_are_found_by_the_area(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    for name in ("masks", "prompt_masks", "prompt_cells"):
        column = read_array(part, f"masks/{name}")
        # One object alone: where nearly all areas fit, the one that does not is seen.
        column[0] = column[5]
        rewrite(part, f"masks/{name}", column)
    recount_prompts(part)
    findings = found_by_values(store)
    assert [(finding.check, finding.row) for finding in findings] == [("mask-area", 0)]


def test_prompt_cells_that_are_miscounted_are_found(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    rewrite(part, "masks/prompt_cells", read_array(part, "masks/prompt_cells") + 4)
    recount_prompts(part)
    assert "prompt-cells" in {finding.check for finding in found_by_values(store)}


@pytest.mark.parametrize(("of_original", "checks"), [(True, set()), (False, {"prompts-resized"})])
def test_prompt_made_from_the_large_mask_is_found_where_masks_have_enough_edges(
    copy_of: Copy, of_original: bool, checks: set[str]
) -> None:
    part = parts_of(store := copy_of("full"))[0]
    sizes, image = read_array(part, "images/size"), read_array(part, "masks/image")
    originals = [np.indices(sizes[row]).sum(axis=0) // 3 % 2 == 0 for row in image]
    masks = [by_centre(mask, 1024) for mask in originals]
    prompts = np.stack([by_centre(mask, 16) for mask in (originals if of_original else masks)])
    rewrite(part, "masks/masks", masks)
    rewrite(part, "masks/prompt_masks", prompts)
    rewrite(part, "masks/prompt_cells", prompts.sum(axis=(1, 2)).astype(np.int32))
    rewrite(part, "masks/area", np.array([mask.sum() for mask in originals], np.int64))
    recount_prompts(part)
    assert {finding.check for finding in found_by_values(store)} == checks


def test_flat_image_is_a_note(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("full"))[0]
    for name in ("pixel_values", "g_pixel_values"):
        images = read_array(part, f"images/{name}")
        images[1] = 77
        rewrite(part, f"images/{name}", images)
    report = verify_store(store, VerifyOptions(values=True))
    assert not report.is_damaged
    assert ("flat-image", 1) in {(finding.check, finding.row) for finding in report.findings}


def test_real_samples_are_clean_under_every_recipe(shared_data: Path, tmp_path: Path) -> None:
    configs = Path(__file__).parents[3] / "configs"
    for number, override in enumerate(("recipe.name=sa2va", "recipe.prompt_masks.filter=cover")):
        config = load_config(
            configs / "coco.toml",
            [override, "source.annotations=annotations/instances_val2017.json", "source.images=val2017"],
        )
        convert(config, shared_data / "coco", tmp_path / f"{number}.zarr")
        report = verify_store(
            tmp_path / f"{number}.zarr", VerifyOptions(values=True, source=shared_data / "coco", sample=3)
        )
        assert [finding for finding in report.findings if finding.level == "damage"] == []
