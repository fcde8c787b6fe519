"""Stores of other recipes than the default: sound ones are clean, and mistakes of geometry are told by their names."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import parts_of, read_array, recount_prompts, rewrite, rewrite_images
from miniature.coco import write_coco
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image
from recipe_stores import convert_originals, originals
from stores import CONFIGS

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import Finding, VerifyOptions, verify_store

CLIP = "mean = [0.48145466, 0.4578275, 0.40821073], std = [0.26862954, 0.26130258, 0.27577711]"
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

LARGE, SMALL = 256, 128

RECIPE = (
    f'pixel_values={{kind="image", size={SMALL}, fit="crop", filter="bicubic", {CLIP}}}',
    f'g_pixel_values={{kind="image", size={LARGE}, fit="pad", values="uint8", pad=[9, 8, 7]}}',
    f'masks={{kind="mask", over="g_pixel_values", size={LARGE}}}',
    'low_masks={kind="mask", over="g_pixel_values", size=60}',
    'crop_masks={kind="mask", over="pixel_values", size=112}',
    'prompt_masks={kind="mask", over="pixel_values", size=16, role="prompt"}',
)
"""A crop for the language model, a padded view for the segmenter, and masks over both."""

PADDED, SQUASHED = 'fit="pad", values="uint8", pad=[9, 8, 7]', 'fit="squash", values="uint8"'

OTHERS = {
    "pad-first": (
        'pixel_values={kind="image", size=112, fit="pad-first", pad=[122, 116, 104], stored="float32"}',
        'g_pixel_values={kind="image", size=224, fit="pad-first", align="corner", values="uint8", stored="compact"}',
        'masks={kind="mask", over="pixel_values", size=112, filter="torch-nearest"}',
        'touched={kind="mask", over="pixel_values", size=14, filter="touch", role="prompt"}',
        'covered={kind="mask", over="g_pixel_values", size=28, filter="cover"}',
        'half={kind="mask", over="g_pixel_values", size=28, filter="half"}',
    ),
    "oblong": (
        'video={kind="image", size=[90, 160], fit="pad", filter="lanczos", stored="float32", scale=1,'
        "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]}",
        'still={kind="image", size=[120, 100], fit="crop", filter="hamming", stored="compact"}',
        'masks={kind="mask", over="video", size=[45, 80], filter="half"}',
        'cells={kind="mask", over="still", size=[12, 10], filter="touch"}',
    ),
    "one image": (
        'picture={kind="image", size=64, fit="pad"}',
        'masks={kind="mask", over="picture", size=32}',
    ),
    "images alone": ('picture={kind="image", size=64}', 'other={kind="image", size=32, filter="box"}'),
}

Copy = Callable[[], Path]


def convert_recipe(root: Path, store: Path, views: tuple[str, ...]) -> Path:
    overrides = [f"recipe.{view}" for view in views]
    convert(load_config(CONFIGS / "coco.toml", ["recipe.name=custom", *overrides]), root, store, RunOptions())
    return store


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("geometries") / "coco"
    write_coco(
        root, [picture_of(*size, seed) for seed, size in enumerate(((333, 500), (480, 300), (90, 70)))]
    )
    return root


@pytest.fixture(scope="module")
def sound(raw: Path) -> Path:
    return convert_recipe(raw, raw.parent / "sound.zarr", RECIPE)


@pytest.fixture
def copied(sound: Path, tmp_path: Path) -> Copy:
    return lambda: Path(shutil.copytree(sound, tmp_path / "copy.zarr"))


def with_view(name: str, old: str, new: str) -> tuple[str, ...]:
    """Return the recipe with one setting of a view changed."""
    return tuple(view.replace(old, new) if view.startswith(f"{name}=") else view for view in RECIPE)


def values_of(store: Path) -> list[Finding]:
    """Return the damage that `--values` finds, after seeing that the default depth finds none."""
    assert not verify_store(store).is_damaged
    report = verify_store(store, VerifyOptions(values=True))
    return [finding for finding in report.findings if finding.level == "damage"]


def source_of(store: Path, raw: Path) -> list[Finding]:
    return verify_store(store, VerifyOptions(source=raw, sample=None)).findings


def test_sound_store_is_clean_at_all_depths(sound: Path, raw: Path) -> None:
    report = verify_store(sound, VerifyOptions(values=True, source=raw, sample=None))
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []


@pytest.mark.parametrize("views", OTHERS.values(), ids=OTHERS)
def test_sound_stores_of_other_recipes_are_clean_at_all_depths(
    raw: Path, tmp_path: Path, views: tuple[str, ...]
) -> None:
    store = convert_recipe(raw, tmp_path / "x.zarr", views)
    report = verify_store(store, VerifyOptions(values=True, source=raw, sample=None))
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []


# ---- images: each damage made by Pillow from the raw pictures

Make = Callable[[Image.Image], NDArray[np.uint8]]


def squashed(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((LARGE, LARGE), Image.Resampling.BILINEAR))


def fitted(picture: Image.Image, share: float, colour: tuple[int, int, int] = (9, 8, 7)) -> NDArray[np.uint8]:
    """Keep the aspect ratio; of the padding, a share is before the picture."""
    scale = LARGE / max(picture.size)
    width, height = (int(side * scale + 0.5) for side in picture.size)
    square = Image.new("RGB", (LARGE, LARGE), colour)
    inner = picture.resize((width, height), Image.Resampling.BILINEAR)
    square.paste(inner, (int((LARGE - width) * share), int((LARGE - height) * share)))
    return np.asarray(square)


def padded_right(picture: Image.Image) -> NDArray[np.uint8]:
    return fitted(picture, 0)


def padded_with_black(picture: Image.Image) -> NDArray[np.uint8]:
    return fitted(picture, 0, (0, 0, 0))


def padded_centred(picture: Image.Image) -> NDArray[np.uint8]:
    return fitted(picture, 0.5)


def padded_left(picture: Image.Image) -> NDArray[np.uint8]:
    return fitted(picture, 1)


def padded_first(picture: Image.Image) -> NDArray[np.uint8]:
    side = max(picture.size)
    square = Image.new("RGB", (side, side), (9, 8, 7))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return squashed(square)


def cropped(picture: Image.Image, share: float) -> NDArray[np.uint8]:
    scale = SMALL / min(picture.size)
    size = (int(picture.width * scale), int(picture.height * scale))
    left, top = (int((side - SMALL) * share) for side in size)
    resized = picture.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + SMALL, top + SMALL)))


def cropped_left(picture: Image.Image) -> NDArray[np.uint8]:
    return cropped(picture, 0)


def cropped_right(picture: Image.Image) -> NDArray[np.uint8]:
    return cropped(picture, 1)


def not_cropped(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((SMALL, SMALL), Image.Resampling.BICUBIC))


IMAGES: dict[str, tuple[str, Make, str, str]] = {
    "squashed where padded": (
        "g_pixel_values", squashed, "squashed, not padded below or to the right", "squashed, not padded below"),
    "padded in the middle": (
        "g_pixel_values", padded_centred, "padded, centred, not padded below", "padded, centred, not"),
    "padded on the other side": (
        "g_pixel_values", padded_left, "padded above or to the left, not padded below", "padded above or to the left"),
    "padded first": (
        "g_pixel_values", padded_first, "centred, and resized, not padded below", "padded to a square, centred, and resized"),
    "cropped at the top left": (
        "pixel_values", cropped_left, "cropped at the top left, not cropped in the middle", "cropped at the top left"),
    "cropped at the bottom right": (
        "pixel_values", cropped_right, "cropped at the bottom right, not", "cropped at the bottom right"),
    "squashed where cropped": ("pixel_values", not_cropped, "squashed, not cropped in the middle", "squashed, not"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "by_values", "by_source"), IMAGES.values(), ids=IMAGES)
def test_geometry_of_an_image_is_told_by_name(
    copied: Copy, raw: Path, name: str, make: Make, by_values: str, by_source: str
) -> None:
    store = copied()
    rewrite_images(raw, parts_of(store)[0], make, f"images/{name}")
    found = [finding.found for finding in values_of(store)]
    assert any(by_values in text for text in found), found
    found = [finding.found for finding in source_of(store, raw)]
    assert any(by_source in text for text in found), found


def test_padded_where_squashed_is_told_by_name(raw: Path, tmp_path: Path) -> None:
    views = with_view("g_pixel_values", PADDED, SQUASHED)
    store = convert_recipe(raw, tmp_path / "x.zarr", views)
    assert values_of(store) == []
    rewrite_images(raw, parts_of(store)[0], padded_with_black)
    assert any("padded below or to the right, not squashed" in finding.found for finding in values_of(store))
    assert any("it is padded below or to the right, not squashed" in f.found for f in source_of(store, raw))


def test_padding_of_another_colour_is_told(copied: Copy, raw: Path) -> None:
    store = copied()
    part = parts_of(store)[0]
    images = read_array(part, "images/g_pixel_values")
    images[0, :, -1] = 0
    rewrite(part, "images/g_pixel_values", images)
    assert [(finding.check, finding.row) for finding in values_of(store)] == [("padding", 0)]
    assert [finding.row for finding in source_of(store, raw)] == [0]


def test_image_made_from_another_view_is_told_by_name(copied: Copy, raw: Path) -> None:
    store = copied()
    part = parts_of(store)[0]
    large = read_array(part, "images/g_pixel_values").transpose(0, 2, 3, 1)
    small = [Image.fromarray(image).resize((SMALL, SMALL), Image.Resampling.BICUBIC) for image in large]
    rewrite(part, "images/pixel_values", [np.asarray(image).transpose(2, 0, 1).copy() for image in small])
    assert values_of(store)
    found = source_of(store, raw)
    assert any("made from g_pixel_values, not from the original" in finding.found for finding in found)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_other_mean_and_std_are_told_by_name(raw: Path, tmp_path: Path, fit: str) -> None:
    view = f'pixel_values={{kind="image", size=64, fit="{fit}", stored="float32"}}'
    clip = f'pixel_values={{kind="image", size=64, fit="{fit}", {CLIP}}}'
    store, other = (
        convert_recipe(raw, tmp_path / f"{number}.zarr", (one,)) for number, one in enumerate((view, clip))
    )
    part = parts_of(store)[0]
    assert values_of(store) == []
    levels = read_array(parts_of(other)[0], "images/pixel_values").astype(np.float32)
    mean, std = CLIP_MEAN[:, None, None], CLIP_STD[:, None, None]
    beside = read_array(part, "images/pixel_values") == 0
    wrong = np.where(beside & (fit == "pad"), np.float32(0), (levels / np.float32(255) - mean) / std)
    rewrite(part, "images/pixel_values", wrong)
    for found in (values_of(store), source_of(store, raw)):
        assert any("normalised with CLIP's mean and std" in finding.found for finding in found), found


# ---- masks: taken from stores of other recipes


def take_masks(store: Path, other: Path, name: str) -> None:
    """Put another store's masks in place of a store's."""
    part = parts_of(store)[0]
    rewrite(part, f"masks/{name}", read_array(parts_of(other)[0], f"masks/{name}"))
    if name == "prompt_masks":
        cells = read_array(part, "masks/prompt_masks").sum(axis=(1, 2)).astype(np.int32)
        rewrite(part, "masks/prompt_cells", cells)
        recount_prompts(part)


MASKS = {
    "mask of a squashed picture over a padded one": (
        "masks", "g_pixel_values", PADDED, SQUASHED, "masks lies over a picture that is squashed"),
    "prompt not cropped": (
        "prompt_masks", "pixel_values", 'fit="crop"', 'fit="squash"', "prompt_masks lies over a picture that is squashed"),
    "mask not cropped": (
        "crop_masks", "pixel_values", 'fit="crop"', 'fit="squash"', "crop_masks lies over a picture that is squashed"),
    "mask padded over a crop": (
        "crop_masks", "pixel_values", 'fit="crop"', 'fit="pad"', "crop_masks lies over a picture that is padded below"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "over", "old", "new", "says"), MASKS.values(), ids=MASKS)
def test_mask_over_another_geometry_than_its_image_is_told_by_name(
    copied: Copy, raw: Path, tmp_path: Path, name: str, over: str, old: str, new: str, says: str
) -> None:
    store = copied()
    take_masks(store, convert_recipe(raw, tmp_path / "other.zarr", with_view(over, old, new)), name)
    found = [finding.found for finding in values_of(store)]
    assert any(says in text for text in found), found
    found = [finding.found for finding in source_of(store, raw)]
    assert any("it lies over a picture that is" in text for text in found), found


def test_mask_beside_the_picture_is_told_where_there_is_no_other_mask(raw: Path, tmp_path: Path) -> None:
    views = ('picture={kind="image", size=64, fit="pad"}', 'masks={kind="mask", over="picture", size=64}')
    store = convert_recipe(raw, tmp_path / "x.zarr", views)
    part = parts_of(store)[0]
    assert values_of(store) == []
    rewrite(part, "masks/masks", read_array(part, "masks/masks")[:, ::-1, ::-1])
    assert "mask-beside" in {finding.check for finding in values_of(store)}


def test_target_through_an_intermediate_size_is_told_by_name(copied: Copy, raw: Path) -> None:
    store = copied()
    part = parts_of(store)[0]
    through = [
        np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((60, 60), Image.Resampling.NEAREST))
        for mask in read_array(part, "masks/masks")
    ]
    assert (through != read_array(part, "masks/low_masks")).any()
    rewrite(part, "masks/low_masks", through)
    found = [finding for finding in source_of(store, raw) if finding.array == "masks/low_masks"]
    assert found
    assert all("it was made from masks, not from the original" in finding.found for finding in found)


@pytest.mark.parametrize(("size", "rule"), [(64, "pillow-nearest"), (64, "cover"), (256, "touch")])
def test_small_and_thin_objects_that_a_coarse_view_can_not_show_are_no_damage(
    tmp_path: Path, size: int, rule: str
) -> None:
    thin, small = np.zeros((2, 640, 640), np.bool_)
    thin[100:103, 50:400] = thin[100:500, 50] = True
    small[301:313, 300:309] = True
    [(picture, _)] = originals([(640, 640)])
    views = (
        'recipe.g_pixel_values={kind="image", size=64, values="uint8"}',
        f'recipe.masks={{kind="mask", over="g_pixel_values", size={size}, filter="{rule}"}}',
    )
    found = [(picture, thin), (picture, small)]
    store = convert_originals(tmp_path, found, "recipe.name=custom", *views, "store.boxes=true")
    assert values_of(store) == []
