"""Masks expanded straight from their frames, at every level, against libzstd: the same pixels, or left to it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from levels import at_level, levels_of
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from rows import assert_guarded, place, rows_of, with_bit_flipped

from resizeonce.loader.format.layout import ZSTD_LEVEL
from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.loader.kernels.core import CORE, DAMAGED, DONE, LEFT, Action

# What a fixture does is the same for each example.
few = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=levels_of(CORE), autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    with at_level(CORE, request.param) as core:
        yield core


def expand(
    frame: NDArray[np.uint8], height: int, width: int, offset: int = 0, *, is_checked: bool = False
) -> NDArray[np.bool_] | None:
    """Return what the core makes of a frame, None where it leaves it to libzstd; nothing around it may be touched."""
    assert CORE is not None
    rows = rows_of(frame, before=offset, is_checked=is_checked)
    out, memory = place((1, height, width), np.float32, 4 * offset)
    (state,) = CORE.fill_rows(Action.EXPAND, *rows[:2], out, height, width, None, None, is_checked)
    assert_guarded(out, memory)
    bits, memory = place((1, height, (width + 7) // 8), np.uint8, offset)
    arguments = (*rows[:2], bits, height, width, None, None, is_checked)
    assert CORE.fill_rows(Action.EXPAND_TO_BITS, *arguments) == bytes([state])
    assert_guarded(bits, memory)
    if state == LEFT:
        return None
    assert state == DONE
    assert np.array_equal(bits[0], np.packbits(out[0] != 0, axis=1))
    assert set(np.unique(out)) <= {0, 1}
    return np.asarray(out[0] != 0)


def draw(height: int, width: int, seed: int) -> NDArray[np.bool_]:
    """Return overlapping rectangles with a few single pixels."""
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.choice([0, 0.002])
    for _ in range(rng.integers(0, 6)):
        top, bottom = np.sort(rng.integers(0, height + 1, 2))
        left, right = np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] ^= True
    return mask


@few
@given(
    st.integers(1, 40) | st.sampled_from([64, 300, 512]),
    st.integers(6, 40) | st.sampled_from([64, 300, 512]),
    st.integers(0, 9999),
)
def test_own_frames_become_the_mask_wherever_it_lies(height: int, width: int, seed: int) -> None:
    mask = draw(height, width, seed)
    frame = compress_mask(mask)
    is_own = frame.tobytes() != Zstd(ZSTD_LEVEL).encode(mask.reshape(-1).view(np.uint8))
    for offset in (0, 3):
        found = expand(frame, height, width, offset, is_checked=bool(seed % 2))
        # libzstd's own frames, of noise or of few pixels, may be left to it.
        assert np.array_equal(found, mask) if is_own else found is None or np.array_equal(found, mask)


def test_a_mask_of_several_blocks_is_expanded() -> None:
    y, x = np.mgrid[:1024, :1024]
    disc = (y - 500) ** 2 + (x - 400) ** 2 < 300**2
    frame = compress_mask(disc)
    assert np.array_equal(expand(frame, 1024, 1024), disc)


def test_frames_of_libzstd_are_left_to_it() -> None:
    mask = np.random.default_rng(0).random((64, 64)) < 0.5
    assert expand(np.frombuffer(Zstd().encode(mask), np.uint8), 64, 64) is None


@few
@given(st.integers(0, 9999), st.data())
def test_a_damaged_frame_is_left_to_libzstd_or_means_the_same(seed: int, data: st.DataObject) -> None:
    mask = draw(48, 64, seed)
    frame = compress_mask(mask).copy()
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, frame.size - 1))] ^= data.draw(st.integers(1, 255))
    frame = frame[: data.draw(st.integers(frame.size // 2, frame.size))]
    found = expand(frame, 48, 64)
    if found is not None:
        # No exception: what is accepted here, libzstd accepts.
        pixels = np.empty((48, 64), np.uint8)
        Zstd().decode(frame, pixels)
        assert np.array_equal(found, pixels != 0)


def test_a_flipped_bit_of_a_frame_or_its_checksum_is_seen(core: Any) -> None:
    frame = compress_mask(draw(48, 64, 8))
    out = np.empty((1, 48, 64), np.float32)
    for bit in range(8 * (frame.size + 4)):
        rows = with_bit_flipped(rows_of(frame), 0, bit)
        arguments = (*rows[:2], out, 48, 64, None, None, True)
        assert core.fill_rows(Action.EXPAND, *arguments) == bytes([DAMAGED])


def test_a_mask_beyond_the_window_is_expanded_and_another_window_is_left_to_libzstd() -> None:
    mask = np.zeros((2912, 2912), np.bool_)
    mask[100:2000, 300:2500] = True
    frame = compress_mask(mask).copy()
    assert np.array_equal(expand(frame, 2912, 2912), mask)
    # 3.1.1.1.2 of RFC 8878: a window of 2**41 bytes and more, which decoders refuse.
    frame[5] = 0xFF
    assert expand(frame, 2912, 2912) is None


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 9, 10, 12])
def test_the_beginning_of_a_frame_is_none(size: int) -> None:
    frame = compress_mask(draw(48, 64, 3))
    assert expand(frame[:size], 48, 64) is None


def test_a_frame_of_another_size_is_refused() -> None:
    frame = compress_mask(draw(48, 64, 3))
    assert expand(frame, 47, 64) is None
    assert expand(frame, 49, 64) is None


@pytest.mark.parametrize("tail", [b"\0", b"\0junk", b"\x80\0\0", b"\x80\0\0junk"])
def test_after_a_block_without_sequences_nothing_may_follow(tail: bytes) -> None:
    """A block of single pixels only, as RFC 8878 has it: 256 of them, and that there are no sequences."""
    pixels = np.arange(256, dtype=np.uint8) % 3 == 0
    literals = (256 << 4 | 0b1100).to_bytes(3, "little") + pixels.tobytes()
    block = literals + tail
    header = bytes.fromhex("28b52ffd a0") + (256).to_bytes(4, "little")
    frame = header + (len(block) << 3 | 2 << 1 | 1).to_bytes(3, "little") + block
    found = expand(np.frombuffer(frame, np.uint8), 1, 256)
    if tail == b"\0":
        assert np.array_equal(found, pixels.reshape(1, 256))
    else:
        assert found is None
