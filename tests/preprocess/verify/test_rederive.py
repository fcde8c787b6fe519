"""Consistent damage that only the raw files can show: clean at the other depths, found by `--source`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import damage
import numpy as np
import pytest
from damage import parts_of, read_array, recount_prompts, rewrite, rewrite_images
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader.format.errors import SourceError
from resizeonce.loader.format.geometry import view_axes
from resizeonce.loader.format.recipe import ImageView, MaskFilter, MaskView
from resizeonce.preprocess.verify.check_store import Finding, VerifyOptions, verify_store
from resizeonce.preprocess.verify.remake import decode_picture, remake_image, remake_view
from resizeonce.preprocess.verify.scenes import choose_scenes

Copy = Callable[[str], Path]
Values = NDArray[Any]


def found_only_by_source(store: Path, root: Path) -> list[Finding]:
    """Return the damage that `--source` finds, after seeing that the other depths find none."""
    report = verify_store(store, VerifyOptions(values=True))
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []
    return verify_store(store, VerifyOptions(source=root, sample=None)).findings


def change_masks(part: Path, change: Callable[[Values], Values], *columns: str) -> None:
    for name in columns:
        rewrite(part, f"masks/{name}", change(read_array(part, f"masks/{name}")))
    recount_prompts(part)


def test_another_filter_is_found_and_named(copy_of: Copy, sound: Path) -> None:
    store, root = copy_of("full"), sound / "full" / "coco"
    rewrite_images(root, parts_of(store)[0], damage.another_filter, count=2)
    findings = found_only_by_source(store, root)
    assert {finding.array for finding in findings} == {"images/g_pixel_values"}
    assert all("made with bicubic" in finding.found for finding in findings)
    assert findings[0].path == "train2017/000000000001.jpg"


@pytest.mark.parametrize(
    ("count", "change", "says"),
    [
        (2, lambda images: images[:, ::-1], "BGR"),
        (1, lambda images: images.transpose(0, 1, 3, 2), "transposed"),
        (1, lambda images: images[..., ::-1], "mirrored"),
        (2, lambda images: images[[1, 0]], "same picture"),
    ],
    ids=["blue_first", "transposed", "mirrored", "another picture"],
)
def test_mistake_in_both_images_alike_is_found(
    copy_of: Copy, sound: Path, count: int, change: Callable[[Values], Values], says: str
) -> None:
    store = copy_of("full")
    part = parts_of(store)[0]
    for name in ("pixel_values", "g_pixel_values"):
        images = read_array(part, f"images/{name}")
        # One or two pictures of the five: to name a mistake, every other one is tried as well.
        images[:count] = change(images[:count])
        rewrite(part, f"images/{name}", images)
    findings = found_only_by_source(store, sound / "full" / "coco")
    assert {finding.check for finding in findings} == {"source-differs"}
    assert {finding.row for finding in findings} == set(range(count))
    assert any(says in finding.found for finding in findings)


def test_one_level_of_one_value_is_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("full")
    part = parts_of(store)[0]
    images = read_array(part, "images/pixel_values")
    images[2, 1, 300, 7] ^= 1
    rewrite(part, "images/pixel_values", images)
    (finding,) = found_only_by_source(store, sound / "full" / "coco")
    assert (finding.array, finding.row, finding.key) == ("images/pixel_values", 2, "coco/3")


def test_masks_transposed_alike_are_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("full")
    # 301 x 299 is as good as square, so its area tells nothing.
    part = parts_of(store)[0]
    masks = slice(8, 10)

    def change(values: Values) -> Values:
        values = values.copy()
        values[masks] = values[masks].transpose(0, 2, 1)
        return values

    change_masks(part, change, "masks", "prompt_masks")
    findings = found_only_by_source(store, sound / "full" / "coco")
    assert {finding.row for finding in findings if finding.array == "masks/masks"} == {8, 9}


def test_objects_exchanged_with_all_their_columns_are_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("full")
    part = parts_of(store)[0]
    order = [1, 0, *range(2, 10)]
    change_masks(part, lambda values: values[order], "masks", "prompt_masks", "prompt_cells", "area")
    findings = found_only_by_source(store, sound / "full" / "coco")
    assert {finding.row for finding in findings} == {0, 1}
    assert {"masks/masks", "masks/area"} <= {finding.array for finding in findings}


def test_prompt_made_from_the_large_mask_is_found(copy_of: Copy, sound: Path) -> None:
    store, root = copy_of("full"), sound / "full" / "coco"
    part = parts_of(store)[0]
    masks = read_array(part, "masks/masks")
    prompts = np.stack([mask[32::64, 32::64] for mask in masks])
    changed = (prompts != read_array(part, "masks/prompt_masks")).any(axis=(1, 2))
    assert changed.any()
    rewrite(part, "masks/prompt_masks", prompts)
    rewrite(part, "masks/prompt_cells", prompts.sum(axis=(1, 2)).astype(np.int32))
    recount_prompts(part)
    findings = found_only_by_source(store, root)
    rows = {finding.row for finding in findings if finding.array == "masks/prompt_masks"}
    assert rows == set(np.flatnonzero(changed).tolist())


def test_expressions_shifted_by_one_row_are_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("refcoco")
    part = parts_of(store)[0]
    offsets, encoded = (read_array(part, f"expressions/text_{name}") for name in ("offsets", "bytes"))
    lengths = np.diff(offsets)
    rewrite(part, "expressions/text_offsets", np.cumsum([0, lengths[-1], *lengths[:-1]], dtype=np.int64))
    rewrite(part, "expressions/text_bytes", np.roll(encoded, lengths[-1]))
    findings = found_only_by_source(store, sound / "refcoco")
    assert findings
    assert all("its expressions are" in finding.found for finding in findings)


def test_other_category_is_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("refcoco")
    part = parts_of(store)[0]
    names = read_array(part, "masks/category_bytes")
    names[0] ^= 1
    rewrite(part, "masks/category_bytes", names)
    (finding,) = found_only_by_source(store, sound / "refcoco")
    assert (finding.array, finding.row, finding.expected) == ("masks/category", 0, "'person'")


def test_pair_of_other_frames_is_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("sav")
    part = parts_of(store)[0]
    samples = read_array(part, "samples/mask")
    rewrite(part, "samples/mask", samples[::-1])
    findings = found_only_by_source(store, sound / "sav")
    assert any("samples" in finding.found for finding in findings)


def test_row_that_is_missing_is_found(copy_of: Copy, sound: Path) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    image = read_array(part, "masks/image")
    image[1] = 1
    rewrite(part, "masks/image", image)
    findings = verify_store(store, VerifyOptions(source=sound / "coco")).findings
    assert "rows" in {finding.check for finding in findings}


def test_store_of_other_annotations_is_refused(copy_of: Copy, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    content = '{"images": [], "annotations": []}'
    (tmp_path / "annotations" / "instances_train2017.json").write_text(content)
    with pytest.raises(SourceError, match="not the dataset"):
        verify_store(copy_of("coco"), VerifyOptions(source=tmp_path))


def test_scenes_are_chosen_evenly_with_both_ends() -> None:
    assert choose_scenes(5, None) == choose_scenes(5, 64) == [0, 1, 2, 3, 4]
    assert choose_scenes(101, 5) == [0, 25, 50, 75, 100]
    assert choose_scenes(10, 1) == [0]
    assert choose_scenes(0, 4) == []


def squashed(mask: NDArray[np.bool_], size: int, rule: MaskFilter) -> NDArray[np.uint8]:
    over = ImageView(size=(size, size))
    return remake_view(mask, MaskView(over="", size=(size, size), filter=rule), over, mask.shape)


def grids() -> Iterator[tuple[NDArray[np.bool_], int]]:
    random = np.random.default_rng(3)
    for height, width, size in ((1, 1, 4), (7, 5, 16), (33, 100, 16), (250, 130, 16)):
        yield random.random((height, width)) < 0.5, size


@pytest.mark.parametrize(("mask", "size"), list(grids()))
def test_slow_masks_are_those_of_torch_and_of_exact_areas(mask: NDArray[np.bool_], size: int) -> None:
    torch = pytest.importorskip("torch")
    plane = torch.from_numpy(mask.astype(np.float32))[None, None]
    wanted = torch.nn.functional.interpolate(plane, (size, size), mode="nearest")[0, 0].numpy()
    assert np.array_equal(squashed(mask, size, "torch-nearest"), wanted)
    # Each pixel repeated size x size times: a cell then is whole pixels of the large picture.
    large = np.repeat(np.repeat(mask, size, axis=0), size, axis=1)
    height, width = mask.shape
    covered = large.reshape(size, height, size, width).sum(axis=(1, 3))
    assert np.array_equal(squashed(mask, size, "cover"), 2 * covered >= height * width)


def test_cover_sets_the_most_covered_cell_where_none_is_half_covered() -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[21, 9:11] = mask[50, 50] = True
    assert np.argwhere(squashed(mask, 16, "cover")).tolist() == [[5, 2]]


def test_slow_image_is_pillows(tmp_path: Path) -> None:
    picture = Image.effect_noise((70, 41), 80).convert("RGB")
    picture.save(tmp_path / "a.png")
    decoded = decode_picture(tmp_path, "a.png", (41, 70))
    assert decoded is not None
    assert np.array_equal(decoded, np.asarray(picture))
    wanted = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    view = ImageView(size=(32, 32), filter="bicubic")
    assert np.array_equal(remake_image(decoded, view, view_axes(view, 41, 70)), wanted)
