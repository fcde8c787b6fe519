from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from miniature.shapes import ellipse_of, picture_of
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.preprocess.decode.images import decode_image
from resizeonce.preprocess.decode.segmentation import Bitmap, Rle, parse_rle
from resizeonce.preprocess.tensors.transforms import (
    ImageFilter,
    normalize_image,
    pillow_positions,
    resize_image,
    resize_mask,
    torch_positions,
)

# Small lengths without gaps, then primes, powers of two and their neighbours, and what datasets have.
LENGTHS = [
    *range(1, 130),
    223,
    256,
    257,
    333,
    374,
    375,
    424,
    426,
    427,
    428,
    448,
    457,
    480,
    499,
    500,
    511,
    512,
    513,
]
LENGTHS += [
    601,
    612,
    640,
    683,
    720,
    768,
    848,
    853,
    854,
    960,
    997,
    1023,
    1024,
    1025,
    1066,
    1280,
    1500,
    1600,
    1920,
]
LENGTHS += [2000, 2047, 2048, 2049, 2060, 2250, 2400, 2999, 3000, 3001, 3840, 4093, 4096, 4099, 4999, 5000]
SIZES = [1, 2, 3, 5, 7, 14, 16, 17, 24, 31, 32, 33, 48, 64, 96, 224, 256, 336, 448, 449, 512, 997, 1024]


def as_rle(mask: np.ndarray) -> Rle:
    return parse_rle(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


# ---- images


@pytest.mark.parametrize("image_filter", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("shape", [(480, 640), (37, 61), (1, 1), (1, 900), (448, 448), (1500, 7)])
@pytest.mark.parametrize("size", [1, 448, 1024])
def test_image_is_what_pillow_resizes(image_filter: ImageFilter, shape: tuple[int, int], size: int) -> None:
    image = picture_of(*shape, 4)
    resized = resize_image(image, size, image_filter)
    pillow = {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
    }[image_filter]
    expected = np.asarray(Image.fromarray(image).resize((size, size), pillow))
    assert (resized.shape, resized.dtype) == ((3, size, size), np.uint8)
    assert resized.flags.c_contiguous
    np.testing.assert_array_equal(resized.transpose(1, 2, 0), expected)


def test_image_stays_as_it_was() -> None:
    image = picture_of(37, 61, 5)
    image.setflags(write=False)
    resize_image(image, 448, "bilinear")
    normalize_image(image.transpose(2, 0, 1))


def test_normalizing_has_the_bits_of_torchvision() -> None:
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    normalized = normalize_image(levels)
    # The operations of torchvision's ToTensor and Normalize, in their order.
    mean = torch.tensor((0.485, 0.456, 0.406), dtype=torch.float32)[:, None, None]
    std = torch.tensor((0.229, 0.224, 0.225), dtype=torch.float32)[:, None, None]
    expected = torch.from_numpy(levels.copy()).to(torch.float32).div(255).sub_(mean).div_(std)
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(normalized.view(np.uint32), expected.numpy().view(np.uint32), strict=True)
    assert (normalized.min(), normalized.max()) == pytest.approx((-2.1179, 2.64), abs=1e-4)


def test_normalizing_keeps_channels_apart() -> None:
    image = np.zeros((3, 2, 2), np.uint8)
    image[1] = 255
    low, high, _ = normalize_image(image)
    assert float(low[0, 0]) == pytest.approx(-0.485 / 0.229)
    assert float(high[0, 0]) == pytest.approx((1 - 0.456) / 0.224)


# ---- which pixel nearest takes


def test_pillow_positions_are_the_pixels_that_pillow_takes() -> None:
    num_pairs = 0
    for length in LENGTHS:
        # 32-bit pixels that hold their own place.
        ramp = Image.fromarray(np.arange(length, dtype=np.int32)[None, :])
        assert ramp.mode == "I"
        for size in SIZES:
            taken = np.asarray(ramp.resize((size, 1), Image.Resampling.NEAREST))[0]
            np.testing.assert_array_equal(
                pillow_positions(length, size), taken, err_msg=f"{length} -> {size}"
            )
            num_pairs += 1
    assert num_pairs > 3000


def test_pillow_positions_hold_down_the_columns_too() -> None:
    for length in LENGTHS[::3]:
        ramp = Image.fromarray(np.arange(length, dtype=np.int32)[:, None])
        for size in (16, 31, 448, 1024):
            taken = np.asarray(ramp.resize((1, size), Image.Resampling.NEAREST))[:, 0]
            np.testing.assert_array_equal(
                pillow_positions(length, size), taken, err_msg=f"{length} -> {size}"
            )


def test_torch_positions_are_the_pixels_that_torch_takes() -> None:
    num_pairs = 0
    for length in LENGTHS:
        ramp = torch.arange(length, dtype=torch.float32)[None, None]
        for size in SIZES:
            taken = torch.nn.functional.interpolate(ramp, size=size, mode="nearest")[0, 0]
            np.testing.assert_array_equal(
                torch_positions(length, size), taken.numpy(), err_msg=f"{length} -> {size}"
            )
            num_pairs += 1
    assert num_pairs > 3000


def test_the_two_nearest_differ() -> None:
    # 64 pixels in 16 cells: the pixel under the centre of the first cell (right of the middle), and its first pixel.
    assert pillow_positions(64, 16)[:3].tolist() == [2, 6, 10]
    assert torch_positions(64, 16)[:3].tolist() == [0, 4, 8]


# ---- masks


@pytest.mark.parametrize("shape", [(480, 640), (37, 61), (848, 480), (1, 1), (3, 2000), (1024, 1024)])
@pytest.mark.parametrize("size", [16, 448, 1024])
def test_mask_is_what_pillow_resizes(shape: tuple[int, int], size: int) -> None:
    for seed in range(3):
        mask = ellipse_of(*shape, seed)
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        assert picture.mode == "L"
        expected = np.asarray(picture.resize((size, size), Image.Resampling.NEAREST)) == 255
        for segmentation in (as_rle(mask), Bitmap(mask)):
            resized = resize_mask(segmentation, size, "pillow-nearest")
            assert (resized.dtype, resized.flags.c_contiguous) == (bool, True)
            np.testing.assert_array_equal(resized, expected)


@pytest.mark.parametrize("shape", [(480, 640), (37, 61), (848, 480), (1, 1), (3, 2000), (1024, 1024)])
@pytest.mark.parametrize("size", [16, 448, 1024])
def test_mask_is_what_torch_resizes(shape: tuple[int, int], size: int) -> None:
    for seed in range(3):
        mask = ellipse_of(*shape, seed)
        tensor = torch.from_numpy(mask.astype(np.float32))[None, None]
        expected = torch.nn.functional.interpolate(tensor, size=(size, size), mode="nearest")[0, 0]
        for segmentation in (as_rle(mask), Bitmap(mask)):
            np.testing.assert_array_equal(
                resize_mask(segmentation, size, "torch-nearest"), expected.numpy() == 1
            )


def resize_by_hand(rows: list[str], size: int) -> list[str]:
    """`cover` on a mask drawn with # and ., drawn in the same way."""
    mask = np.array([[character == "#" for character in row] for row in rows])
    covered = resize_mask(Bitmap(mask), size, "cover")
    np.testing.assert_array_equal(covered, resize_mask(as_rle(mask), size, "cover"))
    return ["".join("#" if cell else "." for cell in row) for row in covered]


def test_cell_is_set_when_at_least_half_of_it_is_covered() -> None:
    drawing = [
        "##......",
        "..#.....",
        "#...##..",
        "....#...",
    ]
    # Cells are 2 high and 4 wide: 3 of 8, 0; 1, 3 of 8: none reaches 4, so the most covered one is set, the first of two.
    assert resize_by_hand(drawing, 2) == ["#.", ".."]
    # One pixel more makes half of the lower right cell; then no other one is set out of mercy.
    assert resize_by_hand([*drawing[:3], "....##.."], 2) == ["..", ".#"]


def test_cell_border_through_a_pixel_counts_its_share() -> None:
    # 3 pixels in 2 cells of 1.5: the middle pixel gives a third of its cell to each.
    assert resize_by_hand(["#.."], 2) == ["#.", "#."]
    assert resize_by_hand([".#."], 2) == ["#.", ".."]
    assert resize_by_hand([".##"], 2) == [".#", ".#"]


def test_object_smaller_than_a_cell_never_vanishes() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mask = np.zeros((480, 640), bool)
        row, column = rng.integers(0, 480), rng.integers(0, 640)
        mask[row, column] = True
        cells = resize_mask(as_rle(mask), 16, "cover")
        assert np.argwhere(cells).tolist() == [[row // 30, column // 40]]


@pytest.mark.parametrize("size", [1, 16, 1024])
def test_empty_and_full_stay_what_they_are(size: int) -> None:
    empty, full = np.zeros((37, 61), bool), np.ones((37, 61), bool)
    for mask_filter in ("pillow-nearest", "torch-nearest", "cover"):
        for wrap in (as_rle, Bitmap):
            assert not resize_mask(wrap(empty), size, mask_filter).any()
            assert resize_mask(wrap(full), size, mask_filter).all()


def cover_slowly(mask: np.ndarray, size: int) -> np.ndarray:
    """The same rule in exact fractions, pixel by pixel."""
    height, width = mask.shape

    def share(cell: int, pixel: int, length: int) -> Fraction:
        """How much of a cell lies on a pixel, 1 for all of it."""
        step = Fraction(length, size)
        overlap = min((cell + 1) * step, pixel + 1) - max(cell * step, pixel)
        return max(overlap, Fraction(0)) / step

    covered = [
        [
            sum(
                share(i, y, height) * share(j, x, width)
                for y, x in np.argwhere(mask).tolist()
            )
            for j in range(size)
        ]
        for i in range(size)
    ]  # fmt: skip
    cells = np.array([[share >= Fraction(1, 2) for share in row] for row in covered])
    flat = [share for row in covered for share in row]
    if not cells.any() and max(flat) > 0:
        cells.flat[flat.index(max(flat))] = True
    return cells


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)), st.integers(1, 5))
def test_cover_equals_exact_fractions(mask: np.ndarray, size: int) -> None:
    expected = cover_slowly(mask, size)
    for segmentation in (as_rle(mask), Bitmap(mask)):
        np.testing.assert_array_equal(resize_mask(segmentation, size, "cover"), expected)


def test_cover_of_whole_pixels_is_a_mean() -> None:
    mask = ellipse_of(480, 640, 8)
    expected = mask.reshape(16, 30, 16, 40).mean(axis=(1, 3)) >= 0.5
    np.testing.assert_array_equal(resize_mask(as_rle(mask), 16, "cover"), expected)


# ---- the real samples


def test_real_pictures_are_what_pillow_and_torch_make_of_them(shared_data: Path) -> None:
    mean = torch.tensor((0.485, 0.456, 0.406))[:, None, None]
    std = torch.tensor((0.229, 0.224, 0.225))[:, None, None]
    paths = sorted((shared_data / "coco" / "val2017").glob("*.jpg"))[:4]
    assert len(paths) == 4
    for path in paths:
        image = decode_image(path.read_bytes()).image
        small = Image.open(path).convert("RGB").resize((448, 448), Image.Resampling.BILINEAR)
        tensor = torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous().float().div(255)
        expected = tensor.sub_(mean).div_(std)
        normalized = normalize_image(resize_image(image, 448, "bilinear"))
        np.testing.assert_array_equal(normalized, expected.numpy())
