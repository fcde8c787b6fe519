"""The second opinion against Pillow and torch, each fit written out step by step."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader.format.geometry import view_axes
from resizeonce.loader.format.recipe import Arithmetic, ImageFilter, ImageView, MaskFilter, MaskView
from resizeonce.preprocess.verify.remake import (
    INSTALLED,
    arithmetic_of,
    normalized,
    remake_image,
    remake_view,
)

Resize = Callable[[NDArray[Any], int, int], NDArray[Any]]
"""Of an image or mask to so many rows and columns."""

SIZES = ((33, 50), (70, 41), (7, 3), (40, 40), (120, 100))
SIDE = 30


def fit(image: NDArray[Any], how: str, resize: Resize, beside: Any) -> NDArray[Any]:
    """Return a view of 30 x 30 of [H, W, ...]; `beside` is what lies around it."""
    height, width = image.shape[:2]
    if how == "pad":
        scale = SIDE * 1.0 / max(height, width)
        inner = resize(image, int(height * scale + 0.5), int(width * scale + 0.5))
        made = np.full((SIDE, SIDE, *image.shape[2:]), beside, image.dtype)
        made[: inner.shape[0], : inner.shape[1]] = inner
        return made
    if how == "crop":
        short = min(height, width)
        resized = resize(image, int(SIDE * height / short), int(SIDE * width / short))
        top, left = ((side - SIDE) // 2 for side in resized.shape[:2])
        return resized[top : top + SIDE, left : left + SIDE]
    if how == "pad-first":
        side = max(height, width)
        square = np.full((side, side, *image.shape[2:]), beside, image.dtype)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = image
        image = square
    return resize(image, SIDE, SIDE)


def by_pillow(name: str) -> Resize:
    def resize(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling[name.upper()]))

    return resize


def by_torch(rule: MaskFilter) -> Resize:
    def resize(mask: NDArray[Any], height: int, width: int) -> NDArray[Any]:
        plane = torch.from_numpy(mask)[None, None]
        if rule == "torch-nearest":
            return torch.nn.functional.interpolate(plane.float(), (height, width), mode="nearest")[
                0, 0
            ].numpy()
        weighed = torch.nn.functional.interpolate(
            plane.double(), (height, width), mode="bilinear", antialias=True
        )
        return np.array(weighed[0, 0].numpy() > 0.5, np.uint8)

    return resize


def by_touch(mask: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    # Each pixel repeated so often that a cell is whole ones.
    large = np.repeat(np.repeat(mask, height, axis=0), width, axis=1)
    return large.reshape(height, mask.shape[0], width, mask.shape[1]).max(axis=(1, 3))


def fits() -> Iterator[tuple[str, tuple[int, int]]]:
    for how in ("squash", "pad", "pad-first", "crop"):
        for size in SIZES:
            yield how, size


@pytest.mark.parametrize(("how", "size"), list(fits()))
def test_images_are_pillows_in_each_fit_and_filter(how: Any, size: tuple[int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    for name in get_args(ImageFilter):
        view = ImageView(size=(SIDE, SIDE), fit=how, filter=name, values="uint8", pad=(9, 8, 7))
        made = remake_image(image, view, view_axes(view, *size))
        assert np.array_equal(made.transpose(1, 2, 0), fit(image, how, by_pillow(name), (9, 8, 7)))


@pytest.mark.parametrize(("how", "size"), list(fits()))
def test_masks_are_pillows_and_torchs_in_each_fit(how: Any, size: tuple[int, int]) -> None:
    over = ImageView(size=(SIDE, SIDE), fit=how)
    for share in (0.05, 0.5, 0.9):
        mask = np.random.default_rng(5).random(size) < share
        for rule, resize in (
            ("pillow-nearest", by_pillow("nearest")),
            ("torch-nearest", by_torch("torch-nearest")),
            ("half", by_torch("half")),
            ("touch", by_touch),
        ):
            view = MaskView(over="", size=(SIDE, SIDE), filter=rule)
            wanted = fit(mask.astype(np.uint8), how, resize, 0)
            assert np.array_equal(remake_view(mask, view, over, size), wanted), rule


def test_a_masks_own_grid_over_a_padded_view_by_hand() -> None:
    # A picture of 2 x 4 in a view of 8 x 8, which shows it in the upper half; a grid of 4 x 4 has a pixel in each cell of it.
    over, mask = ImageView(size=(8, 8), fit="pad"), np.array([[1, 0, 0, 1], [0, 1, 0, 0]], np.bool_)
    for rule in get_args(MaskFilter):
        made = remake_view(mask, MaskView(over="", size=(4, 4), filter=rule), over, (2, 4))
        assert made.tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0] * 4, [0] * 4], rule


@pytest.mark.parametrize("arithmetic", get_args(Arithmetic))
def test_the_side_that_goes_first_is_that_of_the_arithmetic(arithmetic: Arithmetic) -> None:
    view = ImageView(size=(SIDE, SIDE), filter="bicubic")
    image = np.random.default_rng(1).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    made = remake_image(image, view, view_axes(view, 300, 40), arithmetic)
    between = (40, SIDE) if arithmetic == "pillow-13" else (SIDE, 300)
    picture = Image.fromarray(image).resize(between, Image.Resampling.BICUBIC)
    wanted = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    assert np.array_equal(made.transpose(1, 2, 0), wanted)


def test_versions_of_pillow_have_one_of_two_arithmetics() -> None:
    assert [arithmetic_of(version) for version in ("11.3.0", "12.2.1", "13.0.0")] == [
        "pillow-12",
        "pillow-12",
        "pillow-13",
    ]
    assert INSTALLED in get_args(Arithmetic)


def test_padding_is_zero_after_normalising_and_the_picture_is_as_torchvision_has_it() -> None:
    view = ImageView(size=(8, 8), fit="pad", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0), scale=1)
    levels = np.zeros((3, 8, 8), np.uint8)
    levels[:, :4] = 50
    made = normalized(levels, view, view_axes(view, 2, 4))
    assert made[:, 0, 0].tolist() == [20.0, 7.5, 2.5]
    assert not made[:, 4:].any()
