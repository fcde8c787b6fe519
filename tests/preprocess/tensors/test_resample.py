"""The exact engine's images against the installed Pillow, bit for bit; `tests/fuzz/fuzz_kernels.py` runs more of the same."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from levels import at_level, levels_of
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader.format.recipe import Arithmetic, Fit, ImageFilter, ImageView
from resizeonce.preprocess.kernels.core import CORE
from resizeonce.preprocess.tensors import arithmetic as arithmetics
from resizeonce.preprocess.tensors import resample
from resizeonce.preprocess.tensors.arithmetic import INSTALLED
from resizeonce.preprocess.tensors.resample import matches_pillow
from resizeonce.preprocess.tensors.resample_weights import make_axis

if CORE is None:
    pytest.skip("there is no core here", allow_module_level=True)

FILTERS = get_args(ImageFilter)
ARITHMETICS = get_args(Arithmetic)
SIDES = st.integers(1, 20) | st.integers(1, 300)
COLOUR = (250, 3, 120)


def resize_images(
    image: NDArray[np.uint8], *views: ImageView, arithmetic: Arithmetic | None = None
) -> list[NDArray[np.uint8]]:
    return resample.resize_images(CORE, image, views, arithmetic or INSTALLED)


def squash(size: tuple[int, int], name: ImageFilter) -> ImageView:
    return ImageView(size=size, filter=name)


def resize_with_pillow(
    image: NDArray[np.uint8], size: tuple[int, int], name: str, order: str = ""
) -> NDArray[np.uint8]:
    """Let Pillow resize to (height, width), in its own order, or one axis alone and then the other."""
    how = Image.Resampling[name.upper()]
    picture = Image.fromarray(image)
    if order:
        between = (picture.width, size[0]) if order == "height first" else (size[1], picture.height)
        picture = picture.resize(between, how)
    return np.asarray(picture.resize((size[1], size[0]), how)).transpose(2, 0, 1)


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
    st.tuples(SIDES, SIDES),
    st.sampled_from(FILTERS),
    st.sampled_from(["noise", "extremes", "checkerboard"]),
    st.integers(0, 999),
)
def test_any_resize_is_bit_for_bit_pillows(
    height: int, width: int, size: tuple[int, int], name: ImageFilter, content: str, seed: int
) -> None:
    image = draw(height, width, content, seed)
    (resized,) = resize_images(image, squash(size, name))
    assert np.array_equal(resized, resize_with_pillow(image, size, name))


@pytest.mark.usefixtures("level")
@settings(max_examples=60, deadline=None)
@given(
    SIDES,
    SIDES,
    st.lists(
        st.builds(
            ImageView,
            size=st.tuples(SIDES, SIDES),
            filter=st.sampled_from(FILTERS),
            fit=st.sampled_from(get_args(Fit)),
            values=st.just("uint8"),
            pad=st.just(COLOUR),
        ),
        max_size=5,
    ),
    st.sampled_from(ARITHMETICS),
)
def test_several_views_at_once_are_the_views_alone(
    height: int, width: int, views: list[ImageView], arithmetic: Arithmetic
) -> None:
    image = draw(height, width, "extremes")
    for result, view in zip(resize_images(image, *views, arithmetic=arithmetic), views, strict=True):
        (alone,) = resize_images(image, view, arithmetic=arithmetic)
        assert np.array_equal(result, alone)


@pytest.mark.usefixtures("level")
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1, 1, (448, 448)),
        (1, 3000, (16, 16)),
        (3000, 1, (16, 16)),
        (5000, 3, (1, 1)),
        (448, 448, (448, 448)),
        (448, 300, (448, 448)),
        (300, 448, (448, 300)),
        (17, 1000, (65, 3)),
        (2250, 1500, (1024, 768)),  # Pillow 13 goes vertically first here, Pillow 12 does not
        (640, 480, (448, 448)),
        (1500, 2250, (448, 448)),
        (480, 640, (1024, 1024)),
    ],
)
def test_sizes_at_the_edges_of_the_rules(
    height: int, width: int, size: tuple[int, int], name: ImageFilter
) -> None:
    image = draw(height, width, "extremes")
    (resized,) = resize_images(image, squash(size, name))
    assert np.array_equal(resized, resize_with_pillow(image, size, name))


@pytest.mark.parametrize("excess", [-1, 0, 1, 2])
def test_order_of_passes_changes_where_pillow_changes_it(excess: int) -> None:
    size, width = (50, 50), 75
    # The height shrinks by twice what the width does.
    image = draw(size[0] + 2 * (width - size[1]) + excess, width, "noise")
    (resized,) = resize_images(image, squash(size, "bicubic"))
    assert np.array_equal(resized, resize_with_pillow(image, size, "bicubic"))


@pytest.mark.parametrize(
    ("height", "width", "size", "pillow_12", "pillow_13"),
    [
        # The height shrinks by twice what the width does, and by one more.
        (100, 75, (50, 50), "width first", "width first"),
        (101, 75, (50, 50), "width first", "height first"),
        (60, 40, (50, 45), "width first", "height first"),
        (60, 40, (60, 30), "width first", "width first"),
        (60, 40, (70, 30), "width first", "width first"),
        # Slivers of over 1 : 100, which shrink and do not.
        (200, 2, (9, 10), "width first", "height first"),
        (301, 3, (9, 10), "height first", "height first"),
        (301, 3, (320, 2), "width first", "width first"),
    ],
)
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
def test_either_arithmetic_is_pillow_resizing_one_axis_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    size: tuple[int, int],
    pillow_12: str,
    pillow_13: str,
    name: ImageFilter,
) -> None:
    monkeypatch.setattr(arithmetics, "SLIVERS_VERTICALLY", True)
    image = draw(height, width, "extremes")
    for arithmetic, order in (("pillow-12", pillow_12), ("pillow-13", pillow_13)):
        (resized,) = resize_images(image, squash(size, name), arithmetic=arithmetic)
        assert np.array_equal(resized, resize_with_pillow(image, size, name, order))
    if pillow_12 != pillow_13:
        assert not np.array_equal(
            *(resize_with_pillow(image, size, name, order) for order in (pillow_12, pillow_13))
        )


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES, st.tuples(SIDES, SIDES), st.sampled_from(FILTERS))
def test_up_to_pillow_12_1_the_width_goes_first(
    height: int, width: int, size: tuple[int, int], name: ImageFilter
) -> None:
    image = draw(height, width, "extremes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetics, "SLIVERS_VERTICALLY", False)
        (resized,) = resize_images(image, squash(size, name), arithmetic="pillow-12")
    assert np.array_equal(resized, resize_with_pillow(image, size, name, "width first"))


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("photo", ["astronaut", "chelsea", "rocket"])
def test_photographs(photo: str, name: ImageFilter) -> None:
    image = getattr(pytest.importorskip("skimage.data"), photo)()
    sizes = ((448, 448), (1024, 1024))
    results = resize_images(image, *(squash(size, name) for size in sizes))
    for result, size in zip(results, sizes, strict=True):
        assert np.array_equal(result, resize_with_pillow(image, size, name))


def test_views_and_read_only_images_are_taken() -> None:
    image = draw(60, 50, "noise")[::2, ::-1]
    image.setflags(write=False)
    expected = resize_with_pillow(np.ascontiguousarray(image), (20, 20), "bilinear")
    assert np.array_equal(resize_images(image, squash((20, 20), "bilinear"))[0], expected)


def test_wrong_arrays_are_refused() -> None:
    image = draw(8, 8, "noise")
    for wrong in (image[..., 0], image.astype(np.float32), image[:0]):
        with pytest.raises(ValueError, match="image must be"):
            resize_images(wrong, squash((20, 20), "bilinear"))


@pytest.mark.parametrize("limit", ["MAX_WIDTH", "MAX_WEIGHTS"])
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_sides_too_long_for_the_core_go_to_pillow_in_either_arithmetic(
    monkeypatch: pytest.MonkeyPatch, limit: str, arithmetic: Arithmetic
) -> None:
    image = draw(81, 41, "noise")
    views = [
        ImageView(size=(9, 20), filter="bicubic", fit=fit, pad=COLOUR, values="uint8")
        for fit in get_args(Fit)
    ]
    expected = resize_images(image, *views, arithmetic=arithmetic)
    monkeypatch.setattr(resample, limit, 40)
    for result, wanted in zip(resize_images(image, *views, arithmetic=arithmetic), expected, strict=True):
        assert np.array_equal(result, wanted)


def test_weights_never_leave_the_image_and_add_up_to_one() -> None:
    for length, size in ((1, 5), (7, 3), (3, 7), (1000, 9), (12, 12)):
        for name in FILTERS:
            axis = make_axis(length, size, name)
            assert axis.first[0] >= 0
            assert (np.diff(axis.first) >= 0).all()
            assert axis.first[-1] + axis.weights.shape[1] <= length
            assert np.allclose(axis.weights.sum(axis=1), 1 << 22, atol=axis.weights.shape[1])


@pytest.mark.parametrize("name", FILTERS)
def test_a_part_of_an_axis_weighs_what_the_whole_does(name: ImageFilter) -> None:
    for length, size in ((40, 90), (90, 40), (40, 40)):
        whole, part = make_axis(length, size, name), make_axis(length, size, name, 7, 12)
        for place in range(12):
            weights = []
            for axis, row in ((whole, 7 + place), (part, place)):
                spread = np.zeros(length, np.int64)
                taps = axis.weights.shape[1]
                spread[axis.first[row] : axis.first[row] + taps] = axis.weights[row]
                weights.append(spread)
            assert np.array_equal(*weights)


@pytest.mark.usefixtures("level")
def test_installed_pillow_is_matched() -> None:
    assert matches_pillow(CORE)


@pytest.mark.usefixtures("level")
def test_mismatch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = next(arithmetic for arithmetic in ARITHMETICS if arithmetic != INSTALLED)
    monkeypatch.setattr(resample, "INSTALLED", other)
    assert not matches_pillow(CORE)
