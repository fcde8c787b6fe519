"""Images to RGB: colour modes, which files are kept, and which way up."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from encoded_pictures import PICTURE, png, save
from miniature.shapes import picture_of
from PIL import Image, ImageOps

from resizeonce.preprocess.decode.images import decode_image, is_same_picture
from resizeonce.preprocess.decode.png import encode_png
from resizeonce.preprocess.errors import RecordError

# ---- colour modes


@pytest.mark.parametrize("extension", ["png", "bmp", "webp"])
def test_lossless_rgb_comes_back_as_it_was(extension: str) -> None:
    picture = decode_image(save(PICTURE, extension, lossless=True))
    np.testing.assert_array_equal(picture.image, PICTURE)
    assert (picture.image.dtype, picture.unsure_turn) == (np.uint8, False)


def test_grey_is_repeated_in_all_channels() -> None:
    grey = PICTURE[:, :, 0]
    np.testing.assert_array_equal(decode_image(save(grey)).image, np.stack([grey, grey, grey], axis=2))


def test_16_bit_grey_keeps_its_upper_8_bits() -> None:
    grey = np.arange(65536, dtype=np.uint16).reshape(128, 512)
    expected = np.repeat(np.arange(256, dtype=np.uint8), 256).reshape(128, 512)
    image = decode_image(save(grey)).image
    for channel in range(3):
        np.testing.assert_array_equal(image[:, :, channel], expected)


def test_16_bit_colour_keeps_its_upper_8_bits() -> None:
    colours = [(0x1234, 0xABCD, 0xFFFF), (0x00FF, 0x0100, 0x7FFF)]
    row = b"".join(struct.pack(">HHH", *colour) for colour in colours)
    image = decode_image(png(1, 2, 16, 2, [row])).image
    assert image.tolist() == [[[0x12, 0xAB, 0xFF], [0x00, 0x01, 0x7F]]]


def test_1_bit_is_black_and_white() -> None:
    image = decode_image(png(2, 3, 1, 0, [b"\xa0", b"\x40"])).image
    assert image[:, :, 0].tolist() == [[255, 0, 255], [0, 255, 0]]


def test_2_bit_grey_fills_the_range() -> None:
    assert decode_image(png(1, 4, 2, 0, [b"\x1b"])).image[0, :, 1].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("transparency", [(), (b"tRNS\x00\x80",)])
def test_palette_gives_its_colours_whatever_is_transparent(transparency: tuple[bytes, ...]) -> None:
    palette = b"PLTE" + bytes([1, 2, 3, 200, 100, 50, 9, 8, 7])
    image = decode_image(png(1, 3, 8, 3, [b"\x01\x00\x02"], palette, *transparency)).image
    assert image.tolist() == [[[200, 100, 50], [1, 2, 3], [9, 8, 7]]]


@pytest.mark.parametrize("alpha", [0, 3, 255])
def test_alpha_is_dropped_not_blended(alpha: int) -> None:
    mask = np.full((37, 61, 1), alpha, np.uint8)
    image = decode_image(save(np.concatenate([PICTURE, mask], axis=2))).image
    np.testing.assert_array_equal(image, PICTURE)
    grey = decode_image(save(np.concatenate([PICTURE[:, :, :1], mask], axis=2))).image
    np.testing.assert_array_equal(grey, np.repeat(PICTURE[:, :, :1], 3, axis=2))


def test_cmyk_jpeg_shows_its_colours() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (250, 120, 10)).convert("CMYK").save(stream, "JPEG", quality=100)
    image = decode_image(stream.getvalue()).image.astype(int)
    assert np.abs(image - [250, 120, 10]).max() <= 4


def test_jpeg_of_any_kind_is_what_pillow_says() -> None:
    for options in ({}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}):
        encoded = save(PICTURE, "jpeg", **options)
        expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
        np.testing.assert_array_equal(decode_image(encoded, (37, 61)).image, expected)


# ---- files that are kept


@pytest.mark.parametrize("extension", ["png", "bmp", "webp", "jpeg"])
def test_a_file_is_kept_where_pillow_alone_makes_the_same_of_it(extension: str) -> None:
    encoded = save(PICTURE, extension)
    picture = decode_image(encoded, (37, 61))
    assert picture.source == encoded


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("size", [None, (37, 61), (61, 37)])
def test_a_file_that_exif_turns_is_not_kept_whether_it_was_turned_or_not(
    orientation: int, size: tuple[int, int] | None
) -> None:
    if size == (61, 37) and orientation < 5:
        size = None
    assert decode_image(save(PICTURE, "jpeg", orientation), size).source is None


def test_a_file_of_16_bit_grey_or_with_accepted_damage_is_not_kept() -> None:
    deep = io.BytesIO()
    Image.fromarray(np.arange(61 * 37, dtype=np.uint16).reshape(37, 61) * 29).save(deep, "png")
    assert decode_image(deep.getvalue()).source is None
    damaged = bytearray(save(PICTURE, "png"))
    # Of the checksum of its pixels, before the last chunk of twelve bytes.
    damaged[-13] ^= 1
    picture = decode_image(bytes(damaged), accept_damage=True)
    assert picture.is_damaged
    assert picture.source is None


def test_a_png_of_an_image_keeps_every_value() -> None:
    encoded = encode_png(PICTURE)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), PICTURE)
    assert decode_image(encoded).source == encoded


# ---- EXIF turns and annotated sizes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotation_of_the_upright_picture_turns_it(orientation: int) -> None:
    encoded = save(PICTURE, "png", orientation)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    picture = decode_image(encoded, upright.shape[:2])
    if orientation >= 5:
        assert picture.image.shape == (61, 37, 3)
        np.testing.assert_array_equal(picture.image, upright)
        assert not picture.unsure_turn
    else:
        # The size says nothing about turns by 180 degrees and reflections.
        np.testing.assert_array_equal(picture.image, PICTURE)
        assert picture.unsure_turn == (orientation != 1)


@pytest.mark.parametrize("orientation", range(5, 9))
def test_annotation_of_the_stored_picture_keeps_it(orientation: int) -> None:
    picture = decode_image(save(PICTURE, "png", orientation), (37, 61))
    np.testing.assert_array_equal(picture.image, PICTURE)
    assert not picture.unsure_turn


@pytest.mark.parametrize("orientation", range(2, 9))
def test_without_annotation_a_turn_is_unsure_and_not_made(orientation: int) -> None:
    picture = decode_image(save(PICTURE, "png", orientation))
    np.testing.assert_array_equal(picture.image, PICTURE)
    assert picture.unsure_turn


def test_16_bit_picture_is_turned_too() -> None:
    grey = (np.arange(35, dtype=np.uint16) * 1800).reshape(5, 7)
    picture = decode_image(save(grey, "png", 6), (7, 5))
    np.testing.assert_array_equal(picture.image[:, :, 0], np.rot90(grey >> 8, -1))


@pytest.mark.parametrize(
    ("stored", "annotated", "turned", "unsure"),
    [
        # A nearly square picture: only the exact size decides.
        ((100, 101), (101, 100), True, False),
        ((100, 101), (100, 101), False, False),
        ((101, 100), (100, 101), True, False),
        # In another scale both would do, so the pixels stay and it is counted.
        ((100, 101), (200, 200), False, True),
        ((100, 101), (50, 50), False, True),
        ((100, 100), (100, 100), False, True),
        ((100, 100), (50, 50), False, True),
        # In another scale, clearly oblong.
        ((100, 150), (200, 300), False, False),
        ((100, 150), (300, 200), True, False),
        ((100, 150), (75, 50), True, False),
    ],
)
def test_size_decides_about_a_turn(
    stored: tuple[int, int], annotated: tuple[int, int], turned: bool, unsure: bool
) -> None:
    array = picture_of(*stored, 3)
    picture = decode_image(save(array, "png", 6), annotated)
    np.testing.assert_array_equal(picture.image, np.rot90(array, -1) if turned else array)
    assert picture.unsure_turn == unsure


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_annotation_of_another_shape_is_an_error(orientation: int) -> None:
    for size in ((61, 37), (37, 37), (37, 70), (0, 0), (-37, -61), (10**400, 1), (1, 10**400)):
        with pytest.raises(RecordError, match="37 x 61") as caught:
            decode_image(save(PICTURE, "png", orientation), size)
        assert caught.value.stage == "decode"


def test_unreadable_exif_is_no_turn() -> None:
    encoded = save(PICTURE, "jpeg", 6)
    damaged = encoded.replace(b"Exif\0\0", b"Exif\0\0\xff\xff\xff\xff", 1)
    assert damaged != encoded
    assert decode_image(damaged, (37, 61)).image.shape == (37, 61, 3)


@pytest.mark.parametrize(
    ("size", "other", "same"),
    [
        ((480, 640), (240, 320), True),
        ((427, 640), (1067, 1600), True),
        ((1066, 1600), (683, 1024), True),
        ((480, 640), (640, 480), False),
        ((480, 640), (480, 700), False),
        ((1, 1), (3, 3), True),
        ((480, 640), (0, 640), False),
        ((480, 640), (10**400, 10**400), False),
    ],
)
def test_same_picture_in_another_size(size: tuple[int, int], other: tuple[int, int], same: bool) -> None:
    assert is_same_picture(size, other) is same


# ---- the real samples


def test_real_odd_images_match_pillow(shared_data: Path) -> None:
    folder = shared_data / "odd"
    content = json.loads((folder / "annotations" / "instances_odd.json").read_text())
    sizes = {entry["file_name"]: (entry["height"], entry["width"]) for entry in content["images"]}
    rejected = []
    for name, size in sizes.items():
        if not (folder / "images" / name).exists():
            continue
        encoded = (folder / "images" / name).read_bytes()
        try:
            image = decode_image(encoded, size).image
        except RecordError:
            rejected.append(name)
            continue
        opened = Image.open(io.BytesIO(encoded))
        if opened.mode == "I;16":
            expected = np.dstack([(np.asarray(opened) >> 8).astype(np.uint8)] * 3)
        elif name.startswith("exif6_display"):
            expected = np.asarray(ImageOps.exif_transpose(opened))
        else:
            expected = np.asarray(opened.convert("RGBA").convert("RGB"))
        np.testing.assert_array_equal(image, expected, err_msg=name)
    assert sorted(rejected) == [
        "broken.png",
        "truncated_000000244592.jpg",
        "truncated_image.png",
        "truncated_jpeg.jpg",
        "zerobytes_000000357501.jpg",
    ]


def test_real_turns_that_can_not_be_told_are_counted(shared_data: Path) -> None:
    folder = shared_data / "odd" / "images"
    for name, size, unsure in (
        ("hopper_orientation_3.jpg", (128, 128), True),
        ("hopper_orientation_6.jpg", (128, 128), True),
        ("exif6_stored_000000174231.jpg", (375, 500), False),
        ("exif6_display_000000244592.jpg", (374, 500), False),
        ("hopper_gray.jpg", (128, 128), False),
    ):
        assert decode_image((folder / name).read_bytes(), size).unsure_turn is unsure, name
