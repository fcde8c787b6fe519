"""The kernels that fill a batch, at every alignment and length, against numpy's own arithmetic."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from resizeonce.loader.format.gradient import pack_gradient
from resizeonce.loader.format.layout import IMAGENET_MEAN, IMAGENET_STD
from resizeonce.loader.kernels.batch_kernels import (
    BYTE,
    FLOAT,
    Form,
    batch_kernels,
    copy_into,
    kernels_of,
    normalize_into,
    widen_into,
)
from resizeonce.loader.kernels.native import native_loops

LENGTHS = (0, 1, 3, 15, 16, 17, 63, 64, 65, 200)
GUARD = 7
COPIED = Form("g_pixel_values", "raw", "uint8", BYTE)
NORMALIZED = Form("pixel_values", "raw", "uint8", FLOAT)


def place(shape: tuple[int, ...], dtype: Any, offset: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return an array that begins `offset` bytes after a cache line does, and the memory around it, all `GUARD`."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(size + 256, GUARD, np.uint8)
    start = -memory.ctypes.data % 64 + 64 + offset
    return memory[start : start + size].view(dtype).reshape(shape), memory


def assert_guarded(array: NDArray[Any], memory: NDArray[np.uint8]) -> None:
    start = array.ctypes.data - memory.ctypes.data
    assert (memory[:start] == GUARD).all()
    assert (memory[start + array.nbytes :] == GUARD).all()


def fill(form: Form, stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Fill a batch of one: from where the row lies, or where that is left from the row itself."""
    kernel = batch_kernels()[form]
    place = np.array([stored.ctypes.data]), np.array([stored.nbytes])
    (is_done,) = kernel.fill_rows(*place, out[None])
    if not is_done:
        kernel.finish_row(stored, out)


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_are_copied_wherever_they_lie(length: int) -> None:
    stored = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8)
    for offset in range(0, 66, 3):
        out, memory = place((length,), np.uint8, offset)
        fill(COPIED, stored, out)
        assert np.array_equal(out, stored)
        assert_guarded(out, memory)


@pytest.mark.parametrize("length", LENGTHS)
def test_masks_are_widened_wherever_they_lie(length: int) -> None:
    stored = np.random.default_rng(length).integers(0, 2, length, dtype=np.uint8).view(np.bool_)
    for offset in (*range(0, 64, 4), 1, 63):
        out, memory = place((length,), np.float32, offset)
        widen_into(stored, out)
        assert np.array_equal(out, stored.astype(np.float32))
        assert_guarded(out, memory)


def normalize_with_numpy(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return torchvision's steps one by one; IEEE 754 rounds each."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    scaled = stored.astype(np.float32) / np.float32(255)
    return (scaled - mean) / std


def test_every_level_of_every_channel_is_normalized_to_the_last_bit() -> None:
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16), (3, 16, 16)).copy()
    for offset in (*range(0, 64, 4), 2):
        out, memory = place((3, 16, 16), np.float32, offset)
        fill(NORMALIZED, levels, out)
        assert np.array_equal(out.view(np.uint32), normalize_with_numpy(levels).view(np.uint32))
        assert_guarded(out, memory)


@pytest.mark.parametrize("width", LENGTHS)
def test_images_are_normalized_whatever_their_size(width: int) -> None:
    stored = np.random.default_rng(width).integers(0, 256, (3, 1, width), dtype=np.uint8)
    out, memory = place((3, 1, width), np.float32, 4)
    fill(NORMALIZED, stored, out)
    assert np.array_equal(out, normalize_with_numpy(stored))
    assert_guarded(out, memory)


def test_an_image_that_is_stored_compact_is_unpacked() -> None:
    pytest.importorskip("numba")
    stored = np.random.default_rng(6).integers(0, 40, (1, 3, 7, 200), dtype=np.uint8)
    packed = pack_gradient(stored[0])
    out = np.zeros_like(stored)
    loops = native_loops()
    assert loops is not None
    loops.unpack_rows(np.array([packed.ctypes.data]), np.array([packed.size]), out)
    assert np.array_equal(out, stored)


def test_simple_processors_give_the_same() -> None:
    """They neither multiply and add with one rounding, nor spread bits, and their vectors are a quarter as long."""
    pytest.importorskip("numba")
    tests = (
        test_every_level_of_every_channel_is_normalized_to_the_last_bit,
        test_an_image_that_is_stored_compact_is_unpacked,
    )
    code = "".join(f"from test_batch_kernels import {test.__name__} as check; check();" for test in tests)
    plain = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=plain, cwd=Path(__file__).parent)


def test_without_numba_numpy_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.loader.kernels.batch_kernels.native_loops", lambda: None)
    monkeypatch.setitem(globals(), "batch_kernels", lambda: kernels_of(None))
    test_every_level_of_every_channel_is_normalized_to_the_last_bit()
    test_masks_are_widened_wherever_they_lie(65)
    test_rows_are_copied_wherever_they_lie(65)


def test_strided_rows_and_other_dtypes_are_copied_too() -> None:
    out = np.zeros((4, 6), np.float32)
    copy_into(np.arange(8, dtype=np.float32).reshape(4, 2), out[:, ::3])
    assert out[:, 3].tolist() == [1, 3, 5, 7]
    assert not out[:, 1].any()
    copy_into(np.arange(6, dtype=np.uint8), out[0])
    assert out[0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes_of_the_batch_are_numpys(dtype: Any) -> None:
    stored = np.random.default_rng(1).integers(0, 256, (3, 5, 7), np.uint8)
    out, memory = place(stored.shape, dtype, 0)
    normalize_into(stored, out)
    assert np.allclose(out, normalize_with_numpy(stored), atol=1e-2)
    widen_into(stored > 99, out)
    assert np.array_equal(out, (stored > 99).astype(dtype))
    assert_guarded(out, memory)


def test_what_may_not_be_written_is_not() -> None:
    out = np.zeros((4, 4), np.float32)
    out.flags.writeable = False
    for write in (copy_into, widen_into):
        with pytest.raises(ValueError, match="read-only"):
            write(np.ones((4, 4), np.bool_ if write is widen_into else np.float32), out)
    assert not out.any()
