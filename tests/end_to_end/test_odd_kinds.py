"""Awkward and broken COCO samples, each made here and converted: it becomes a sample, or a reject, and stops nothing."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from miniature.shapes import picture_of
from PIL import Image, PngImagePlugin
from stores import CONFIGS, TINY

from resizeonce.loader import Store
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.store.root import read_rejects

HEIGHT, WIDTH = 48, 64
SQUARE = [8, 8, 40, 8, 40, 40, 8, 40]


def convert_coco(root: Path, content: dict[str, Any]) -> tuple[set[str], dict[str, str]]:
    """Convert an instances JSON; return "<image>/<annotation>" of every sample, and the reasons by the rejects' keys."""
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    convert(load_config(CONFIGS / "coco.toml", [*TINY, "source.crowds=true"]), root, root / "out.zarr")
    store = Store(root / "out.zarr")
    taken = set()
    for number in range(len(store)):
        part, masks = store.locate(number)
        image = part.text("images/key", int(part.column("masks/image")[masks[0]]))
        taken.add(f"{image}/{part.text('masks/object_id', int(masks[0]))}")
    return taken, {reject.key: reject.reason for reject in read_rejects(root / "out.zarr")}


def rle(*runs: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {"size": list(size), "counts": list(runs)}


AREA = HEIGHT * WIDTH

# "Xo0X2`n1" is the runs 1000, 72, 2000 as pycocotools 2.0.11 writes them.
ANNOTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "one polygon": ({"segmentation": [SQUARE]}, ""),
    "several polygons": ({"segmentation": [SQUARE, [44, 8, 60, 8, 60, 40]]}, ""),
    "partly outside": ({"segmentation": [[-20, -10, 40, -10, 40, 40, -20, 40]]}, ""),
    "crowd as run lengths": ({"segmentation": rle(1000, 72, 2000), "iscrowd": 1}, ""),
    "run lengths, no crowd": ({"segmentation": rle(1000, 72, 2000)}, ""),
    "compressed": ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "Xo0X2`n1"}}, ""),
    "a full mask": ({"segmentation": rle(0, AREA)}, ""),
    "unlisted category": ({"segmentation": [SQUARE], "category_id": 77}, ""),
    "no category": ({"segmentation": [SQUARE], "category_id": None}, ""),
    "empty list": ({"segmentation": []}, "no segmentation"),
    "null": ({"segmentation": None}, "no segmentation"),
    "no key": ({}, "no segmentation"),
    "two points": ({"segmentation": [[8, 8, 40, 40]]}, "no polygon of at least 3 points"),
    "one point": ({"segmentation": [[8, 8]]}, "no polygon of at least 3 points"),
    "odd count": ({"segmentation": [SQUARE[:-1]]}, "no polygon of at least 3 points"),
    "wholly outside": ({"segmentation": [[100, 60, 140, 60, 140, 90, 100, 90]]}, "covers no pixel"),
    "no area": ({"segmentation": [[8, 8, 8, 8, 8, 8]]}, "covers no pixel"),
    "an empty mask": ({"segmentation": rle(AREA)}, "covers no pixel"),
    "transposed": ({"segmentation": rle(AREA, 0, size=(WIDTH, HEIGHT))}, "(the transpose)"),
    "runs that do not add up": ({"segmentation": rle(1000, 72)}, "add up to 1072 pixels"),
    "damaged counts": ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "Xo0X2`no"}}, "cut short"),
    "unlisted image": ({"segmentation": [SQUARE], "image_id": 9}, "belongs to image 9, which is not listed"),
}  # fmt: skip


def test_each_odd_annotation_ends_as_its_kind_does(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    Image.fromarray(picture_of(HEIGHT, WIDTH, 1)).save(tmp_path / "train2017" / "1.jpg")
    annotations: list[dict[str, Any]] = [
        {"id": number, "image_id": 1, "category_id": 1} | fields
        for number, (fields, _) in enumerate(ANNOTATIONS.values())
    ]
    # Two annotations share an id: the second is the one too many.
    annotations.append({"id": 0, "image_id": 1, "category_id": 1, "segmentation": [SQUARE]})
    images = [{"id": 1, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    taken, reasons = convert_coco(tmp_path, content)
    assert "has the id of an earlier annotation" in reasons.pop("coco/1/0")
    for number, (kind, (fields, reason)) in enumerate(ANNOTATIONS.items()):
        key = f"coco/{fields.get('image_id', 1)}/{number}"
        assert (key in taken) == (reason == ""), kind
        assert (key in reasons) == (reason != ""), kind
        assert reason in reasons.get(key, ""), kind


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def picture() -> Image.Image:
    return Image.fromarray(picture_of(HEIGHT, WIDTH, 2))


def with_exif(orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), exif=exif, **options)


def with_a_wrongly_typed_gps_tag() -> bytes:
    # GPSInfo (0x8825) as text "no", where a pointer to another table belongs; big-endian TIFF.
    table = struct.pack(">2sHIHHHI4sI", b"MM", 42, 8, 1, 0x8825, 2, 3, b"no\0\0", 0)
    return encoded(picture(), exif=b"Exif\0\0" + table)


def with_texts() -> bytes:
    texts = PngImagePlugin.PngInfo()
    for number in range(20):
        texts.add_itxt(f"key{number}", "text " * 100, zip=bool(number % 2))
    return encoded(picture(), "PNG", pnginfo=texts)


def sixteen_bits() -> bytes:
    return encoded(Image.fromarray((picture_of(HEIGHT, WIDTH, 2)[..., 0].astype(np.uint16)) << 8), "PNG")


WHOLE = encoded(picture(), "JPEG", quality=95)
PNG = encoded(picture(), "PNG")

PICTURES: dict[str, tuple[Callable[[], bytes | None], tuple[int, int], str]] = {
    "grey": (lambda: encoded(picture().convert("L")), (HEIGHT, WIDTH), ""),
    "cmyk": (lambda: encoded(picture().convert("CMYK")), (HEIGHT, WIDTH), ""),
    "progressive": (lambda: encoded(picture(), progressive=True), (HEIGHT, WIDTH), ""),
    "half a turn": (lambda: with_exif(3), (HEIGHT, WIDTH), ""),
    "turned, stored size": (lambda: with_exif(6), (HEIGHT, WIDTH), ""),
    "turned, upright size": (lambda: with_exif(6), (WIDTH, HEIGHT), ""),
    "gps tag": (with_a_wrongly_typed_gps_tag, (HEIGHT, WIDTH), ""),
    "16 bits": (sixteen_bits, (HEIGHT, WIDTH), ""),
    "1 bit": (lambda: encoded(picture().convert("1"), "PNG", transparency=0), (HEIGHT, WIDTH), ""),
    "grey and alpha": (lambda: encoded(picture().convert("LA"), "PNG"), (HEIGHT, WIDTH), ""),
    "colour and alpha": (lambda: encoded(picture().convert("RGBA"), "PNG"), (HEIGHT, WIDTH), ""),
    "palette": (lambda: encoded(picture().convert("P"), "PNG"), (HEIGHT, WIDTH), ""),
    "palette, transparent": (lambda: encoded(picture().convert("P"), "PNG", transparency=3), (HEIGHT, WIDTH), ""),
    "texts": (with_texts, (HEIGHT, WIDTH), ""),
    "png called jpg": (lambda: PNG, (HEIGHT, WIDTH), ""),
    "half the size": (lambda: WHOLE, (HEIGHT // 2, WIDTH // 2), ""),
    "swapped": (lambda: WHOLE, (WIDTH, HEIGHT), "the sides exchanged"),
    "cut jpeg": (lambda: WHOLE[: len(WHOLE) * 6 // 10], (HEIGHT, WIDTH), "JPEG"),
    "cut progressive": (lambda: encoded(picture(), progressive=True)[:-8], (HEIGHT, WIDTH), "JPEG"),
    "cut png": (lambda: PNG[: len(PNG) // 2], (HEIGHT, WIDTH), "PNG"),
    "signature and garbage": (lambda: PNG[:8] + b"garbage" * 20, (HEIGHT, WIDTH), "image"),
    "no bytes": (lambda: b"", (HEIGHT, WIDTH), "empty (0 bytes)"),
    "missing": (lambda: None, (HEIGHT, WIDTH), "the file is missing"),
}  # fmt: skip


def test_each_odd_picture_ends_as_its_kind_does(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    images, annotations = [], []
    for number, (make, (height, width), _) in enumerate(PICTURES.values()):
        name = f"{number}.jpg"
        if (content := make()) is not None:
            (tmp_path / "train2017" / name).write_bytes(content)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        polygon = [4, 4, width / 2, 4, width / 2, height / 2, 4, height / 2]
        annotations.append({"id": number, "image_id": number, "category_id": 1, "segmentation": [polygon]})
    taken, reasons = convert_coco(tmp_path, {"images": images, "annotations": annotations})
    for number, (kind, (_, _, reason)) in enumerate(PICTURES.items()):
        assert (f"coco/{number}/{number}" in taken) == (reason == ""), kind
        assert (f"coco/{number}" in reasons) == (reason != ""), kind
        assert reason in reasons.get(f"coco/{number}", ""), kind
