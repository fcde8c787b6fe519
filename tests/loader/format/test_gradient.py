"""The packing of compact images: worked by hand, numpy against compiled loops, and a decoder written from the page."""

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resizeonce.loader.format.gradient import pack_gradient, unpack_gradient
from resizeonce.loader.kernels.batch_kernels import unpack_image as unpack_single
from resizeonce.loader.zarr_codec import GradientCodec
from resizeonce.preprocess.verify.packed import unpack_image

Image = NDArray[np.uint8]


def unpacked(packed: Image, shape: tuple[int, ...]) -> Image:
    """Return what numpy and the compiled core make of a packed image."""
    out, other = np.full((2, *shape), 77, np.uint8)
    unpack_gradient(packed, out)
    unpack_single(packed, other)
    assert np.array_equal(out, other)
    return out


def test_an_image_worked_by_hand() -> None:
    # Green 10 11 / 10 12, red one more than green, blue the same as green.
    green = np.array([[10, 11], [10, 12]], np.uint8)
    image = np.stack([green + np.uint8(1), green, green])
    # Along y: 10 11 / 0 1; along x: 10 1 / 0 1. Red less green: 1 0 / 0 0. Blue less green: 0.
    # Folded: red 2 0, green 20 2, blue 0 0, and ten zeros; then red 0 0, green 0 2, blue 0 0, and ten zeros.
    # 20 takes five bits, 2 takes two: groups of 5, 0, 2 and 0 bits.
    values = 2 | 0 << 5 | 20 << 10 | 2 << 15
    first = values.to_bytes(5, "little")
    second = (2 << 2 * 3).to_bytes(2, "little")
    expected = bytes([0x05, 0x02]) + first + second + bytes(8)
    assert pack_gradient(image).tobytes() == expected
    assert np.array_equal(unpacked(np.frombuffer(expected, np.uint8), image.shape), image)
    assert np.array_equal(unpack_image(np.frombuffer(expected, np.uint8), image.shape), image)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Draw noise, flat pictures and slopes of any size; noise of few levels has narrow groups."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    noise = random.integers(0, draw(st.integers(1, 256)), (3, height, width))
    slope = np.arange(width) * draw(st.integers(0, 5)) + np.arange(height)[:, None] * draw(st.integers(-5, 5))
    return (noise + slope + draw(st.integers(0, 255))).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(images())
def test_every_way_of_unpacking_gives_the_image(image: Image) -> None:
    packed = pack_gradient(image)
    assert np.array_equal(unpacked(packed, image.shape), image)
    assert np.array_equal(unpack_image(packed, image.shape), image)


@pytest.mark.parametrize("content", ["noise", "extremes", "flat"])
def test_no_image_takes_more_than_its_bytes_and_a_fifteenth(content: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    image = {"noise": noise, "extremes": (noise & 1) * np.uint8(255), "flat": noise * 0}[content]
    packed = pack_gradient(image)
    assert packed.size <= image.size * 16 // 15 + 8
    assert (packed.size < image.size / 15) == (content == "flat")
    assert np.array_equal(unpacked(packed, image.shape), image)


def test_what_is_no_packed_image_is_refused_by_every_decoder() -> None:
    image = np.random.default_rng(0).integers(0, 40, (3, 9, 21), dtype=np.uint8)
    packed = pack_gradient(image)
    too_wide = packed.copy()
    too_wide[0] = 0x90 | too_wide[0] & 15
    other_widths = packed.copy()
    other_widths[0] ^= 1
    damaged: dict[str, Any] = {
        "empty": packed[:0],
        "without its end": packed[:-1],
        "with something behind it": np.append(packed, np.uint8(0)),
        "only part of the widths": packed[:5],
        "nine bits": too_wide,
        "widths that don't add up": other_widths,
    }
    for name, content in damaged.items():
        for unpack in (unpacked, unpack_image):
            with pytest.raises(ValueError, match=r"bytes|bits"):
                pytest.fail(f"{name}: {unpack(content, image.shape)}")


def test_verify_refuses_what_no_writer_writes() -> None:
    packed = pack_gradient(np.zeros((3, 4, 4), np.uint8))
    packed[-1] = 1
    with pytest.raises(ValueError, match="not zero"):
        unpack_image(packed, (3, 4, 4))
    # A group of eight zeros, of one bit each.
    wider = np.concatenate([[1], packed[1:4], [0], packed[4:-1], [0]]).astype(np.uint8)
    with pytest.raises(ValueError, match="more bits than"):
        unpack_image(wider, (3, 4, 4))


@pytest.mark.parametrize(
    "image",
    [np.zeros((1, 4, 4), np.uint8), np.zeros((3, 4), np.uint8), np.zeros((3, 4, 4), np.float32)],
)
def test_only_images_are_packed(image: Any) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \[3, H, W\]"):
        pack_gradient(image)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64), (4, 3, 64, 64)])
def test_nothing_is_unpacked_into_another_shape(shape: tuple[int, ...]) -> None:
    packed = pack_gradient(np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="out must be"):
        unpack_gradient(packed, np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="out must be"):
        unpack_gradient(packed, np.zeros((3, 64, 128), np.uint8)[:, :, ::2])


@pytest.mark.parametrize("packed", [np.zeros(99, np.int16), np.zeros((2, 99), np.uint8)])
def test_only_bytes_are_unpacked(packed: Any) -> None:
    with pytest.raises(ValueError, match=r"packed must be uint8 \[N\]"):
        unpack_gradient(packed, np.zeros((3, 4, 4), np.uint8))


def test_an_image_without_rows_is_eight_zeros() -> None:
    assert unpacked(np.zeros(8, np.uint8), (3, 0, 5)).shape == (3, 0, 5)


@pytest.mark.parametrize("chunks", [(2, 3, 8, 8), (1, 1, 8, 8)])
@pytest.mark.parametrize("shards", [None, (4, 3, 8, 8)])
def test_chunks_of_zarr_are_one_image_each(chunks: tuple[int, ...], shards: tuple[int, ...] | None) -> None:
    array = zarr.create_array(
        {}, shape=(4, 3, 8, 8), dtype="uint8", chunks=chunks, shards=shards, serializer=GradientCodec(),
        compressors=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"is for chunks \[1, 3, H, W\]"):
        array[:] = np.ones((4, 3, 8, 8), np.uint8)
