"""Label maps: a number is an object, however the file holds it, or the file is refused."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from miniature.shapes import ellipse_of
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.preprocess.decode.labels import decode_labels, decode_object, split_labels
from resizeonce.preprocess.decode.segmentation import parse_rle, unite
from resizeonce.preprocess.errors import RecordError, SegmentationError

LABELS = np.zeros((30, 45), np.uint8)
LABELS[3:12, 4:20], LABELS[15:25, 10:40], LABELS[20:22, 30:44] = 1, 2, 3


def png(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def palette_png(labels: NDArray[np.uint8], palette: tuple[int, ...]) -> bytes:
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette(palette)
    return png(picture)


def grey_png(labels: NDArray[np.uint8], bits: int) -> bytes:
    """Write grey of 2 or 4 bits, which Pillow does not, by the rules of the format."""
    per_byte = 8 // bits
    padded = np.pad(labels, ((0, 0), (0, -labels.shape[1] % per_byte))).astype(np.uint8)
    packed = sum(padded[:, place::per_byte] << (8 - bits * (place + 1)) for place in range(per_byte))
    return png_of_bytes(np.asarray(packed, np.uint8), labels.shape[1], bits, 0)


def deep_png(labels: NDArray[np.uint8], kind: int) -> bytes:
    """Write 16 bits in colours (2), with alpha (4) or both (6), which Pillow does not: labels in each channel, full alpha."""
    pixels = np.repeat(labels[..., None].astype(">u2"), 1 if kind == 4 else 3, axis=2)
    if kind != 2:
        pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 65535)], axis=2)
    return png_of_bytes(pixels, labels.shape[1], 16, kind)


def png_of_bytes(rows: NDArray[Any], width: int, bits: int, kind: int) -> bytes:
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    encoded = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded)


SAME: dict[str, bytes] = {
    "palette": palette_png(LABELS, (0, 0, 0, 9, 8, 7, 200, 0, 0, 0, 200, 0)),
    "palette of black alone": palette_png(LABELS, (0,) * 12),
    "grey": png(Image.fromarray(LABELS)),
    "grey of 16 bits": png(Image.fromarray(LABELS.astype(np.uint16))),
    "grey of 4 bits": grey_png(LABELS, 4),
    "grey of 2 bits": grey_png(LABELS, 2),
    "grey as RGB": png(Image.fromarray(LABELS).convert("RGB")),
    "grey with alpha": png(Image.merge("LA", [Image.fromarray(LABELS), Image.new("L", (45, 30), 255)])),
    "transparent background": png(
        Image.merge("LA", [Image.fromarray(LABELS), Image.fromarray((LABELS > 0).astype(np.uint8) * 255)])
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_numbers_are_the_same_however_a_file_holds_them(kind: str) -> None:
    found = decode_labels(SAME[kind])
    assert found.dtype == np.uint16
    assert np.array_equal(found, LABELS)


def test_one_bit_is_object_1() -> None:
    mask = ellipse_of(30, 45, 3)
    assert np.array_equal(decode_labels(png(Image.fromarray(mask))), mask)


def test_numbers_beyond_255_are_kept() -> None:
    labels = LABELS.astype(np.uint16) * 300
    assert np.array_equal(decode_labels(png(Image.fromarray(labels))), labels)


def soft(mask: NDArray[np.bool_]) -> Image.Image:
    large = Image.fromarray(mask.astype(np.uint8) * 255)
    return large.resize((mask.shape[1] // 3, mask.shape[0] // 3), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG")
    return stream.getvalue()


BOTH = np.concatenate([LABELS.astype(np.uint16) * 200, np.full((4, 45), 255, np.uint16)])

REFUSED: dict[str, tuple[bytes, str]] = {
    "jpeg": (jpeg(Image.fromarray(LABELS)), "a JPEG, a lossy format"),
    "colours": (
        png(Image.fromarray(np.stack([LABELS * 60, LABELS * 20, LABELS], axis=2))),
        "a picture of 4 colours (mode RGB), whose numbers are lost",
    ),
    "soft edges": (png(soft(ellipse_of(200, 300, 5))), "nowhere thicker than an edge: it is anti-aliased"),
    "soft edges in a palette": (png(soft(ellipse_of(200, 300, 5)).convert("P")), "nowhere thicker than an edge"),
    "an inverted palette": (
        palette_png((ellipse_of(30, 45, 3) == 0).astype(np.uint8), (255, 255, 255, 0, 0, 0)),
        "has black for 1 and another colour for 0",
    ),
    "255 among 16 bits": (png(Image.fromarray(BOTH)), "set source.ignored=65535 if it is an object"),
    "values under alpha": (
        png(Image.merge("LA", [Image.fromarray(LABELS), Image.fromarray((LABELS == 2).astype(np.uint8))])),
        "values where its alpha channel is 0",
    ),
    **{
        f"16 bits of kind {kind}": (deep_png(LABELS, kind), "16 bits in colours or beside an alpha channel")
        for kind in (2, 4, 6)
    },
    "cut": (png(Image.fromarray(LABELS))[:-20], "damaged PNG file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_sure_numbers_is_refused(kind: str) -> None:
    encoded, reason = REFUSED[kind]
    with pytest.raises(RecordError) as caught:
        decode_labels(encoded)
    assert reason in caught.value.reason


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_an_object_of_16_bits_in_colour_is_refused_and_not_lost(kind: int) -> None:
    with pytest.raises(RecordError, match="16 bits in colours or beside an alpha channel"):
        decode_object(deep_png((LABELS == 1).astype(np.uint8), kind), any_value=False)


def test_255_of_16_bits_is_an_object_where_another_value_is_ignored() -> None:
    assert np.array_equal(decode_labels(png(Image.fromarray(BOTH)), 65535), BOTH)


def test_thin_objects_are_objects_where_others_are_thick() -> None:
    labels = np.zeros((40, 60), np.uint8)
    for number in range(1, 10):
        labels[:, 6 * number : 6 * number + (1 if number < 5 else 4)] = number
    assert np.array_equal(decode_labels(png(Image.fromarray(labels))), labels)


def test_regions_are_those_that_pycocotools_encodes() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, (17, 23)).astype(np.uint16) * rng.integers(0, 2, (17, 23)).astype(np.uint16)
    labels[0, 0], labels[-1, -1] = 2, 3
    regions = split_labels(labels)
    assert list(regions) == [1, 2, 3]
    for value, region in regions.items():
        mask = labels == value
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert np.array_equal(region.decode(), mask)
        assert region.area == coco_mask.area(encoded)
        assert region.runs.sum() == labels.size
        assert (region.runs[1:] > 0).all()


def test_background_alone_has_no_region() -> None:
    assert split_labels(np.zeros((5, 7), np.uint16)) == {}


@pytest.mark.parametrize("value", [1, 255])
def test_one_object_is_what_is_not_0_and_its_value_is_told(value: int) -> None:
    mask = ellipse_of(30, 45, 3)
    covered, found = decode_object(png(Image.fromarray(mask.astype(np.uint8) * value)), any_value=False)
    assert np.array_equal(covered, mask)
    assert found == value


def test_several_values_of_a_palette_are_one_object_only_where_that_is_said() -> None:
    covered, value = decode_object(SAME["palette"], any_value=True)
    assert np.array_equal(covered, LABELS > 0)
    assert value == 0
    for encoded, any_value in ((SAME["palette"], False), (SAME["grey"], True)):
        with pytest.raises(RecordError, match="expected 0 and one other value"):
            decode_object(encoded, any_value=any_value)


def test_masks_together_are_what_pycocotools_merges() -> None:
    rng = np.random.default_rng(2)
    for number in range(50):
        masks = [rng.random((9, 13)) < share for share in rng.choice([0.0, 0.2, 0.7, 1.0], 1 + number % 3)]
        encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
        united = unite([parse_rle(rle) for rle in encoded])
        assert np.array_equal(united.decode(), coco_mask.decode(coco_mask.merge(encoded)))
        assert united.runs.sum() == 9 * 13
    with pytest.raises(SegmentationError, match="masks of 2 x 3, 3 x 2"):
        unite([parse_rle({"size": size, "counts": [6]}) for size in ([2, 3], [3, 2])])
