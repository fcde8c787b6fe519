"""Compact images unpacked straight into a batch, at every level, against numpy: the same pixels, or left to it."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from levels import at_level, levels_of
from numpy.typing import NDArray
from rows import assert_guarded, place, rows_of, with_bit_flipped

from resizeonce.loader.format.gradient import pack_gradient, unpack_gradient
from resizeonce.loader.format.recipe import ImageView
from resizeonce.loader.kernels import batch_kernels
from resizeonce.loader.kernels.batch_kernels import norm_of
from resizeonce.loader.kernels.core import CORE, DAMAGED, DONE, LEFT, Action
from resizeonce.preprocess.verify.packed import unpack_image

Image = NDArray[np.uint8]
NORM = norm_of(ImageView(size=(1, 1)))

# What a fixture does is the same for each example.
few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=levels_of(CORE), autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    with at_level(CORE, request.param) as core:
        yield core


def unpack(packed: Image, shape: tuple[int, ...], dtype: Any = np.uint8, offset: int = 0) -> Any:
    """Return what the core makes of a packed image, None where it leaves it; nothing around it may be touched."""
    assert CORE is not None
    out, memory = place((1, *shape), dtype, offset * np.dtype(dtype).itemsize)
    files, spans, _ = rows_of(packed, before=offset)
    action = Action.UNPACK if dtype == np.uint8 else Action.UNPACK_AND_NORMALIZE
    (state,) = CORE.fill_rows(action, files, spans, out, *shape[1:], NORM, None, True)
    assert_guarded(out, memory)
    assert state in (LEFT, DONE)
    return out[0].copy() if state == DONE else None


def normalize(image: Image) -> NDArray[np.float32]:
    scaled = image.astype(np.float32) / np.float32(255)
    return (scaled - NORM[:3, None, None]) / NORM[3:6, None, None]


def draw(height: int, width: int, levels: int, seed: int) -> Image:
    """Return noise of so many levels on a slope that wraps round."""
    noise = np.random.default_rng(seed).integers(0, levels, (3, height, width))
    return (noise + np.arange(width) * (seed % 7) + np.arange(height)[:, None] * (seed % 5)).astype(np.uint8)


@few
@given(
    st.integers(1, 20),
    st.integers(1, 80) | st.sampled_from([128, 192, 200, 448]),
    st.integers(1, 256),
    st.integers(0, 9999),
    st.sampled_from([0, 1, 3, 16]),
)
def test_images_are_unpacked_wherever_they_lie(
    height: int, width: int, levels: int, seed: int, offset: int
) -> None:
    image = draw(height, width, levels, seed)
    packed = pack_gradient(image)
    assert np.array_equal(unpack(packed, image.shape, offset=offset), image)
    found = unpack(packed, image.shape, np.float32, offset)
    assert np.array_equal(found.view(np.uint32), normalize(image).view(np.uint32))


@few
@given(st.integers(0, 9999), st.data())
def test_a_damaged_image_is_left_or_means_the_same(seed: int, data: st.DataObject) -> None:
    image = draw(6, 70, 40, seed)
    packed = pack_gradient(image).copy()
    for _ in range(data.draw(st.integers(1, 3))):
        # Most of them among the numbers of bits, of which there are 84 bytes.
        place = data.draw(st.integers(0, 83) | st.integers(0, packed.size - 1))
        packed[place] ^= data.draw(st.integers(1, 255))
    packed = packed[: data.draw(st.just(packed.size) | st.integers(0, packed.size))]
    expected: Image | None = np.empty_like(image)
    try:
        unpack_gradient(packed, expected)
    except ValueError:
        expected = None
    found, normalized = unpack(packed, image.shape), unpack(packed, image.shape, np.float32)
    assert (found is None) == (normalized is None) == (expected is None)
    if expected is not None:
        assert np.array_equal(found, expected)
        assert np.array_equal(normalized, normalize(expected))


def test_numbers_of_bits_that_trade_places_are_believed_and_others_are_not() -> None:
    image = draw(6, 70, 40, 1)
    packed = pack_gradient(image)
    swapped = packed.copy()
    swapped[0] = swapped[0] >> 4 | swapped[0] << 4 & 0xF0
    assert swapped[0] != packed[0]
    expected = np.empty_like(image)
    unpack_gradient(swapped, expected)
    assert np.array_equal(unpack(swapped, image.shape), expected)
    # One group of nine bits, and one that has as many fewer: the sum is right.
    nine = packed.copy()
    nine[0] = 9 | nine[0] & 0xF0
    nine[1] = nine[1] - (9 - (packed[0] & 15))
    sums = [int((one[:84] & 15).sum() + (one[:84] >> 4).sum()) for one in (packed, nine)]
    assert sums[0] == sums[1]
    assert unpack(nine, image.shape) is None


def test_images_of_another_size_and_none_at_all_are_left() -> None:
    image = draw(6, 70, 40, 2)
    packed = pack_gradient(image)
    assert unpack(packed, (3, 5, 70)) is None
    assert unpack(packed, (3, 7, 70)) is None
    assert unpack(packed, (3, 6, 50)) is None
    for size in (0, 1, 7, 8, 83, 84, 91):
        assert unpack(packed[:size], image.shape) is None


def test_an_image_of_the_trainers_size_agrees_with_the_decoder_that_the_page_describes() -> None:
    image = draw(448, 448, 9, 3)
    packed = pack_gradient(image)
    assert np.array_equal(unpack(packed, image.shape), unpack_image(packed, image.shape))


def test_a_flipped_bit_of_a_packed_image_or_its_checksum_never_becomes_an_image(core: Any) -> None:
    image = draw(3, 70, 40, 5)
    packed = pack_gradient(image)
    out = np.empty((1, *image.shape), np.uint8)
    states = set()
    for bit in range(8 * (packed.size + 4)):
        files, spans, _ = with_bit_flipped(rows_of(packed), 0, bit)
        states |= set(core.fill_rows(Action.UNPACK, files, spans, out, 3, 70, None, None, True))
    # Where the sum of the numbers of bits is wrong, it is left to be read and compared row by row.
    assert states == {DAMAGED, LEFT}


def test_an_image_that_is_written_over_while_it_is_unpacked_is_no_image(core: Any) -> None:
    image = draw(200, 448, 16, 7)
    files, spans, _ = rows_of(pack_gradient(image))
    numbers = files[0][: 200 * 84]
    sound, is_over = numbers.copy(), threading.Event()

    def write_over() -> None:
        while not is_over.is_set():
            # So many bits would lead far out of the file.
            numbers[9000:] = 0x88
            numbers[9000:] = sound[9000:]

    writer = threading.Thread(target=write_over)
    writer.start()
    try:
        for _ in range(300):
            out = np.empty((1, *image.shape), np.uint8)
            (state,) = core.fill_rows(Action.UNPACK, files, spans, out, *image.shape[1:], None, None, True)
            assert state != DONE or np.array_equal(out[0], image)
    finally:
        is_over.set()
        writer.join()


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_single_image_is_unpacked_or_refused(monkeypatch: pytest.MonkeyPatch, is_compiled: bool) -> None:
    if not is_compiled:
        monkeypatch.setattr(batch_kernels, "CORE", None)
    image = draw(6, 70, 40, 6)
    packed = pack_gradient(image)
    out = np.empty_like(image)
    batch_kernels.unpack_image(packed, out)
    assert np.array_equal(out, image)
    for wrong in (packed[:-1], packed[:8], np.append(packed, np.uint8(0))):
        with pytest.raises(ValueError, match=f"{len(wrong)} bytes are no packed image of 6 x 70"):
            batch_kernels.unpack_image(wrong, out)
    with pytest.raises(ValueError, match="out must be writeable"):
        batch_kernels.unpack_image(packed, out[:, ::2])
    with pytest.raises(ValueError, match="packed must be uint8"):
        batch_kernels.unpack_image(packed[None], out)
    with pytest.raises(ValueError, match="packed must be uint8"):
        batch_kernels.unpack_image(packed.view(np.int8), out)
