"""Rows that the core encodes: the bytes of the Python and numpy forms, and libzstd reads the frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from resizeonce.loader.format import mask_codec
from resizeonce.loader.format.gradient import pack_gradient, packed_bound
from resizeonce.loader.format.mask_sequences import _find_sequences, make_frame
from resizeonce.loader.format.zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS
from resizeonce.preprocess.decode.segmentation import parse_segmentation
from resizeonce.preprocess.kernels import encode
from resizeonce.preprocess.kernels.core import CORE
from resizeonce.preprocess.tensors.nearest import pillow_positions

FORMS: list[Any] = [make_frame] if CORE is None else [make_frame, CORE.make_frame]

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]


def draw_disc(height: int, width: int) -> Mask:
    y, x = np.mgrid[:height, :width]
    disc: Mask = (y - height / 2) ** 2 + (x - width * 0.4) ** 2 < (0.3 * min(height, width)) ** 2
    return disc


def draw_mask(height: int, width: int, kind: str, seed: int) -> Mask:
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.random((height, width)) < rng.choice([0.001, 0.01, 0.03, 0.5])
    if kind == "rows":
        return np.repeat(rng.random((height, 1)) < 0.5, width, axis=1)
    if kind == "edges":
        # Each row is covered up to a column that moves by a few pixels.
        ends = np.cumsum(rng.integers(-3, 4, height)) + width // 2
        return np.asarray(np.arange(width) < ends[:, None])
    mask = np.zeros((height, width), np.bool_)
    for _ in range(rng.integers(0, 8)):
        top, bottom = np.sort(rng.integers(0, height + 1, 2))
        left, right = np.sort(rng.integers(0, width + 1, 2))
        mask[top:bottom, left:right] ^= True
    return mask


def assert_frame_of(mask: Mask) -> None:
    """With and without a core the frame of a mask is the same, and libzstd decodes it."""
    expected = mask_codec.compress_mask(mask)
    assert np.array_equal(np.frombuffer(Zstd().decode(expected), np.bool_).reshape(mask.shape), mask)
    assert np.array_equal(encode.compress_mask(mask), expected)


SIDES = st.integers(1, 12) | st.sampled_from([63, 64, 65, 128, 200, 391])


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["rectangles", "noise", "rows", "edges"]), st.integers(0, 999))
def test_frames_are_those_of_the_python_form(height: int, width: int, kind: str, seed: int) -> None:
    assert_frame_of(draw_mask(height, width, kind, seed))


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 1024), (1025, 1000), (128, 1024), (129, 1024), (1, 300_000), (300_000, 1)]
)
def test_frames_of_many_blocks_are_those_of_the_python_form(height: int, width: int) -> None:
    for mask in (draw_disc(height, width), np.zeros((height, width), np.bool_), ~draw_disc(height, width)):
        assert_frame_of(mask)


def test_frames_beyond_the_window_are_those_of_the_python_form() -> None:
    assert_frame_of(draw_mask(3000, 3000, "rectangles", 3))


def test_blocks_of_any_difficulty_are_those_of_the_python_form() -> None:
    """Without libzstd's choice: frames with many sequences, and none where a block would not shrink."""
    made = 0
    for seed, noise in enumerate([0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 0.5]):
        rng = np.random.default_rng(seed)
        for shape in ((40, 50), (13, 6), (300, 500), (500, 600)):
            mask = draw_disc(*shape) ^ (rng.random(shape) < noise)
            pixels, most = mask.reshape(-1).view(np.uint8), mask.size
            frame, *frames = (form(pixels, shape[1], most) for form in FORMS)
            made += frame is not None
            assert all(other == frame for other in frames)
    assert 10 < made < 32


def draw_stretches(size: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return stretches of one value, of alternating ones, and of the row above, all of lengths of any magnitude."""
    pixels = np.zeros(size, np.uint8)
    at = 0
    while at < size:
        stop = min(at + int(np.exp(rng.uniform(0, rng.choice([3, 4, 12])))), size)
        kind = rng.integers(3) if at >= width else rng.integers(2)
        pixels[at:stop] = np.arange(at, stop) % 2 if kind else rng.integers(2)
        while kind == 2 and at < stop:
            part = min(stop - at, width)
            pixels[at : at + part] = pixels[at - width : at - width + part]
            at += part
        at = stop
    return pixels


def test_each_code_and_state_is_encoded_as_the_python_form_does() -> None:
    """The tables of row_codecs.h are those of zstd_tables.py: every code that a mask can need comes up."""
    rng = np.random.default_rng(1)
    seen: list[set[int]] = [set(), set(), set()]
    for width in np.geomspace(6, 300_000, 60).astype(int).tolist():
        pixels = draw_stretches(max(2, 60_000 // width) * width, width, rng)
        frame, *frames = (form(pixels, width, pixels.size) for form in FORMS)
        assert all(other == frame for other in frames)
        if frame is None:
            continue
        assert np.array_equal(np.frombuffer(Zstd().decode(frame), np.uint8), pixels)
        changes = np.flatnonzero(pixels[width:] != pixels[:-width]) + width
        for sequences, _ in _find_sequences(pixels.tobytes(), [*range(width), *changes.tolist()], width):
            for place, table in enumerate((LITERAL_LENGTHS, OFFSETS, MATCH_LENGTHS)):
                values = [sequence[place] for sequence in sequences]
                seen[place] |= set((np.searchsorted(table.smallest, values, "right") - 1).tolist())
    assert seen == [set(range(36)), set(range(19)), set(range(3, 53))]


def test_masks_of_other_bytes_and_in_any_memory_are_taken() -> None:
    memory = np.zeros(64 * 64 + 3, np.uint8)
    pixels = memory[3:].reshape(64, 64)
    pixels[20:40, 10:50] = 2
    pixels[30, 30] = 255
    pixels.setflags(write=False)
    expected = mask_codec.compress_mask(pixels.view(np.bool_))
    assert np.array_equal(encode.compress_mask(pixels.view(np.bool_)), expected)
    assert np.array_equal(np.frombuffer(Zstd().decode(expected), np.uint8), pixels.reshape(-1))


def test_as_many_changes_as_are_allowed_make_a_frame_and_one_more_does_not() -> None:
    mask = draw_mask(65, 70, "noise", 8)
    pixels = mask.reshape(-1).view(np.uint8)
    changes = int(np.count_nonzero(mask[1:] != mask[:-1]))
    assert changes > 0
    for form in FORMS:
        assert form(pixels, 70, changes) is not None
        assert form(pixels, 70, changes - 1) is None


@pytest.mark.skipif(CORE is None, reason="there is no core here")
@pytest.mark.parametrize(
    ("width", "most"), [(5, 0), (0, 0), (-6, 0), (61, 0), (1 << 24, 0), (600, 0), (60, -1), (60, 121)]
)
def test_masks_of_impossible_rows_are_refused(width: int, most: int) -> None:
    with pytest.raises(ValueError, match=r"mask must be rows|can differ"):
        CORE.make_frame(np.zeros(120, np.uint8), width, most)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Draw noise, flat pictures and slopes of any size; noise of few levels has narrow groups."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    noise = random.integers(0, draw(st.integers(1, 256)), (3, height, width))
    slope = np.arange(width) * draw(st.integers(0, 5)) + np.arange(height)[:, None] * draw(st.integers(-5, 5))
    return (noise + slope + draw(st.integers(0, 255))).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(images())
def test_packed_images_are_those_of_the_numpy_form(image: Image) -> None:
    expected = pack_gradient(image).tobytes()
    assert encode.pack_image(image).tobytes() == expected
    turned = image.transpose(0, 2, 1)
    assert encode.pack_image(turned).tobytes() == pack_gradient(turned).tobytes()


@pytest.mark.parametrize("content", ["noise", "extremes", "flat"])
def test_images_that_pack_worst_and_best_are_those_of_the_numpy_form(content: str) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (3, 448, 448), dtype=np.uint8)
    image = {"noise": noise, "extremes": (noise & 1) * np.uint8(255), "flat": noise * 0}[content]
    assert encode.pack_image(image).tobytes() == pack_gradient(image).tobytes()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 4, 4), np.uint8),
        np.zeros((3, 4), np.uint8),
        np.zeros((3, 4, 0), np.uint8),
        np.zeros((3, 4, 4), np.float32),
    ],
)
def test_only_images_are_packed(image: Any) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \[3, H, W\]"):
        encode.pack_image(image)


@pytest.mark.skipif(CORE is None, reason="there is no core here")
@pytest.mark.parametrize(
    "size", [(4, 5), (0, 4), (-4, -4), (1 << 62, 1 << 62), (16, 0), (1, 1 << 62), (1, -(1 << 63))]
)
def test_images_of_another_size_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"image must be uint8 \[3, height, width\]"):
        CORE.pack_image(np.zeros((3, 4, 4), np.uint8), *size, np.empty(1000, np.uint8))


@pytest.mark.skipif(CORE is None, reason="there is no core here")
@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 5, 16), (3, 7, 33)])
def test_no_image_takes_more_than_the_bound_and_less_room_is_refused(shape: tuple[int, int, int]) -> None:
    # Columns by turns 0 and 128 differ by what takes eight bits.
    image = np.zeros(shape, np.uint8)
    image[:, ::2, ::2] = image[:, 1::2, 1::2] = 128
    bound = packed_bound(*shape[1:])
    out = np.empty(bound - 1, np.uint8)
    with pytest.raises(ValueError, match=f"out must have the {bound} bytes"):
        CORE.pack_image(image, *shape[1:], out)
    assert CORE.pack_image(image, *shape[1:], np.empty(bound, np.uint8)) <= bound


def test_without_a_core_the_bytes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, image = draw_disc(100, 120), np.random.default_rng(0).integers(0, 9, (3, 9, 7), dtype=np.uint8)
    frame, packed = encode.compress_mask(mask), encode.pack_image(image)
    monkeypatch.setattr(encode, "CORE", None)
    assert np.array_equal(encode.compress_mask(mask), frame)
    assert np.array_equal(encode.pack_image(image), packed)


def test_frames_of_real_masks_are_those_of_the_python_form(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "rle_vectors" / "rle_vectors.json").read_text())
    for vector in vectors[::7]:
        mask = parse_segmentation(vector["segmentation"], vector["height"], vector["width"])
        assert_frame_of(mask.sample(*(pillow_positions(length, 1024) for length in mask.size)))
