"""SA-1B as a test reads it, and pairs and tars of it that are written by hand."""

import io
import json
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from miniature.shapes import picture_of
from PIL import Image

from resizeonce.preprocess.sources.sa1b import Options, Sa1bSource

SIZES = ((37, 61), (64, 40), (50, 50))


def pictures() -> list[Any]:
    return [picture_of(*size, seed) for seed, size in enumerate(SIZES)]


def open_source(root: Path, **options: Any) -> Sa1bSource:
    return Sa1bSource(root, msgspec.convert(options, Options))


def read(source: Sa1bSource) -> list[Any]:
    """Everything the source reports, scenes sent through pickle as to a worker."""
    records: list[Any] = list(source.rejects)
    for index in range(len(source)):
        records += pickle.loads(pickle.dumps(source[index])).read()
    return records


def keys(source: Sa1bSource) -> list[str]:
    return [source[index].key for index in range(len(source))]


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(content))


def pair_of(number: int) -> tuple[bytes, bytes]:
    """A jpg and a json with one mask: the left half of a 4 x 6 picture."""
    encoded = io.BytesIO()
    Image.fromarray(picture_of(4, 6, number)).save(encoded, "JPEG")
    content = {
        "image": {"image_id": number, "height": 4, "width": 6},
        "annotations": [{"id": 7, "segmentation": {"size": [4, 6], "counts": [0, 12, 12]}}],
    }
    return encoded.getvalue(), json.dumps(content).encode()


def write_tar(path: Path, numbers: Iterable[int], prefix: str = "", **options: Any) -> None:
    with tarfile.open(path, "w", **options) as archive:
        for number in numbers:
            for suffix, content in zip(("jpg", "json"), pair_of(number), strict=True):
                add(archive, f"{prefix}sa_{number}.{suffix}", content)
