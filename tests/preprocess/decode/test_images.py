import io
import json
import struct
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from miniature.shapes import ellipse_of, picture_of
from PIL import Image, ImageOps

from resizeonce.preprocess.decode.images import MAX_IMAGE_BYTES, decode_bitmap, decode_image, is_same_picture
from resizeonce.preprocess.decode.png import encode_png
from resizeonce.preprocess.errors import RecordError

PICTURE = picture_of(37, 61, 1)


def save(array: np.ndarray, extension: str = "png", orientation: int = 0, **options: object) -> bytes:
    stream = io.BytesIO()
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    Image.fromarray(array).save(stream, extension, **options)
    return stream.getvalue()


def png(
    height: int, width: int, depth: int, colour: int, rows: list[bytes], *chunks: bytes, filter_type: int = 0
) -> bytes:
    """Write a PNG by hand: what Pillow's own writer can't be asked for."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    pixels = zlib.compress(b"".join(bytes([filter_type]) + row for row in rows))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    parts += [chunk(part[:4], part[4:]) for part in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])


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


# ---- damage and bombs


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>404</html>", "known format .* begins with b'<!DOCTYPE ht'"),
        (b"GIF89a" + bytes(50), "known format"),
        (b"\x89PNG\r\n\x1a\n" + b"garbage" * 9, "damaged|known format"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "damaged|known format"),
    ],
)
def test_what_is_no_image_says_so(encoded: bytes, reason: str) -> None:
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match=reason) as caught:
            decode(encoded)
        assert caught.value.stage == "decode"


@pytest.mark.parametrize("extension", ["png", "jpeg", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_cut_file_is_an_error_not_grey_bands(extension: str, share: float) -> None:
    encoded = save(picture_of(80, 120, 5), extension)
    with pytest.raises(RecordError):
        decode_image(encoded[: int(len(encoded) * share)])


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}, {"xmp": b"<x/>"}])
@pytest.mark.parametrize("missing", [1, 2, 3, 8, 40, 400])
def test_cut_webp_is_rejected_also_where_its_sizes_were_put_right(
    options: dict[str, object], missing: int
) -> None:
    encoded = save(picture_of(80, 120, 5), "webp", **options)
    whole = decode_image(encoded).image
    cut = bytearray(encoded[:-missing])
    for sizes in ((), (4,), (4, 16)):
        for at in sizes:
            struct.pack_into("<I", cut, at, len(cut) - at - 4)
        with suppress(RecordError):
            # The last bytes may be mere filling.
            np.testing.assert_array_equal(decode_image(bytes(cut)).image, whole)
            assert missing < 4


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_of_a_download_that_was_broken_off_in_a_file_made_to_size_is_rejected(lossless: bool) -> None:
    encoded = save(np.asarray(picture_of(240, 320, 5)), "webp", lossless=lossless)
    decode_image(encoded)
    for share in (0.3, 0.6, 0.95):
        cut = int(share * len(encoded))
        with pytest.raises(RecordError, match="zeros and more in a row where pixels are expected"):
            decode_image(encoded[:cut] + bytes(len(encoded) - cut))
    if not lossless:
        with pytest.raises(RecordError, match="zeros and more in a row"):
            decode_image(encoded[:2000] + bytes(512) + encoded[2512:])


@pytest.mark.parametrize("options", [{}, {"quality": 1}, {"lossless": True}, {"lossless": True, "method": 0}])
@pytest.mark.parametrize("size", [(64, 48), (1024, 1024), (480, 640)])
def test_webp_of_a_flat_picture_is_one(size: tuple[int, int], options: dict[str, object]) -> None:
    """Its coded pixels are zeros for the most part."""
    flat = np.zeros((*size, 3), np.uint8)
    flat[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    for image in (flat, flat * 0, flat * 0 + 127):
        decoded = decode_image(save(image, "webp", **options)).image.astype(int)
        assert np.abs(decoded - image).mean() < 8


def test_what_can_not_be_taken_is_not_advised_to_be_accepted() -> None:
    jpeg = save(np.asarray(picture_of(80, 120, 5)), "jpeg")
    with pytest.raises(RecordError) as caught:
        decode_image(jpeg[:-400])
    assert "get it anew" in str(caught.value)
    assert "source.damaged" not in str(caught.value)
    with pytest.raises(RecordError, match=r"source\.damaged"):
        decode_image(jpeg[:-400] + b"\xff\xd9")


def test_a_png_that_went_through_a_transfer_as_text_is_called_so() -> None:
    png = save(np.asarray(picture_of(80, 120, 5)), "png")
    for damaged in (png.replace(b"\r\n", b"\n"), png.replace(b"\n", b"\r\n"), bytes([0x89 & 0x7F]) + png[1:]):
        with pytest.raises(RecordError, match="a PNG file that went through a transfer as text"):
            decode_image(damaged)


def test_webp_whose_size_is_another_than_the_files() -> None:
    encoded = bytearray(save(picture_of(80, 120, 5), "webp"))
    size = struct.unpack_from("<I", encoded, 4)[0]
    assert decode_image(bytes(encoded) + b"junk").image.shape == (80, 120, 3)
    for wrong in (size - 10, size + 10, 0, 2**32 - 1):
        struct.pack_into("<I", encoded, 4, wrong)
        with pytest.raises(RecordError, match="damaged WEBP file: ") as caught:
            decode_image(bytes(encoded))
        said = f"it has {len(encoded)} bytes where its header says {wrong + 8}: "
        assert (said in caught.value.reason) == (wrong > size)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("missing", [1, 2, 100, 2000])
def test_bmp_with_fewer_bytes_than_its_pixels_take_is_rejected(mode: str, missing: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture_of(60, 80, 5)).convert(mode).save(stream, "BMP")
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match="truncated"):
            decode(stream.getvalue()[:-missing])


def test_run_length_bmp_that_ends_early_is_rejected() -> None:
    def bmp(coded: bytes) -> bytes:
        palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
        start = 14 + 40 + len(palette)
        sizes = struct.pack("<IiiHHIIiiII", 40, 4, 3, 1, 8, 1, len(coded), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", start + len(coded), 0, 0, start) + sizes + palette + coded

    rows = [b"\4\1\0\0", b"\4\2\0\0", b"\4\3\0\1"]
    # A BMP begins with its last row.
    assert decode_image(bmp(b"".join(rows))).image[:, 0, 0].tolist() == [3, 2, 1]
    for coded in (b"", rows[0], rows[0] + rows[1], rows[0] + rows[1] + b"\0\1", rows[0] + b"\4"):
        with pytest.raises(RecordError, match="not enough image data"):
            decode_image(bmp(coded))


@pytest.mark.parametrize("filter_type", [5, 7, 255])
def test_png_with_damaged_rows_is_an_error_though_its_checksums_are_right(filter_type: int) -> None:
    # Each row begins with one of 5 filters; Pillow notices only while decoding.
    rows = [row.tobytes() for row in PICTURE]
    good, bad = (png(37, 61, 8, 2, rows, filter_type=kind) for kind in (0, filter_type))
    np.testing.assert_array_equal(decode_image(good).image, PICTURE)
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match="damaged PNG file"):
            decode(bad)


@pytest.mark.parametrize("size", [(60000, 60000), (89_478_486, 1), (9460, 9460), (2**31 - 1, 2**31 - 1)])
def test_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    bomb = png(*size, 8, 2, [b""])
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match="over the limit of 89478485"):
            decode(bomb)


def test_text_bomb_in_a_png_is_refused() -> None:
    text = b"zTXtcomment\0\0" + zlib.compress(bytes(1 << 27))
    with pytest.raises(RecordError):
        decode_image(png(1, 1, 8, 0, [b"\0"], text))


def test_file_over_the_limit_is_refused() -> None:
    with pytest.raises(RecordError, match="over the limit"):
        decode_image(bytes(MAX_IMAGE_BYTES + 1))


@pytest.mark.parametrize("extension", ["jpeg", "png", "webp", "bmp"])
def test_any_damage_gives_a_picture_or_a_record_error(extension: str) -> None:
    rng = np.random.default_rng(11)
    encoded = save(picture_of(24, 31, 2), extension, 6)
    outcomes: Counter[str] = Counter()
    for _ in range(300):
        damaged = bytearray(encoded)
        # Half of the damage hits the header, where the structure is.
        end = 64 if rng.random() < 0.5 else len(damaged)
        for place in rng.integers(0, end, rng.integers(1, 5)):
            damaged[place] = rng.integers(0, 256)
        try:
            image = decode_image(bytes(damaged)).image
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
            outcomes["picture"] += 1
        except RecordError:
            outcomes["error"] += 1
        try:
            assert decode_bitmap(bytes(damaged)).ndim == 2
        except RecordError:
            outcomes["bitmap error"] += 1
    assert outcomes["error"] > 10
    # Every chunk of a PNG has a checksum; the others can be damaged unnoticed.
    assert outcomes["picture"] > 10 or extension == "png"


@pytest.mark.parametrize("colour", range(8))
def test_png_with_any_header_gives_a_picture_or_a_record_error(colour: int) -> None:
    rng = np.random.default_rng(colour)
    pictures, channels = 0, {2: 3, 4: 2, 6: 4}.get(colour, 1)
    for depth in (0, 1, 2, 3, 4, 8, 16, 32):
        whole = (5 * channels * depth + 7) // 8
        for length in (0, 1, whole, whole + 9):
            rows = [bytes(rng.integers(0, 256, length, np.uint8)) for _ in range(4)]
            for chunks in ((), (b"PLTE" + bytes(9),), (b"PLTE" + bytes(7), b"tRNS" + bytes(2))):
                encoded = png(4, 5, depth, colour, rows, *chunks)
                try:
                    image = decode_image(encoded, (4, 5)).image
                except RecordError:
                    continue
                assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)
                pictures += 1
                with suppress(RecordError):
                    # Mostly noise, which is no mask.
                    assert decode_bitmap(encoded).shape == (4, 5)
    assert (pictures > 0) == (colour in (0, 2, 3, 4, 6))


@pytest.mark.parametrize("depth", [1, 8])
def test_png_whose_pixels_do_not_match_their_checksum_is_rejected(depth: int) -> None:
    """Pillow decodes such a file to other pixels where the damage still is a valid stream."""
    rows = [bytes([value] * 5 * depth) for value in range(40)]
    good = png(40, 40 if depth == 1 else 5 * depth, depth, 0, rows)
    decode_image(good)
    at = good.index(b"IDAT")
    bad = bytearray(good)
    # The checksum itself: what it says of the pixels can't be trusted either.
    bad[at + 4 + int.from_bytes(good[at - 4 : at], "big")] ^= 1
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match="checksum"):
            decode(bytes(bad))


def test_stored_pixels_of_a_png_that_were_changed_are_rejected() -> None:
    pixels = PICTURE[..., 0]
    stored = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels), 0)
    whole = save(pixels)
    at = whole.index(b"IDAT") - 4
    length = int.from_bytes(whole[at : at + 4], "big")
    checksum = struct.pack(">I", zlib.crc32(b"IDAT" + stored))
    end = whole[at + 12 + length :]
    rebuilt = whole[:at] + struct.pack(">I", len(stored)) + b"IDAT" + stored + checksum + end
    assert np.array_equal(decode_image(rebuilt).image[..., 0], pixels)
    flipped = bytearray(rebuilt)
    flipped[at + 8 + 500] ^= 0x40
    with pytest.raises(RecordError, match="checksum"):
        decode_image(bytes(flipped))


# ---- bitmaps


@pytest.mark.parametrize(
    "array",
    [
        ellipse_of(30, 41, 1),
        ellipse_of(30, 41, 1).astype(np.uint8),
        ellipse_of(30, 41, 1).astype(np.uint8) * 255,
        ellipse_of(30, 41, 1).astype(np.uint16) * 65535,
        ellipse_of(30, 41, 1).astype(np.uint16),
        np.repeat(ellipse_of(30, 41, 1)[:, :, None], 3, axis=2).astype(np.uint8) * 255,
        ellipse_of(30, 41, 1)[:, :, None] * np.array([0, 0, 1], np.uint8),
        np.dstack([ellipse_of(30, 41, 1).astype(np.uint8)] * 3 + [np.full((30, 41), 255, np.uint8)]),
        np.dstack([ellipse_of(30, 41, 1).astype(np.uint8), np.full((30, 41), 255, np.uint8)]),
    ],
    ids=["1", "L 0/1", "L 0/255", "16-bit", "16-bit 0/1", "RGB", "RGB blue", "RGBA", "LA"],
)
def test_whatever_is_not_zero_is_covered(array: np.ndarray) -> None:
    bitmap = decode_bitmap(save(array))
    assert bitmap.dtype == bool
    np.testing.assert_array_equal(bitmap, ellipse_of(30, 41, 1))


def test_palette_number_counts_and_not_its_colour() -> None:
    palette = b"PLTE" + bytes([255, 255, 255, 1, 0, 0])
    assert decode_bitmap(png(1, 3, 8, 3, [b"\x00\x01\x00"], palette)).tolist() == [[False, True, False]]


def test_where_a_palette_has_black_beside_a_coloured_0_the_background_is_not_known() -> None:
    # As programs that sort a palette by how often a colour occurs leave a large white object.
    palette = b"PLTE" + bytes([255, 255, 255, 0, 0, 0])
    with pytest.raises(
        RecordError, match="black for 1 and another colour for 0: which of them is background"
    ):
        decode_bitmap(png(1, 3, 8, 3, [b"\x00\x01\x00"], palette))


def blurred(mask: np.ndarray) -> np.ndarray:
    """Return a mask of bool with an anti-aliased edge, uint8."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((90, 70), Image.Resampling.BILINEAR))


OBJECT = ellipse_of(30, 41, 1)
SOFT = blurred(OBJECT)
LABELS = OBJECT.astype(np.uint8) + (np.arange(41) > 20) * OBJECT


def as_palette(numbers: np.ndarray, colours: list[int]) -> bytes:
    """Return a palette PNG of these numbers."""
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(colours)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


GREY_RAMP = [level for level in range(256) for _ in range(3)]


@pytest.mark.parametrize(
    ("encoded", "found"),
    [
        (save(SOFT), "[0-9]+ values: 0, "),
        (save(SOFT.astype(np.uint16) * 257), "[0-9]+ values: 0, "),
        (as_palette(SOFT, GREY_RAMP), "[0-9]+ values: 0, "),
        (as_palette(SOFT // 86, [0, 0, 0, 90, 90, 90, 180, 180, 180]), "3 values: 0, 1, 2;"),
        (save(np.dstack([SOFT] * 3)), r"[0-9]+ colours: \[0, 0, 0\], "),
        (save(np.dstack([SOFT, np.full_like(SOFT, 255)])), "[0-9]+ values: 0, "),
        (save(LABELS), "3 values: 0, 1, 2;"),
        (as_palette(LABELS, [0, 0, 0, 128, 0, 0, 0, 128, 0]), "3 values: 0, 1, 2;"),
        (save(LABELS + (LABELS > 0) * np.uint8(253)), "3 values: 0, 254, 255;"),
        (save(np.dstack([LABELS == 1, LABELS == 2, LABELS == 9]).astype(np.uint8)), "3 colours: "),
        (save(OBJECT + np.uint8(1)), "2 values: 1, 2;"),
    ],
    ids=[
        "grey", "16-bit grey", "palette ramp", "short palette ramp", "RGB", "grey with alpha",
        "label map", "label map in a palette", "object and void", "label map in colours", "no background",
    ],
)  # fmt: skip
def test_mask_of_more_than_two_values_is_rejected(encoded: bytes, found: str) -> None:
    """An anti-aliased edge and a second object would all be "not zero"."""
    with pytest.raises(RecordError, match=f"the mask has {found}.*expected 0 and one other value") as caught:
        decode_bitmap(encoded)
    assert caught.value.stage == "mask"


@pytest.mark.parametrize("value", [0, 1, 7, 255])
def test_mask_of_one_value_is_empty_or_full(value: int) -> None:
    bitmap = decode_bitmap(save(np.full((5, 7), value, np.uint8)))
    assert bitmap.shape == (5, 7)
    assert (bitmap == (value != 0)).all()


@pytest.mark.parametrize("number", [1, 2, 200])
def test_object_may_have_any_number_of_a_palette(number: int) -> None:
    encoded = as_palette(OBJECT * np.uint8(number), GREY_RAMP)
    np.testing.assert_array_equal(decode_bitmap(encoded), OBJECT)


def test_mask_that_is_in_the_alpha_channel_is_rejected() -> None:
    white, alpha = np.full((30, 41, 3), 255, np.uint8), OBJECT.astype(np.uint8) * 255
    for colour in (white, np.zeros_like(white)):
        with pytest.raises(RecordError, match=r"alpha channel has values 0\.\.255"):
            decode_bitmap(save(np.dstack([colour, alpha])))
    assert not decode_bitmap(save(np.dstack([np.zeros_like(white), np.zeros_like(alpha)]))).any()
    # An edge that fades out, over colours that do not.
    soft = np.dstack([np.repeat((SOFT > 0)[:, :, None], 3, axis=2) * np.uint8(255), SOFT])
    with pytest.raises(RecordError, match=r"alpha channel has values 0\.\.255"):
        decode_bitmap(save(soft))
    # Object and background are told apart by colour, whatever alpha says beside.
    red = OBJECT[:, :, None] * np.array([255, 0, 0], np.uint8)
    for beside in (alpha, np.full_like(alpha, 255), np.where(OBJECT, 128, 255).astype(np.uint8)):
        np.testing.assert_array_equal(decode_bitmap(save(np.dstack([red, beside]))), OBJECT)


GREY_MASK = OBJECT.astype(np.uint8) * 255


@pytest.mark.parametrize(
    ("encoded", "found"),
    [
        (save(GREY_MASK, "jpeg", quality=100), "the mask is a JPEG, a lossy format"),
        (save(GREY_MASK, "jpeg", progressive=True), "the mask is a JPEG, a lossy format"),
        (save(np.dstack([GREY_MASK] * 3), "webp", quality=100), "the mask is a WebP of the lossy kind"),
        (save(np.dstack([GREY_MASK] * 4), "webp"), "the mask is a WebP of the lossy kind"),
        (save(np.dstack([GREY_MASK] * 3), "webp", exif=b"Exif\0\0"), "the mask is a WebP of the lossy kind"),
        (
            save(
                np.dstack([GREY_MASK] * 3), "webp", save_all=True, append_images=[Image.new("RGB", (41, 30))]
            ),
            "the mask is a WebP of the lossy kind",
        ),
    ],
    ids=["JPEG", "progressive JPEG", "WebP", "WebP with alpha", "WebP with EXIF", "animated WebP"],
)
def test_mask_in_a_lossy_format_is_rejected(encoded: bytes, found: str) -> None:
    with pytest.raises(RecordError, match=f"{found}: .* as PNG") as caught:
        decode_bitmap(encoded)
    assert caught.value.stage == "mask"


@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0"}], ids=["plain", "with EXIF"])
def test_mask_in_lossless_webp_or_bmp_is_as_good_as_png(options: dict[str, bytes]) -> None:
    colours = np.dstack([GREY_MASK] * 3)
    np.testing.assert_array_equal(decode_bitmap(save(colours, "webp", lossless=True, **options)), OBJECT)
    np.testing.assert_array_equal(decode_bitmap(save(GREY_MASK, "bmp")), OBJECT)


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


def test_one_bit_masks_have_bytes_0_and_1() -> None:
    """Pillow's own array of such a picture is bool with bytes 0 and 255."""
    file = io.BytesIO()
    Image.fromarray(np.eye(9, 14, dtype=np.bool_)).save(file, "PNG")
    bitmap = decode_bitmap(file.getvalue())
    assert bitmap.dtype == np.bool_
    assert set(bitmap.tobytes()) == {0, 1}
    assert np.array_equal(bitmap, np.eye(9, 14))
