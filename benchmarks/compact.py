"""The compact stored form of images: how small it is, how fast it is read, and what else could have been taken.

::

    python benchmarks/compact.py                        scikit-image's photographs
    python benchmarks/compact.py --photos /data/coco    the JPEG files below a folder instead

Everything on one thread. The forms take turns, and each must give the same pixels before it is timed. A sample is
the whole: both images, normalised where they are, and a mask. See benchmarks/README.md, section "Compact images".
"""

import argparse
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import skimage
from case import BATCH_SIZE, TENSORS
from measure import Times, print_head, print_row, spread
from numpy.typing import NDArray
from PIL import Image
from plain import IMAGE_SIZES, make_images
from rivals.image_codecs import CODECS as OTHERS
from rivals.image_codecs import Pixels

from resizeonce.loader import Store
from resizeonce.loader.fill import BatchRows
from resizeonce.loader.format.gradient import unpack_gradient
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.kernels.encode import pack_image
from resizeonce.preprocess.run.convert import convert

ROUNDS = 5
FORMS = ("uint8", "compact")
BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def _unpack(encoded: bytes, out: Pixels) -> None:
    unpack_gradient(np.frombuffer(encoded, np.uint8), out)


CODECS = {"compact": (lambda image: pack_image(image).tobytes(), _unpack), **OTHERS}


def compare_codecs(photos: list[Path]) -> None:
    """Print size and time of each codec, of both images of a photograph together."""
    images = [image for photo in photos for image in make_images(photo)[0].values()]
    contents: dict[str, list[bytes]] = {}
    packing, unpacking = defaultdict(Times), defaultdict(Times)
    for _ in range(ROUNDS):
        for name, (encode, decode) in CODECS.items():
            contents[name] = encoded = []
            outs = [np.empty_like(image) for image in images]
            packing[name].add(len(photos), partial(encoded.extend, map(encode, images)))
            unpacking[name].add(len(photos), partial(list, map(decode, encoded, outs)))
            assert all(map(np.array_equal, outs, images)), name
    raw = sum(image.nbytes for image in images)
    print(f"{len(photos)} photographs, both images of each\n")
    print_head("form", "of the raw bytes", "largest photograph", "encode ms", "decode ms")
    for name in CODECS:
        sizes = np.array([*map(len, contents[name])]).reshape(-1, len(IMAGE_SIZES)).sum(axis=1)
        shares = f"{sizes.sum() / raw:.3f}", f"{sizes.max() / (raw / len(photos)):.3f}"
        print_row(name, *shares, *(f"{1000 * times[name].median:.1f}" for times in (packing, unpacking)))


def compare_stores(photos: list[Path], folder: Path) -> None:
    """Print how many samples a second one core reads from a store of each form, warm."""
    root = folder / "raw"
    root.mkdir()
    for number, path in enumerate(photos):
        rgb = np.asarray(Image.open(path).convert("RGB"))
        mask = np.zeros(rgb.shape[:2], np.uint8)
        mask[rgb.shape[0] // 4 : rgb.shape[0] // 2, rgb.shape[1] // 4 :] = 1
        np.savez(root / f"{number:04}.npz", image1=rgb, image2=rgb, mask1=mask, mask2=mask)
    stores = {}
    for form in FORMS:
        recipe = {name: {"stored": form} for name in IMAGE_SIZES}
        convert(parse_config({"source": {"name": "npz"}, "recipe": recipe}), root, folder / form)
        stores[form] = Store(folder / form)
    rates: dict[str, list[float]] = defaultdict(list)
    batches: dict[str, dict[str, NDArray[np.generic]]] = {}
    for _ in range(ROUNDS + 1):
        for form, store in stores.items():
            layout = store.array_layout(BATCH_SIZE, TENSORS)
            arrays = batches.setdefault(form, {n: np.empty(shape, t) for n, (shape, t) in layout.items()})
            numbers = [number % len(store) for number in range(BATCH_SIZE)]
            began, count = time.process_time(), 0
            while time.process_time() - began < 1:
                BatchRows([store] * BATCH_SIZE, numbers, TENSORS).fill(arrays)
                count += 2 * BATCH_SIZE
            rates[form].append(count / (time.process_time() - began))
    for name, array in batches["uint8"].items():
        assert array.tobytes() == batches["compact"][name].tobytes(), name
    print()
    print_head("store", "samples/s of one core")
    for form in FORMS:
        # The first round is not warm.
        print_row(form, spread(rates[form][1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder with JPEG files, of which 40 are taken")
    options = parser.parse_args()
    photos = [Path(skimage.__file__).parent / "data" / name for name in BUNDLED]
    if options.photos:
        found = sorted(options.photos.rglob("*.jpg"))
        photos = found[:: max(1, len(found) // 40)][:40]
    compare_codecs(photos)
    with tempfile.TemporaryDirectory() as folder:
        compare_stores(photos, Path(folder))


if __name__ == "__main__":
    main()
