from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from miniature.shapes import ellipse_of, picture_of
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.loader.format.recipe import ImageFilter, ImageView, MaskFilter, MaskView
from resizeonce.preprocess.decode.images import decode_image
from resizeonce.preprocess.decode.segmentation import Rle, parse_rle
from resizeonce.preprocess.tensors import transforms
from resizeonce.preprocess.tensors.nearest import pillow_positions
from resizeonce.preprocess.tensors.transforms import normalize_image

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


IMAGENET = ImageView(size=(448, 448))


def as_rle(mask: np.ndarray) -> Rle:
    return parse_rle(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


def resize_image(image: np.ndarray, size: int, image_filter: ImageFilter) -> np.ndarray:
    return transforms.resize_image(image, ImageView(size=(size, size), filter=image_filter))


def resize_mask(mask: Rle, size: int, mask_filter: MaskFilter) -> np.ndarray:
    """Squash a mask to a square."""
    view = MaskView(over="pixel_values", size=(size, size), filter=mask_filter)
    return transforms.resize_mask(mask, view, ImageView(size=(448, 448)), mask.size)


# ---- images


@pytest.mark.parametrize("image_filter", get_args(ImageFilter))
@pytest.mark.parametrize("shape", [(480, 640), (37, 61), (1, 1), (1, 900), (448, 448), (1500, 7)])
@pytest.mark.parametrize("size", [1, 448])
def test_image_is_what_pillow_resizes(image_filter: ImageFilter, shape: tuple[int, int], size: int) -> None:
    image = picture_of(*shape, 4)
    resized = resize_image(image, size, image_filter)
    pillow = {
        "nearest": Image.Resampling.NEAREST,
        "box": Image.Resampling.BOX,
        "bilinear": Image.Resampling.BILINEAR,
        "hamming": Image.Resampling.HAMMING,
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
    normalize_image(image.transpose(2, 0, 1), IMAGENET)


def test_normalizing_has_the_bits_of_torchvision() -> None:
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    normalized = normalize_image(levels, IMAGENET)
    # The operations of torchvision's ToTensor and Normalize, in their order.
    mean = torch.tensor((0.485, 0.456, 0.406), dtype=torch.float32)[:, None, None]
    std = torch.tensor((0.229, 0.224, 0.225), dtype=torch.float32)[:, None, None]
    expected = torch.from_numpy(levels.copy()).to(torch.float32).div(255).sub_(mean).div_(std)
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(normalized.view(np.uint32), expected.numpy().view(np.uint32), strict=True)
    assert (normalized.min(), normalized.max()) == pytest.approx((-2.1179, 2.64), abs=1e-4)


def test_normalizing_as_sam_writes_it_has_other_bits_than_in_parts_of_255() -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    normalized = normalize_image(levels, ImageView(size=(1, 256), scale=1, mean=mean, std=std))
    # dvlab-research/LISA, utils/dataset.py: (x - pixel_mean) / pixel_std.
    shift, spread = (torch.tensor(numbers, dtype=torch.float32)[:, None, None] for numbers in (mean, std))
    expected = (torch.from_numpy(levels.copy()) - shift) / spread
    np.testing.assert_array_equal(normalized.view(np.uint32), expected.numpy().view(np.uint32))
    assert np.count_nonzero(normalized != normalize_image(levels, IMAGENET)) == 483


def test_what_is_padded_is_exactly_0_once_normalized() -> None:
    view = ImageView(size=(6, 5), fit="pad", mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    resized = transforms.resize_image(np.full((6, 3, 3), 51, np.uint8), view)
    normalized = normalize_image(resized, view, (6, 3))
    assert (normalized[:, :, 3:] == 0).all()
    assert np.allclose(normalized[:, :, :3], [[[0.2]], [[0.0]], [[-0.2]]], atol=1e-6)


def test_normalizing_keeps_channels_apart() -> None:
    image = np.zeros((3, 2, 2), np.uint8)
    image[1] = 255
    low, high, _ = normalize_image(image, IMAGENET)
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


def torch_positions(length: int, size: int) -> np.ndarray:
    """Which of a row's pixels `torch-nearest` takes, told by marking them one bit of their number after the other."""
    positions = np.zeros(size, int)
    for bit in range(length.bit_length()):
        marked = (np.arange(length) >> bit & 1).astype(bool)[None]
        view = MaskView(over="pixel_values", size=(1, size), filter="torch-nearest")
        row = transforms.resize_mask(Rle.of_array(marked), view, ImageView(size=(1, 1)), (1, length))
        positions |= row[0].astype(int) << bit
    return positions


def test_torch_positions_are_the_pixels_that_torch_takes() -> None:
    for length in LENGTHS[::4]:
        ramp = torch.arange(length, dtype=torch.float32)[None, None]
        for size in SIZES:
            taken = torch.nn.functional.interpolate(ramp, size=size, mode="nearest")[0, 0]
            np.testing.assert_array_equal(
                torch_positions(length, size), taken.numpy(), err_msg=f"{length} -> {size}"
            )


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
        for segmentation in (as_rle(mask), Rle.of_array(mask)):
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
        for segmentation in (as_rle(mask), Rle.of_array(mask)):
            np.testing.assert_array_equal(
                resize_mask(segmentation, size, "torch-nearest"), expected.numpy() == 1
            )


def resize_by_hand(rows: list[str], size: int) -> list[str]:
    """`cover` on a mask drawn with # and ., drawn in the same way."""
    mask = np.array([[character == "#" for character in row] for row in rows])
    covered = resize_mask(Rle.of_array(mask), size, "cover")
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
    for mask_filter in get_args(MaskFilter):
        for wrap in (as_rle, Rle.of_array):
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
    for segmentation in (as_rle(mask), Rle.of_array(mask)):
        np.testing.assert_array_equal(resize_mask(segmentation, size, "cover"), expected)


def test_cover_of_whole_pixels_is_a_mean() -> None:
    mask = ellipse_of(480, 640, 8)
    expected = mask.reshape(16, 30, 16, 40).mean(axis=(1, 3)) >= 0.5
    np.testing.assert_array_equal(resize_mask(as_rle(mask), 16, "cover"), expected)


def interpolate(mask: np.ndarray, size: tuple[int, int], dtype: torch.dtype = torch.float64) -> np.ndarray:
    tensor = torch.from_numpy(mask)[None, None].to(dtype)
    return torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=True)[0, 0].numpy()


# Of a view of one column torch reads the wrong column sums, so there the filter's own values count.
@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)),
    st.tuples(st.integers(1, 40), st.integers(2, 40)),
)
def test_half_is_torchs_antialiased_bilinear_above_one_half(mask: np.ndarray, size: tuple[int, int]) -> None:
    view = MaskView(over="pixel_values", size=size, filter="half")
    resized = transforms.resize_mask(Rle.of_array(mask), view, IMAGENET, mask.shape)
    np.testing.assert_array_equal(resized, interpolate(mask, size) > 0.5)


@pytest.mark.parametrize("shape", [(480, 640), (848, 480), (37, 61), (1024, 1024), (31, 900)])
@pytest.mark.parametrize("size", [16, 512, 1024])
def test_half_is_what_sam2_makes_of_an_object(shape: tuple[int, int], size: int) -> None:
    for seed in range(3):
        mask = ellipse_of(*shape, seed)
        # facebookresearch/sam2, training/dataset/transforms.py: torchvision's resize of a uint8 tensor, which is rounded.
        expected = interpolate(mask, (size, size), torch.float32).round() == 1
        for segmentation in (as_rle(mask), Rle.of_array(mask)):
            np.testing.assert_array_equal(resize_mask(segmentation, size, "half"), expected)


def test_touch_is_any_pixel_that_a_cell_has_a_share_of() -> None:
    # Cells are 1.5 pixels: the middle one belongs to both, the outer ones to one each.
    for row, expected in (("#..", "#."), (".#.", "##"), ("..#", ".#")):
        mask = np.array([[character == "#" for character in row]])
        cells = resize_mask(Rle.of_array(mask), 2, "touch")
        assert ["".join("#" if cell else "." for cell in cells[0])] * 2 == [expected, expected]
        assert np.array_equal(cells[0], cells[1])


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7)), st.integers(1, 5))
def test_touch_equals_exact_fractions(mask: np.ndarray, size: int) -> None:
    height, width = mask.shape
    expected = np.zeros((size, size), bool)
    for y, x in np.argwhere(mask).tolist():
        for i in range(size):
            for j in range(size):
                expected[i, j] |= (
                    i * height < (y + 1) * size and y * size < (i + 1) * height
                    and j * width < (x + 1) * size and x * size < (j + 1) * width
                )  # fmt: skip
    np.testing.assert_array_equal(resize_mask(as_rle(mask), size, "touch"), expected)


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
        normalized = normalize_image(resize_image(image, 448, "bilinear"), IMAGENET)
        np.testing.assert_array_equal(normalized, expected.numpy())
