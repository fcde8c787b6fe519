"""The fast resize against the installed Pillow, bit for bit; `benchmarks/kernels.py --prove` runs more of the same."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import at_level, levels_of
from numpy.typing import NDArray
from PIL import Image

from resizeonce.preprocess.kernels.core import CORE
from resizeonce.preprocess.tensors import resample
from resizeonce.preprocess.tensors.resample import matches_pillow, resize_image, resize_image_twice
from resizeonce.preprocess.tensors.resample_weights import make_axis

FILTERS = ("bilinear", "bicubic", "lanczos")
SIDES = st.integers(1, 20) | st.integers(1, 400)


def resize_with_pillow(image: NDArray[np.uint8], size: int, name: str) -> NDArray[np.uint8]:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling[name.upper()])
    return np.asarray(resized).transpose(2, 0, 1)


@pytest.fixture(params=levels_of(CORE))
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    with at_level(CORE, request.param):
        yield


def draw(height: int, width: int, content: str, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if content == "extremes":
        return np.where(noise < 128, 0, 255).astype(np.uint8)
    if content == "checkerboard":
        noise[:] = (np.indices((height, width)).sum(0) % 2 * 255)[..., None]
    return noise


@pytest.mark.usefixtures("level")
@settings(max_examples=200, deadline=None)
@given(
    SIDES,
    SIDES,
    SIDES,
    st.sampled_from(FILTERS),
    st.sampled_from(["noise", "extremes", "checkerboard"]),
    st.integers(0, 999),
)
def test_any_resize_is_bit_for_bit_pillows(
    height: int, width: int, size: int, name: str, content: str, seed: int
) -> None:
    image = draw(height, width, content, seed)
    assert np.array_equal(resize_image(image, size, name), resize_with_pillow(image, size, name))


@pytest.mark.usefixtures("level")
@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.tuples(SIDES, SIDES), st.tuples(*[st.sampled_from(FILTERS)] * 2))
def test_two_sizes_at_once_are_the_two_sizes_alone(
    height: int, width: int, sizes: tuple[int, int], names: tuple[str, str]
) -> None:
    image = draw(height, width, "extremes")
    for result, size, name in zip(resize_image_twice(image, sizes, names), sizes, names, strict=True):
        assert np.array_equal(result, resize_with_pillow(image, size, name))


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1, 1, 448),
        (1, 3000, 16),
        (3000, 1, 16),
        (5000, 3, 1),
        (448, 448, 448),
        (448, 300, 448),
        (300, 448, 448),
        (17, 1000, 65),
        (2250, 1500, 1024),  # Pillow 13 goes vertically first here, Pillow 12 does not
        (640, 480, 448),
        (1500, 2250, 448),
        (480, 640, 1024),
    ],
)
def test_sizes_at_the_edges_of_the_rules(height: int, width: int, size: int, name: str) -> None:
    image = draw(height, width, "extremes")
    assert np.array_equal(resize_image(image, size, name), resize_with_pillow(image, size, name))


@pytest.mark.parametrize("excess", [-1, 0, 1, 2])
def test_order_of_passes_changes_where_pillow_changes_it(excess: int) -> None:
    size, width = 50, 75
    # The height shrinks by twice what the width does.
    image = draw(size + 2 * (width - size) + excess, width, "noise")
    expected = resize_with_pillow(image, size, "bicubic")
    assert np.array_equal(resize_image(image, size, "bicubic"), expected)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "rocket"])
def test_photographs(photo: str, name: str) -> None:
    image = getattr(pytest.importorskip("skimage.data"), photo)()
    for result, size in zip(resize_image_twice(image, (448, 1024), (name, name)), (448, 1024), strict=True):
        assert np.array_equal(result, resize_with_pillow(image, size, name))


def test_views_and_read_only_images_are_taken() -> None:
    image = draw(60, 50, "noise")[::2, ::-1]
    image.setflags(write=False)
    expected = resize_with_pillow(np.ascontiguousarray(image), 20, "bilinear")
    assert np.array_equal(resize_image(image, 20, "bilinear"), expected)


def test_out_is_filled_and_returned() -> None:
    batch = np.zeros((2, 3, 20, 20), np.uint8)
    image = draw(60, 50, "noise")
    assert resize_image(image, 20, "bilinear", batch[1]).base is batch
    assert np.array_equal(batch[1], resize_with_pillow(image, 20, "bilinear"))
    assert not batch[0].any()


def test_wrong_arrays_are_refused() -> None:
    image = draw(8, 8, "noise")
    with pytest.raises(ValueError, match="out must be"):
        resize_image(image, 20, "bilinear", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(ValueError, match="image must be"):
        resize_image(image[..., 0], 20, "bilinear")
    with pytest.raises(ValueError, match="image must be"):
        resize_image(image.astype(np.float32), 20, "bilinear")


def test_sides_too_long_for_the_kernel_go_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "MAX_WIDTH", 40)
    image = draw(30, 41, "noise")
    for result in resize_image_twice(image, (9, 50), ("bilinear", "lanczos")):
        size, name = (9, "bilinear") if len(result[0]) == 9 else (50, "lanczos")
        assert np.array_equal(result, resize_with_pillow(image, size, name))


def test_without_a_compiled_core_pillow_makes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = draw(81, 64, "noise")
    expected = resize_image_twice(image, (48, 70), ("bicubic", "bilinear"))
    monkeypatch.setattr(resample, "CORE", None)
    for result, wanted in zip(
        resize_image_twice(image, (48, 70), ("bicubic", "bilinear")), expected, strict=True
    ):
        assert np.array_equal(result, wanted)


def test_weights_never_leave_the_image_and_add_up_to_one() -> None:
    for length, size in ((1, 5), (7, 3), (3, 7), (1000, 9), (12, 12)):
        for name in FILTERS:
            axis = make_axis(length, size, name)
            assert axis.first[0] >= 0
            assert (np.diff(axis.first) >= 0).all()
            assert axis.first[-1] + axis.weights.shape[1] <= length
            assert np.allclose(axis.weights.sum(axis=1), 1 << 22, atol=axis.weights.shape[1])


@pytest.mark.usefixtures("level")
def test_installed_pillow_is_matched() -> None:
    assert matches_pillow.__wrapped__()


@pytest.mark.usefixtures("level")
def test_mismatch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "VERTICAL_FIRST", not resample.VERTICAL_FIRST)
    assert not matches_pillow.__wrapped__()
