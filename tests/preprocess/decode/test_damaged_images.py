"""Images that are damaged, cut, no images at all, or bombs."""

import io
import struct
import zlib
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from encoded_pictures import PICTURE, png, save
from miniature.shapes import picture_of
from PIL import Image

from resizeonce.preprocess.decode.images import MAX_IMAGE_BYTES, decode_bitmap, decode_image
from resizeonce.preprocess.errors import RecordError


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


@pytest.mark.parametrize("size", [(60000, 60000), (2**32 - 1, 2**32 - 1)])
def test_a_bomb_that_pillow_does_not_know_is_refused_by_its_header(size: tuple[int, int]) -> None:
    unknown_compression = b"zTXta\0\5"
    bomb = png(*size, 16, 6, [b""], unknown_compression)
    for decode in (decode_image, decode_bitmap):
        with pytest.raises(RecordError, match=r"damaged PNG file: its header asks for .* over the limit"):
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
