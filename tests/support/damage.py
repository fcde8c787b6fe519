"""Makes every kind of damage a store can have: careless (a flipped bit, a lost file), and consistent.

Consistent damage is what a wrong converter makes: every checksum, digest and total is right, and the content is wrong.
The founding bug was of that kind.
"""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image
from stores import specs_of

from resizeonce.loader.format.metadata import attributes_digest
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.store.shard_writer import ShardWriter

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def files_of(store: Path) -> list[Path]:
    """Return every file of a store, in a fixed order."""
    return sorted(path for path in store.rglob("*") if path.is_file())


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file, counted from its beginning."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def random_flip(store: Path, chance: random.Random) -> tuple[Path, int]:
    """Return a file and a bit of it: each file is as likely as any other, so that small ones are not missed."""
    path = chance.choice([file for file in files_of(store) if file.stat().st_size])
    return path, chance.randrange(8 * path.stat().st_size)


def cut_short(path: Path, share: float = 0.5) -> None:
    """Keep only the first bytes of a file."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def fill_with_zeros(path: Path) -> None:
    """Keep a file's size and nothing else of it."""
    path.write_bytes(bytes(path.stat().st_size))


def swap(first: Path, second: Path) -> None:
    """Give each of two files the other's content."""
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def attributes_of(folder: Path) -> dict[str, Any]:
    """Return the attributes of a store or of a part."""
    content: dict[str, Any] = json.loads((folder / "zarr.json").read_bytes())
    attributes: dict[str, Any] = content["attributes"]["resizeonce"]
    return attributes


def write_attributes(folder: Path, attributes: dict[str, Any]) -> None:
    """Write the attributes of a store or of a part; a store's digest of itself is renewed."""
    if "sha256" in attributes:
        attributes["sha256"] = attributes_digest(attributes)
    metadata = {"attributes": {"resizeonce": attributes}, "zarr_format": 3, "node_type": "group"}
    (folder / "zarr.json").write_text(json.dumps(metadata, indent=1))


def parts_of(store: Path) -> list[Path]:
    """Return the folders of a store's parts."""
    return [store / part["name"] for part in attributes_of(store)["parts"]]


def read_array(part: Path, array: str) -> NDArray[Any]:
    """Return an array as zarr reads it."""
    return np.asarray(zarr.open_array(part / array, mode="r")[:])


def rewrite(part: Path, array: str, values: NDArray[Any] | Sequence[NDArray[Any]]) -> None:
    """Write other values into an array of the same length, and make every digest and sum agree again."""
    spec = specs_of(part.parent)[array]
    path = part / shard_path(spec)
    path.unlink()
    with ShardWriter(path.parent, path.name, spec.codec, spec.piece_rows * spec.row_bytes) as shard:
        if spec.piece_rows:
            shard.extend(np.asarray(values).tobytes())
        else:
            for chunk in values if spec.row_chunks else [np.asarray(values)]:
                shard.append(chunk)
    assert shard.digest is not None
    attributes = attributes_of(part)
    attributes["files"][shard_path(spec)] = asdict(shard.digest)
    attributes["bytes"] = sum(file["bytes"] for file in attributes["files"].values())
    reseal(part, attributes)


def reseal(part: Path, attributes: dict[str, Any]) -> None:
    """Write a part's attributes and make the root agree with them."""
    write_attributes(part, attributes)
    root = attributes_of(part.parent)
    entry = next(entry for entry in root["parts"] if entry["name"] == part.name)
    entry |= {name: attributes[name] for name in ("rows", "bytes")}
    entry["sha256"] = hashlib.sha256((part / "zarr.json").read_bytes()).hexdigest()
    root["totals"]["bytes"] = sum(entry["bytes"] for entry in root["parts"])
    write_attributes(part.parent, root)


def recount_prompts(part: Path) -> None:
    """Make the numbers of empty and small prompts agree with `masks/prompt_cells` again."""
    cells = read_array(part, "masks/prompt_cells")
    attributes = attributes_of(part)
    root = attributes_of(part.parent)
    counts = {
        "empty_prompts": int((cells == 0).sum()),
        "small_prompts": int(((cells > 0) & (cells < 4)).sum()),
    }
    for name, count in counts.items():
        root["totals"][name] += count - attributes[name]
        attributes[name] = count
    write_attributes(part.parent, root)
    reseal(part, attributes)


def rewrite_images(
    root: Path,
    part: Path,
    make: Callable[[Image.Image], NDArray[np.uint8]],
    array: str = "images/g_pixel_values",
    count: int | None = None,
) -> None:
    """Make an image array of a part another way, from the raw pictures, for each a function of the picture.

    With `count`, only the first images: where a test needs no more, as naming what is wrong with one takes its time.
    """
    offsets, encoded = read_array(part, "images/path_offsets"), read_array(part, "images/path_bytes")
    images = list(read_array(part, array))
    for number, (start, end) in enumerate(list(pairwise(offsets))[:count]):
        with Image.open(root / encoded[start:end].tobytes().decode()) as picture:
            images[number] = np.ascontiguousarray(make(picture.convert("RGB")).transpose(2, 0, 1))
    rewrite(part, array, images)


def resized(picture: Image.Image, size: int = 1024) -> NDArray[np.uint8]:
    """Return a picture as the default recipe makes it, uint8 [size, size, 3]."""
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def founding_bug(picture: Image.Image) -> NDArray[np.uint8]:
    """Normalise the 448 image, enlarge it, multiply by 255 and clamp: what this project exists for."""
    normalized = (resized(picture, 448).astype(np.float32) / 255 - MEAN) / STD
    enlarged = [
        np.asarray(Image.fromarray(normalized[..., channel]).resize((1024, 1024), Image.Resampling.BILINEAR))
        for channel in range(3)
    ]
    return np.clip(np.stack(enlarged, axis=2) * 255, 0, 255).astype(np.uint8)


def enlarged(picture: Image.Image) -> NDArray[np.uint8]:
    """Enlarge the 448 image."""
    return resized(Image.fromarray(resized(picture, 448)))


def blue_first(picture: Image.Image) -> NDArray[np.uint8]:
    """Leave the channels as OpenCV reads them."""
    return resized(picture)[..., ::-1]


def transposed(picture: Image.Image) -> NDArray[np.uint8]:
    """Take width for height."""
    return resized(picture).transpose(1, 0, 2)


def mirrored(picture: Image.Image) -> NDArray[np.uint8]:
    """Apply a flip to one of the two images."""
    return resized(picture)[:, ::-1]


def padded(picture: Image.Image) -> NDArray[np.uint8]:
    """Keep the aspect ratio and pad with black, as a letterbox."""
    scale = 1024 / max(picture.size)
    inner = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
    )
    square = Image.new("RGB", (1024, 1024))
    square.paste(inner, ((1024 - inner.width) // 2, (1024 - inner.height) // 2))
    return np.asarray(square)


def half_pixel_off(picture: Image.Image) -> NDArray[np.uint8]:
    """Displace the image by half of its own pixels, down and right."""
    image = resized(picture).astype(np.uint16)
    for axis in (0, 1):
        image = (image + np.roll(image, 1, axis)) // 2
    return image.astype(np.uint8)


def corner_aligned(picture: Image.Image) -> NDArray[np.uint8]:
    """Sample at i * scale in place of (i + 0.5) * scale - 0.5, as code without the half pixel does."""
    wide, high = ((0.5 - 0.5 * side / 1024) for side in picture.size)
    affine = (picture.width / 1024, 0, wide, 0, picture.height / 1024, high)
    return np.asarray(
        picture.transform((1024, 1024), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    )


def normalized(picture: Image.Image) -> NDArray[np.uint8]:
    """Normalise, and let the cast to whole bytes do what it does."""
    values = (resized(picture).astype(np.float32) / 255 - MEAN) / STD
    return values.astype(np.int64).astype(np.uint8)


def another_filter(picture: Image.Image) -> NDArray[np.uint8]:
    """Resize by BICUBIC where the recipe says BILINEAR."""
    return np.asarray(picture.resize((1024, 1024), Image.Resampling.BICUBIC))
