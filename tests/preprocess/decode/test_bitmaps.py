"""Masks in files of their own: what is covered, and which are no masks."""

import io

import numpy as np
import pytest
from encoded_pictures import png, save
from miniature.shapes import ellipse_of
from PIL import Image

from resizeonce.preprocess.decode.images import decode_bitmap
from resizeonce.preprocess.errors import RecordError


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


def test_one_bit_masks_have_bytes_0_and_1() -> None:
    """Pillow's own array of such a picture is bool with bytes 0 and 255."""
    file = io.BytesIO()
    Image.fromarray(np.eye(9, 14, dtype=np.bool_)).save(file, "PNG")
    bitmap = decode_bitmap(file.getvalue())
    assert bitmap.dtype == np.bool_
    assert set(bitmap.tobytes()) == {0, 1}
    assert np.array_equal(bitmap, np.eye(9, 14))
