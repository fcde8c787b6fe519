"""The compact stored form of images: how small it is, how fast it is read, and what else could have been taken.

::

    python benchmarks/compact.py                        scikit-image's photographs
    python benchmarks/compact.py --photos /data/coco    the JPEG files below a folder instead

Everything on one thread. The forms take turns, and each must give the same pixels before it is timed. A sample is
the whole: both images, normalised where they are, and a mask. See benchmarks/README.md, section "Compact images".
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import skimage
from numcodecs import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader.fill import BatchRows
from resizeonce.loader.format.gradient import pack_gradient, unpack_gradient
from resizeonce.loader.format.layout import TENSORS
from resizeonce.loader.store import Store
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

Pixels = NDArray[np.uint8]

SIZES = (448, 1024)
ROUNDS = 5
BATCH = 8
FORMS = ("uint8", "compact")


@dataclass(frozen=True)
class Codec:
    """One way to store an image, uint8 [3, S, S]."""

    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, Pixels], None]


def _unpack(encoded: bytes, out: Pixels) -> None:
    unpack_gradient(np.frombuffer(encoded, np.uint8), out)


def _gradient_zstd(image: Pixels) -> bytes:
    residual = np.diff(np.diff(image, axis=1, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    residual[0::2] -= residual[1]
    encoded: bytes = Zstd(level=1).encode(residual)
    return encoded


def _undo_gradient_zstd(encoded: bytes, out: Pixels) -> None:
    Zstd().decode(encoded, out)
    out[0::2] += out[1]
    np.add.accumulate(out, axis=1, out=out)
    np.add.accumulate(out, axis=2, out=out)


def _picture(form: str, **options: object) -> Codec:
    def encode(image: Pixels) -> bytes:
        stream = BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(stream, form, **options)
        return stream.getvalue()

    def decode(encoded: bytes, out: Pixels) -> None:
        with Image.open(BytesIO(encoded)) as picture:
            out[...] = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)

    return Codec(encode, decode)


_BITSHUFFLE = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
CODECS = {
    "compact": Codec(lambda image: pack_gradient(image).tobytes(), _unpack),
    "the same differences, zstd-1": Codec(_gradient_zstd, _undo_gradient_zstd),
    "Blosc, bitshuffle, zstd-1": Codec(lambda i: bytes(_BITSHUFFLE.encode(i)), _BITSHUFFLE.decode),
    "zstd-3": Codec(lambda image: bytes(Zstd(level=3).encode(image)), Zstd().decode),
    "WebP lossless, fastest": _picture("WEBP", lossless=True, method=0, quality=0),
    "PNG": _picture("PNG", compress_level=1),
}


def _photos(folder: Path | None, limit: int) -> list[Path]:
    if folder is None:
        data = Path(skimage.__file__).parent / "data"
        names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
        return [data / name for name in names]
    found = sorted(folder.rglob("*.jpg"))
    return found[:: max(1, len(found) // limit)][:limit]


def _images(photos: list[Path]) -> Iterator[Pixels]:
    for path in photos:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        for size in SIZES:
            resized = rgb.resize((size, size), Image.Resampling.BILINEAR)
            yield np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def compare_codecs(photos: list[Path]) -> None:
    """Print size and time of each codec, of both images of a photograph together."""
    images = list(_images(photos))
    encoded = {name: [codec.encode(image) for image in images] for name, codec in CODECS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in CODECS}
    packing: dict[str, list[float]] = {name: [] for name in CODECS}
    for _ in range(ROUNDS):
        for name, codec in CODECS.items():
            began = time.perf_counter()
            for image in images:
                codec.encode(image)
            packing[name].append((time.perf_counter() - began) / len(photos))
            outs = [np.empty_like(image) for image in images]
            began = time.perf_counter()
            for content, out in zip(encoded[name], outs, strict=True):
                codec.decode(content, out)
            seconds[name].append((time.perf_counter() - began) / len(photos))
            assert all(np.array_equal(*pair) for pair in zip(outs, images, strict=True)), name
    raw = sum(image.nbytes for image in images)
    print(f"{len(photos)} photographs, both images of each\n")
    print("| form | of the raw bytes | largest photograph | encode ms | decode ms |\n|---|---|---|---|---|")
    for name, contents in encoded.items():
        sizes = np.array([len(content) for content in contents]).reshape(-1, len(SIZES)).sum(axis=1)
        share, worst = sizes.sum() / raw, sizes.max() / (raw / len(photos))
        figures = (statistics.median(packing[name]) * 1000, statistics.median(seconds[name]) * 1000)
        print(f"| {name} | {share:.3f} | {worst:.3f} | {figures[0]:.1f} | {figures[1]:.1f} |")


def compare_stores(photos: list[Path], folder: Path) -> None:
    """Print how many samples a second one core reads from a store of each form, warm."""
    root = folder / "raw"
    root.mkdir()
    for number, path in enumerate(photos):
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"))
        mask = np.zeros(rgb.shape[:2], np.uint8)
        mask[rgb.shape[0] // 4 : rgb.shape[0] // 2, rgb.shape[1] // 4 :] = 1
        np.savez(root / f"{number:04}.npz", image1=rgb, image2=rgb, mask1=mask, mask2=mask)
    stores = {}
    for form in FORMS:
        recipe = {name: {"stored": form} for name in TENSORS[:2]}
        convert(parse_config({"source": {"name": "npz"}, "recipe": recipe}), root, folder / form)
        stores[form] = Store(folder / form)
    rates: dict[str, list[float]] = {form: [] for form in FORMS}
    batches: dict[str, dict[str, NDArray[np.generic]]] = {}
    for _ in range(ROUNDS + 1):
        for form, store in stores.items():
            layout = store.array_layout(BATCH, TENSORS)
            arrays = batches.setdefault(form, {n: np.empty(shape, t) for n, (shape, t) in layout.items()})
            numbers = [number % len(store) for number in range(BATCH)]
            began, count = time.process_time(), 0
            while time.process_time() - began < 1:
                BatchRows([store] * BATCH, numbers).fill(arrays)
                count += 2 * BATCH
            rates[form].append(count / (time.process_time() - began))
    for name, array in batches["uint8"].items():
        assert array.tobytes() == batches["compact"][name].tobytes(), name
    print("\n| store | samples/s of one core |\n|---|---|")
    for form in FORMS:
        warm = rates[form][1:]
        print(f"| {form} | {statistics.median(warm):.0f} ({min(warm):.0f}-{max(warm):.0f}) |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder with JPEG files")
    parser.add_argument("--count", type=int, default=40, help="how many of them")
    options = parser.parse_args()
    photos = _photos(options.photos, options.count)
    compare_codecs(photos)
    with tempfile.TemporaryDirectory() as folder:
        compare_stores(photos, Path(folder))


if __name__ == "__main__":
    main()
