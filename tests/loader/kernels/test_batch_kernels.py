"""The kernels that fill a batch, at every level, alignment and length, against numpy's own arithmetic."""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google_crc32c import value as crc32c
from levels import at_level, levels_of
from numpy.typing import NDArray
from rows import assert_guarded, place, rows_of, with_bit_flipped

from resizeonce.loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD, ImageView
from resizeonce.loader.kernels.batch_kernels import (
    BYTE,
    FLOAT,
    KERNELS,
    Delivery,
    Form,
    fill_rows,
    norm_of,
    normalize_into,
)
from resizeonce.loader.kernels.core import CORE, DAMAGED, DONE, LEFT, Action

LENGTHS = (1, 3, 15, 16, 17, 63, 64, 65, 200, 511, 512, 513, 768, 3071, 3072, 3073, 9500)
COPIED = Form("raw", "uint8", BYTE)
NORMALIZED = Form("raw", "uint8", FLOAT)
EXPANDED = Form("zstd", "bool", FLOAT)
NORM = norm_of(ImageView(size=(1, 1)))
LEVELS = levels_of(CORE)


@pytest.fixture(params=LEVELS)
def compiled(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The compiled core at one of its levels."""
    with at_level(CORE, request.param) as core:
        yield core


@pytest.fixture(params=[*LEVELS, "numpy"])
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The compiled core at one of its levels, None for numpy."""
    if request.param == "numpy":
        monkeypatch.setattr("resizeonce.loader.kernels.batch_kernels.CORE", None)
        yield None
    else:
        with at_level(CORE, request.param) as core:
            yield core


def fill(
    core: Any,
    form: Form,
    stored: NDArray[Any],
    out: NDArray[Any],
    *,
    norm: NDArray[np.float32] = NORM,
    shown: tuple[int, int] | None = None,
    is_checked: bool = True,
) -> None:
    """Fill a batch of one: from where the row lies, or where that is left from the row itself."""
    action, finish_row = KERNELS[form]
    delivery = Delivery(stored.shape, norm, None if shown is None else np.array([shown]))
    rows = rows_of(stored, before=3, is_checked=is_checked)
    (state,) = fill_rows(action, rows, out[None], delivery, core)
    assert state == (LEFT if core is None else DONE)
    if state == LEFT:
        finish_row(stored, out, delivery, 0)


@pytest.mark.parametrize("is_checked", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_are_copied_wherever_they_lie(core: Any, length: int, is_checked: bool) -> None:
    stored = np.random.default_rng(length).integers(0, 256, (1, length), dtype=np.uint8)
    for offset in (0, 1, 9, 32, 63):
        out, memory = place((1, length), np.uint8, offset)
        fill(core, COPIED, stored, out, is_checked=is_checked)
        assert np.array_equal(out, stored)
        assert_guarded(out, memory)


@pytest.mark.parametrize("length", [0, *LENGTHS])
def test_masks_are_widened_wherever_they_lie(compiled: Any, length: int) -> None:
    stored = np.random.default_rng(length).integers(0, 2, length, dtype=np.uint8).view(np.bool_)
    for offset in (0, 4, 36, 60):
        out, memory = place((length,), np.float32, offset)
        compiled.widen(stored, out)
        assert np.array_equal(out, stored.astype(np.float32))
        assert_guarded(out, memory)


def normalize_with_numpy(
    stored: NDArray[np.uint8],
    means: tuple[float, ...] = IMAGENET_MEAN,
    stds: tuple[float, ...] = IMAGENET_STD,
    scale: float = 255,
) -> NDArray[np.float32]:
    """Return torchvision's steps one by one; IEEE 754 rounds each."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (means, stds))
    scaled = stored.astype(np.float32) / np.float32(scale)
    return (scaled - mean) / std


LEVELS_OF_A_BYTE = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(16, 16), (3, 16, 16)).copy()


@pytest.mark.parametrize("is_checked", [False, True])
def test_every_level_of_every_channel_is_normalized_to_the_last_bit(core: Any, is_checked: bool) -> None:
    for offset in (0, 4, 36, 60):
        out, memory = place((3, 16, 16), np.float32, offset)
        fill(core, NORMALIZED, LEVELS_OF_A_BYTE, out, is_checked=is_checked)
        assert np.array_equal(out.view(np.uint32), normalize_with_numpy(LEVELS_OF_A_BYTE).view(np.uint32))
        assert_guarded(out, memory)


def test_any_mean_std_and_scale_are_exact_for_the_inverse_is_taken_only_where_it_is(compiled: Any) -> None:
    rng = np.random.default_rng(0)
    # Those of CLIP and of InternVL's siblings, SAM's in levels, powers of two, and what chance gives.
    cases = [
        ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 255.0),
        ((0.5,) * 3, (0.5,) * 3, 255.0),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0),
    ]
    cases += [(tuple(rng.random(3)), tuple(rng.random(3) + 1e-3), 255.0) for _ in range(200)]
    cases += [(tuple(200 * rng.random(3)), tuple(99 * rng.random(3) + 1), 1.0) for _ in range(100)]
    cases += [(tuple(rng.random(3)), tuple(rng.random(3) + 1e-3), 300 * rng.random()) for _ in range(100)]
    for means, stds, scale in cases:
        out = np.empty((1, 3, 16, 16), np.float32)
        norm = np.array([*means, *stds, scale], np.float32)
        compiled.normalize(LEVELS_OF_A_BYTE, norm, None, out, 16, 16)
        expected = normalize_with_numpy(LEVELS_OF_A_BYTE, means, stds, scale)
        assert np.array_equal(out[0].view(np.uint32), expected.view(np.uint32)), (means, stds, scale)


@pytest.mark.parametrize("shown", [(5, 70), (5, 33), (2, 70), (1, 1), (3, 69), (0, 0)])
@pytest.mark.parametrize("is_checked", [False, True])
def test_around_the_picture_normalized_images_are_zero(
    core: Any, shown: tuple[int, int], is_checked: bool
) -> None:
    stored = np.random.default_rng(0).integers(1, 256, (3, 5, 70), dtype=np.uint8)
    expected = np.zeros((3, 5, 70), np.float32)
    height, width = shown
    expected[:, :height, :width] = normalize_with_numpy(stored)[:, :height, :width]
    for offset in (0, 4, 36):
        out, memory = place((3, 5, 70), np.float32, offset)
        fill(core, NORMALIZED, stored, out, shown=shown, is_checked=is_checked)
        assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))
        assert_guarded(out, memory)


def test_what_is_around_the_picture_is_checked_too(compiled: Any) -> None:
    stored = np.zeros((3, 40, 100), np.uint8)
    rows = with_bit_flipped(rows_of(stored), 0, 8 * (stored.size - 1))
    delivery = Delivery(stored.shape, NORM, np.array([[10, 50]]))
    out = np.empty((1, *stored.shape), np.float32)
    assert fill_rows(Action.NORMALIZE, rows, out, delivery, compiled) == bytes([DAMAGED])


def test_images_wider_than_a_block_are_shown_in_part(compiled: Any) -> None:
    stored = np.random.default_rng(1).integers(0, 256, (3, 2, 4000), dtype=np.uint8)
    out = np.empty(stored.shape, np.float32)
    fill(compiled, NORMALIZED, stored, out, shown=(1, 3999))
    expected = normalize_with_numpy(stored)
    expected[:, 1:], expected[:, :, 3999:] = 0, 0
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("width", LENGTHS)
def test_images_are_normalized_whatever_their_size(core: Any, width: int) -> None:
    stored = np.random.default_rng(width).integers(0, 256, (3, 1, width), dtype=np.uint8)
    out, memory = place((3, 1, width), np.float32, 4)
    fill(core, NORMALIZED, stored, out)
    assert np.array_equal(out, normalize_with_numpy(stored))
    assert_guarded(out, memory)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 63, 64, 65, 513, 1000])
def test_bits_are_widened(compiled: Any, width: int) -> None:
    masks = np.random.default_rng(width).random((2, 3, width)) < 0.5
    out, memory = place(masks.shape, np.float32, 4)
    compiled.widen_bits(np.packbits(masks, axis=2), out, width)
    assert np.array_equal(out, masks)
    assert_guarded(out, memory)


@pytest.mark.parametrize("form", [COPIED, NORMALIZED])
def test_a_flipped_bit_in_a_row_or_its_checksum_is_seen_and_the_other_rows_are_written(
    compiled: Any, form: Form
) -> None:
    rng = np.random.default_rng(1)
    stored = rng.integers(0, 256, (3, 3, 40, 31), dtype=np.uint8)
    sound, delivery = rows_of(*stored, before=5), Delivery(stored.shape[1:], NORM)
    action, _ = KERNELS[form]
    for bit in (
        0,
        7,
        8,
        *rng.integers(0, 8 * (stored[0].nbytes + 4), 30).tolist(),
        8 * stored[0].nbytes + 31,
    ):
        out = np.zeros(stored.shape, form.delivered)
        rows = with_bit_flipped(sound, 1, bit)
        assert fill_rows(action, rows, out, delivery, compiled) == bytes([DONE, DAMAGED, DONE])
        unchecked = rows._replace(is_checked=False)
        assert fill_rows(action, unchecked, out, delivery, compiled) == bytes([DONE] * 3)
        for row in (0, 2):
            expected = stored[row] if form is COPIED else normalize_with_numpy(stored[row])
            assert np.array_equal(out[row], expected)


def copy(core: Any, files: list[NDArray[np.uint8]], spans: NDArray[np.int64], out: NDArray[np.uint8]) -> Any:
    return core.fill_rows(Action.COPY, files, spans, out, 0, 0, None, None, True)


def test_checksums_are_those_of_rfc_3720_and_of_its_library(compiled: Any) -> None:
    # RFC 3720, B.4: 32 bytes of zeros, of ones, and counting up.
    vectors = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    rng = np.random.default_rng(2)
    for length in (*LENGTHS, 10_000, 100_001):
        message = rng.bytes(length)
        vectors[message] = crc32c(message)
    for message, expected in vectors.items():
        for checksum, state in ((expected, DONE), (expected ^ 1, DAMAGED)):
            file = np.frombuffer(message + checksum.to_bytes(4, "little"), np.uint8)
            out, _ = place((1, len(message)), np.uint8, len(message) % 64)
            assert copy(compiled, [file], np.array([[0, file.size]]), out) == bytes([state])


def test_a_second_import_of_the_core_leaves_its_tables_and_level_as_they_are(
    compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = compiled.level()
    monkeypatch.delitem(sys.modules, compiled.__name__)
    again = importlib.import_module(compiled.__name__)
    assert again is not compiled
    assert again.level() == level
    row = np.arange(9500, dtype=np.uint32).astype(np.uint8)
    for core in (compiled, again):
        out = np.empty((1, 9500), np.uint8)
        assert copy(core, *rows_of(row)[:2], out) == bytes([DONE])


def bad_calls() -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Return calls that would lead out of their arrays, by what is wrong with them."""
    file = np.zeros(100, np.uint8)
    floats, spans = np.zeros(96, np.float32), np.array([[0, 100]])
    frozen = np.zeros(96, np.uint8)
    frozen.flags.writeable = False
    strided = np.zeros(192, np.uint8)[::2]
    most = np.iinfo(np.int64).max
    copied = {
        "a span that ends outside": ([file], np.array([[1, 100]]), np.zeros(96, np.uint8)),
        "a span that begins before": ([file], np.array([[-1, 100]]), np.zeros(96, np.uint8)),
        "a span without a checksum": ([file], np.array([[0, 3]]), np.zeros(96, np.uint8)),
        "an offset beyond numbers": ([file], np.array([[most, 100]]), np.zeros(96, np.uint8)),
        "a size beyond numbers": ([file], np.array([[0, most]]), np.zeros(96, np.uint8)),
        "fewer spans than files": ([file, file], spans, np.zeros(192, np.uint8)),
        "rows of two sizes": ([file, file], np.array([[0, 100], [0, 99]]), np.zeros(192, np.uint8)),
        "too much room": ([file], spans, np.zeros(97, np.uint8)),
        "too little room": ([file], spans, np.zeros(95, np.uint8)),
        "no room that may be written": ([file], spans, frozen),
        "room that is strided": ([file], spans, strided),
        "a file that is strided": ([np.zeros(200, np.uint8)[::2]], spans, np.zeros(96, np.uint8)),
    }
    calls = {
        what: ("fill_rows", (Action.COPY, *arguments, 0, 0, None, None, True))
        for what, arguments in copied.items()
    }
    calls |= bad_calls_of_normalizing(file, spans, floats)
    for height, width in ((0, 8), (8, 0), (-8, -8), (most, 2), (1 << 25, 1)):
        what = f"{height} x {width}"
        for action, kind in (
            (Action.EXPAND, "a mask"),
            (Action.EXPAND_TO_BITS, "bits"),
            (Action.NORMALIZE, "an image"),
            (Action.UNPACK, "a packed image"),
            (Action.UNPACK_AND_NORMALIZE, "a packed image to be normalised"),
        ):
            arguments = (action, [file], spans, floats, height, width, NORM, None, True)
            calls[f"{kind} of {what}"] = ("fill_rows", arguments)
    for action in (-1, len(Action)):
        calls[f"action {action}"] = ("fill_rows", (action, [file], spans, floats, 4, 8, NORM, None, True))
    calls["bits of another width"] = ("widen_bits", (file, floats, 7 * 8 + 1))
    calls["a mask wider than its room"] = ("widen", (file, floats))
    return calls


def bad_calls_of_normalizing(
    file: NDArray[np.uint8], spans: NDArray[np.int64], floats: NDArray[np.float32]
) -> dict[str, tuple[str, tuple[Any, ...]]]:
    few, unaligned = np.zeros(6, np.float32), np.zeros(385, np.uint8)[1:]
    rows = {
        "an image of other channels": (floats, 31, 1, NORM, None),
        "six numbers to normalise by": (floats, 4, 8, few, None),
        "nothing to normalise by": (floats, 4, 8, None, None),
        "floats that are not aligned": (unaligned, 4, 8, NORM, None),
        "more shown than there is": (floats, 4, 8, NORM, np.array([[4, 9]])),
        "less shown than nothing": (floats, 4, 8, NORM, np.array([[-1, 8]])),
        "shown parts of other images": (floats, 4, 8, NORM, np.array([[4, 8], [4, 8]])),
    }
    calls: dict[str, tuple[str, tuple[Any, ...]]] = {
        what: ("fill_rows", (Action.NORMALIZE, [file], spans, *arguments, True))
        for what, arguments in rows.items()
    }
    calls["more shown than a packed image has"] = (
        "fill_rows",
        (Action.UNPACK_AND_NORMALIZE, [file], spans, floats, 4, 8, NORM, np.array([[5, 8]]), True),
    )
    calls["images of other channels"] = ("normalize", (file, NORM, None, floats, 3, 11))
    calls["more shown than images have"] = ("normalize", (file[:96], NORM, np.array([[5, 8]]), floats, 4, 8))
    return calls


@pytest.mark.parametrize("what", bad_calls())
def test_what_does_not_fit_is_refused_before_anything_is_written(compiled: Any, what: str) -> None:
    name, arguments = bad_calls()[what]
    before = [argument.copy() for argument in arguments if isinstance(argument, np.ndarray)]
    with pytest.raises((ValueError, BufferError, TypeError)):
        getattr(compiled, name)(*arguments)
    after = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def test_no_rows_at_all_are_none(core: Any) -> None:
    for form in (COPIED, NORMALIZED, EXPANDED):
        shape = (4, 4) if form == EXPANDED else (3, 4, 4)
        out = np.zeros((0, *shape), form.delivered)
        action, _ = KERNELS[form]
        assert fill_rows(action, rows_of(), out, Delivery(shape, NORM), core) == b""


@pytest.mark.usefixtures("core")
def test_strided_rows_and_other_dtypes_are_copied_too() -> None:
    out = np.zeros((4, 6), np.float32)
    _, finish = KERNELS[COPIED]
    finish(np.arange(8, dtype=np.float32).reshape(4, 2), out[:, ::3], Delivery((4, 2)), 0)
    assert out[:, 3].tolist() == [1, 3, 5, 7]
    assert not out[:, 1].any()
    finish(np.arange(6, dtype=np.uint8), out[0], Delivery((6,)), 0)
    assert out[0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes_of_the_batch_are_numpys(dtype: Any) -> None:
    stored = np.random.default_rng(1).integers(0, 256, (3, 5, 7), np.uint8)
    out, memory = place(stored.shape, dtype, 0)
    normalize_into(stored, out, NORM)
    assert np.allclose(out, normalize_with_numpy(stored), atol=1e-2)
    assert_guarded(out, memory)


def test_what_may_not_be_written_is_not() -> None:
    out = np.zeros((4, 4), np.float32)
    out.flags.writeable = False
    _, finish = KERNELS[COPIED]
    with pytest.raises(ValueError, match="read-only"):
        finish(np.ones((4, 4), np.float32), out, Delivery((4, 4)), 0)
    assert not out.any()
