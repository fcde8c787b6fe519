"""Compact images unpacked straight into a batch, against numpy: the same pixels, or left to it."""

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resizeonce.loader.format import gradient
from resizeonce.loader.format.gradient import pack_gradient, unpack_gradient
from resizeonce.loader.kernels.batch_kernels import MEAN, STD
from resizeonce.loader.kernels.native import native_loops
from resizeonce.preprocess.verify.packed import unpack_image

LOOPS = native_loops()
if LOOPS is None:
    pytest.skip("numba is not installed", allow_module_level=True)

Image = NDArray[np.uint8]

GUARD = 7


def before_a_hole(content: Image) -> tuple[Image, mmap.mmap]:
    """Return a copy behind which no byte may be read: the process would end."""
    size = -(-content.size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    everything = np.frombuffer(memory, np.uint8)
    copy = everything[size - content.size : size]
    copy[:] = content
    hole = ctypes.c_void_p(everything.ctypes.data + size)
    assert ctypes.CDLL(None).mprotect(hole, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return copy, memory


def unpack(packed: Image, shape: tuple[int, ...], dtype: Any = np.uint8, offset: int = 0) -> Any:
    """Return what the loop makes of a packed image, None where it leaves it; nothing around it may be touched."""
    itemsize = np.dtype(dtype).itemsize
    size = int(np.prod(shape)) * itemsize
    memory = np.full(size + 256, GUARD, np.uint8)
    start = -memory.ctypes.data % 64 + 64 + offset * itemsize
    out = memory[start : start + size].view(dtype).reshape(1, *shape)
    packed, _kept = before_a_hole(packed)
    places = np.array([packed.ctypes.data]), np.array([packed.size])
    if dtype == np.uint8:
        (is_done,) = LOOPS.unpack_rows(*places, out)
    else:
        (is_done,) = LOOPS.unpack_normalized_rows(*places, MEAN, STD, out)
    assert (memory[:start] == GUARD).all()
    assert (memory[start + size :] == GUARD).all()
    return out[0].copy() if is_done else None


def normalize(image: Image) -> NDArray[np.float32]:
    scaled = image.astype(np.float32) / np.float32(255)
    return (scaled - MEAN[:, None, None]) / STD[:, None, None]


def draw(height: int, width: int, levels: int, seed: int) -> Image:
    """Return noise of so many levels on a slope that wraps round."""
    noise = np.random.default_rng(seed).integers(0, levels, (3, height, width))
    return (noise + np.arange(width) * (seed % 7) + np.arange(height)[:, None] * (seed % 5)).astype(np.uint8)


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=300, deadline=None)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient, "compiled", lambda _: None)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient, "compiled", lambda _: None)
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
