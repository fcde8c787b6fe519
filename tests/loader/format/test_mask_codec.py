"""Compressed masks against libzstd's decoder."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from resizeonce.loader.format import mask_codec
from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.loader.format.zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS, CodeTable

Mask = NDArray[np.bool_]


def decode(frame: NDArray[np.uint8], shape: tuple[int, ...]) -> Mask:
    """Decode with libzstd, into memory of the size that the frame states."""
    return np.frombuffer(Zstd().decode(frame), np.bool_).reshape(shape)


def draw_disc(height: int, width: int) -> Mask:
    y, x = np.mgrid[:height, :width]
    disc: Mask = (y - height / 2) ** 2 + (x - width * 0.4) ** 2 < (0.3 * min(height, width)) ** 2
    return disc


def draw(height: int, width: int, kind: str, seed: int) -> Mask:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.random((height, width)) < rng.choice([0.001, 0.03, 0.5])
    if kind == "rows":
        return np.repeat(rng.random((height, 1)) < 0.5, width, axis=1)
    if kind == "checkerboard":
        return np.asarray(np.indices((height, width)).sum(axis=0) % 2 == 0)
    mask = np.zeros((height, width), np.bool_)
    for _ in range(rng.integers(0, 8)):
        top, bottom = np.sort(rng.integers(0, height + 1, 2))
        left, right = np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] ^= True
    return mask


SIDES = st.integers(1, 12) | st.sampled_from([63, 64, 65, 128, 200, 512])


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["rectangles", "noise", "rows", "checkerboard"]), st.integers(0, 999))
def test_any_mask_comes_back(height: int, width: int, kind: str, seed: int) -> None:
    mask = draw(height, width, kind, seed)
    assert np.array_equal(decode(compress_mask(mask), mask.shape), mask)


@pytest.mark.parametrize(
    ("height", "width"),
    [(1024, 1024), (1025, 1000), (128, 1024), (129, 1024), (1, 300_000), (300_000, 1), (3000, 3000)],
)
def test_masks_of_many_blocks_come_back(height: int, width: int) -> None:
    for mask in (draw_disc(height, width), np.zeros((height, width), np.bool_), ~draw_disc(height, width)):
        assert np.array_equal(decode(compress_mask(mask), mask.shape), mask)


def test_masks_in_any_memory_are_taken() -> None:
    memory = np.zeros(64 * 64 + 3, np.uint8)
    mask = memory[3:].view(np.bool_).reshape(64, 64)
    mask[20:40, 10:50] = True
    mask.setflags(write=False)
    assert np.array_equal(decode(compress_mask(mask), mask.shape), mask)
    assert np.array_equal(compress_mask(mask), compress_mask(mask.copy()))


def test_bytes_that_are_no_mask_come_back_too() -> None:
    """A damaged mask is stored as it is, for `verify` to find."""
    values = draw_disc(256, 256).astype(np.uint8) * 2
    frame = compress_mask(values.view(np.bool_))
    assert np.array_equal(np.frombuffer(Zstd().decode(frame), np.uint8), values.reshape(-1))


def test_patterns_and_noise_take_no_more_than_with_libzstd() -> None:
    stripes = np.indices((512, 512)).sum(axis=0) % 64 < 32
    dots = np.zeros((512, 512), np.bool_)
    dots[::16, ::16] = True
    for mask in (stripes, dots, draw(512, 512, "noise", 1), draw(512, 512, "checkerboard", 0)):
        assert len(compress_mask(mask)) <= max(len(Zstd(level=3).encode(mask)), mask_codec.LONG_FRAME)


def test_what_is_no_mask_is_refused() -> None:
    arrays: list[Any] = [np.zeros(64, np.bool_), np.zeros((64, 0), np.bool_), np.zeros((8, 8), np.float32)]
    for array in arrays:
        with pytest.raises(ValueError, match="mask must be bool"):
            compress_mask(array)


def test_shapes_take_at_most_twice_what_libzstd_needs() -> None:
    for mask in (draw_disc(1024, 1024), draw(1024, 1024, "rectangles", 3), draw(1024, 1024, "rectangles", 4)):
        assert len(compress_mask(mask)) <= 2 * len(Zstd(level=3).encode(mask))


def test_noise_is_left_to_libzstd() -> None:
    noise = np.random.default_rng(0).random((256, 256)) < 0.5
    assert compress_mask(noise).tobytes() == bytes(Zstd(level=3).encode(noise))


@pytest.mark.parametrize("table", [LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS])
def test_every_next_state_is_reached_from_one_state_of_each_code(table: CodeTable) -> None:
    for code, before in enumerate(table.state_before):
        reached = [
            range(table.base[state], table.base[state] + (1 << table.bits[state]))
            for state in set(before.tolist())
        ]
        assert sorted(next_state for states in reached for next_state in states) == list(
            range(len(table.bits))
        ), code
