"""PNG files that are not whole: Pillow decodes most of these without a word, some to black rows."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from miniature.shapes import picture_of

from resizeonce.preprocess.decode.images import decode_bitmap, decode_image
from resizeonce.preprocess.decode.png import PNG_SIGNATURE, check_png
from resizeonce.preprocess.errors import RecordError

PICTURE = picture_of(50, 40, 2)
ROW_BYTES = 1 + 3 * 40
ROWS = b"".join(b"\0" + row.tobytes() for row in PICTURE)
PIXELS = zlib.compress(ROWS)


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def header(width: int = 40, height: int = 50, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return PNG_SIGNATURE + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    )


def png(pixels: bytes, end: bytes = chunk(b"IEND")) -> bytes:
    return header() + chunk(b"IDAT", pixels) + end


def with_wrong_checksum(part: bytes) -> bytes:
    return part[:-1] + bytes([part[-1] ^ 1])


NOTE = chunk(b"tEXt", b"Title\0a picture")

DAMAGED = {
    "cut in its pixels": (png(PIXELS)[:-200], "ends at byte .* within the chunk IDAT"),
    "cut pixels, end put behind them": (png(PIXELS[: len(PIXELS) // 2]), "pixels are [0-9]+ bytes, its header asks for 6050"),
    "stream ends early": (png(zlib.compress(ROWS[: 30 * ROW_BYTES])), "pixels are 3630 bytes, its header asks for 6050"),
    "stream ends within a row": (png(zlib.compress(ROWS[:-7])), "pixels are 6043 bytes, its header asks for 6050"),
    "no pixels in the stream": (png(zlib.compress(b"")), "pixels are 0 bytes"),
    "no chunk of pixels": (header() + chunk(b"IEND"), "pixels are 0 bytes|cannot"),
    "more rows than the header says": (png(zlib.compress(ROWS + ROWS[:ROW_BYTES])), "more than the 6050 bytes"),
    "stream without its checksum": (png(PIXELS[:-4]), "stream of pixels has no end"),
    "stream without half of its checksum": (png(PIXELS[:-2]), "stream of pixels has no end"),
    "wrong checksum of the stream": (png(PIXELS[:-4] + bytes(4)), "can't be inflated: .*incorrect data check"),
    "wrong checksum of pixels": (header() + with_wrong_checksum(chunk(b"IDAT", PIXELS)) + chunk(b"IEND"), "checksum of the chunk IDAT at byte 33"),
    "wrong checksum of the end": (png(PIXELS, with_wrong_checksum(chunk(b"IEND"))), "checksum of the chunk IEND"),
    "wrong checksum of a text before the pixels": (header() + with_wrong_checksum(NOTE) + chunk(b"IDAT", PIXELS) + chunk(b"IEND"), "checksum of the chunk tEXt at byte 33"),
    "wrong checksum of a text behind the pixels": (png(PIXELS, with_wrong_checksum(NOTE) + chunk(b"IEND")), "checksum of the chunk tEXt"),
    "wrong checksum of the header": (with_wrong_checksum(header()) + chunk(b"IDAT", PIXELS) + chunk(b"IEND"), "checksum of the chunk IHDR at byte 8"),
    "no end": (png(PIXELS, b""), "without an end chunk"),
    "cut in its end": (png(PIXELS)[:-5], "without an end chunk"),
    "hole of zeros": (png(PIXELS[:200] + bytes(64) + PIXELS[264:]), "can't be inflated|its header"),
    "through a text-mode transfer": (png(PIXELS).replace(b"\n", b"\r\n"), "known format"),
    "through a text-mode transfer but for its signature": (PNG_SIGNATURE + png(PIXELS)[8:].replace(b"\n", b"\r\n"), "checksum|ends at byte|inflated"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("decode", [decode_image, decode_bitmap])
def test_png_that_is_not_whole_is_rejected(damage: str, decode: object) -> None:
    encoded, reason = DAMAGED[damage]
    assert callable(decode)
    with pytest.raises(RecordError, match=reason) as caught:
        decode(encoded)
    assert caught.value.stage == "decode"


@pytest.mark.parametrize(
    "encoded",
    [
        png(PIXELS),
        png(PIXELS) + b"\n junk behind the end" + bytes(600),
        header() + NOTE + chunk(b"IDAT", PIXELS) + NOTE + chunk(b"IEND"),
        header()
        + b"".join(chunk(b"IDAT", PIXELS[at : at + 97]) for at in range(0, len(PIXELS), 97))
        + chunk(b"IEND"),
        header() + chunk(b"IDAT") + chunk(b"IDAT", PIXELS) + chunk(b"IDAT") + chunk(b"IEND"),
        png(zlib.compress(ROWS, 0)),
        png(PIXELS + b"behind the stream"),
    ],
    ids=["plain", "junk behind", "texts", "many chunks", "empty chunks", "stored", "behind the stream"],
)
def test_whole_png_is_taken(encoded: bytes) -> None:
    np.testing.assert_array_equal(decode_image(encoded).image, PICTURE)


@pytest.mark.parametrize(
    ("size", "depth", "colour", "num_bytes"),
    [
        # Rows x (1 + bytes of a row) of each pass, counted on paper.
        ((5, 3), 8, 0, (1 * 2) + (1 * 2) + 0 + (1 * 2) + (1 * 4) + (2 * 3) + (1 * 6)),
        ((1, 1), 8, 0, 2),
        ((1, 1), 16, 6, 9),
        ((9, 1), 1, 0, (1 + 1) + (1 + 1) + 0 + (1 + 1) + 0 + (1 + 1)),
    ],
)
def test_interlaced_rows_are_counted_pass_by_pass(
    size: tuple[int, int], depth: int, colour: int, num_bytes: int
) -> None:
    start = header(*size, depth, colour, 1)
    check_png(start + chunk(b"IDAT", zlib.compress(bytes(num_bytes))) + chunk(b"IEND"))
    for wrong in (num_bytes - 1, num_bytes + 1):
        with pytest.raises(RecordError, match=f"{num_bytes}"):
            check_png(start + chunk(b"IDAT", zlib.compress(bytes(wrong))) + chunk(b"IEND"))


def test_bomb_in_the_pixels_is_not_inflated() -> None:
    bomb = header(1, 1) + chunk(b"IDAT", zlib.compress(bytes(1 << 26))) + chunk(b"IEND")
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match="more than the 4 bytes"):
            check_png(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_damage_that_is_accepted_gives_pillows_rows() -> None:
    encoded = png(zlib.compress(ROWS[: 30 * ROW_BYTES]))
    picture = decode_image(encoded, accept_damage=True)
    assert picture.is_damaged
    np.testing.assert_array_equal(picture.image[:30], PICTURE[:30])
    assert not picture.image[30:].any()
    assert not decode_image(png(PIXELS), accept_damage=True).is_damaged
