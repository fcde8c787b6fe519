"""The compact stored form of images, and other ways to store an image without loss: how small each is, and how fast.

::

    PYTHONPATH=benchmarks python -m rivals.image_codecs                         scikit-image's photographs
    PYTHONPATH=benchmarks python -m rivals.image_codecs --photos /data/coco     40 of the JPEG files below a folder

Everything on one thread, in turns; each must give the same pixels before it is timed.
"""

from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import skimage
from frame import Turn, parser_of, print_about, print_head, print_row, take_turns
from numcodecs import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from PIL import Image
from plain import IMAGE_SIZES, make_images

from resizeonce.loader.kernels.core import CORE, Action
from resizeonce.preprocess.kernels.encode import pack_image

BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

Pixels = NDArray[np.uint8]
Codec = tuple[Callable[[Pixels], bytes], Callable[[bytes, Pixels], object]]


def _encode_differences(image: Pixels) -> bytes:
    residual = np.diff(np.diff(image, axis=1, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    residual[0::2] -= residual[1]
    return bytes(Zstd(level=1).encode(residual))


def _decode_differences(encoded: bytes, out: Pixels) -> None:
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

    return encode, decode


def _unpack_compact(encoded: bytes, out: NDArray[np.uint8]) -> None:
    # The core's rows are followed by four bytes of a checksum, which is not compared here.
    file = np.frombuffer(encoded + bytes(4), np.uint8)
    assert CORE is not None
    spans = np.array([[0, file.size]], np.int64)
    CORE.fill_rows(Action.UNPACK, [file], spans, out[None], *out.shape[1:], None, None, False)


_BITSHUFFLE = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
CODECS: dict[str, Codec] = {
    "compact": (lambda image: pack_image(image).tobytes(), _unpack_compact),
    "the same differences, zstd-1": (_encode_differences, _decode_differences),
    "Blosc, bitshuffle, zstd-1": (lambda image: bytes(_BITSHUFFLE.encode(image)), _BITSHUFFLE.decode),
    "zstd-3": (lambda image: bytes(Zstd(level=3).encode(image)), Zstd().decode),
    "WebP lossless, fastest": _picture("WEBP", lossless=True, method=0, quality=0),
    "PNG": _picture("PNG", compress_level=1),
}


def main() -> None:
    """Measure size and time of each codec, of both images of a photograph together."""
    parser = parser_of(__doc__, rounds=5)
    parser.add_argument("--photos", type=Path, help="folder with JPEG files")
    options = parser.parse_args()
    print_about()
    photos = [Path(skimage.__file__).parent / "data" / name for name in BUNDLED]
    if options.photos:
        found = sorted(options.photos.rglob("*.jpg"))
        photos = found[:: max(1, len(found) // 40)][:40]
    pictures = [Image.open(photo).convert("RGB") for photo in photos]
    images = [image for picture in pictures for image in make_images(picture).values()]
    raw = sum(image.nbytes for image in images)
    contents = {name: list(map(encode, images)) for name, (encode, _) in CODECS.items()}
    outs = [np.empty_like(image) for image in images]
    turns = {}
    for name, (encode, decode) in CODECS.items():
        list(map(decode, contents[name], outs))
        assert all(map(np.array_equal, outs, images)), name
        turns[name, "encode"] = Turn(len(photos), partial(go_through, encode, images))
        turns[name, "decode"] = Turn(len(photos), partial(go_through, decode, contents[name], outs))
    times = take_turns(turns, options.rounds)
    print_head(f"form, {len(photos)} photographs", "of the raw bytes", "largest", "encode ms", "decode ms")
    for name in CODECS:
        sizes = np.array([*map(len, contents[name])]).reshape(-1, len(IMAGE_SIZES)).sum(axis=1)
        shares = f"{sizes.sum() / raw:.3f}", f"{sizes.max() / (raw / len(photos)):.3f}"
        print_row(name, *shares, *(f"{1000 * times[name, what].median:.1f}" for what in ("encode", "decode")))


def go_through(call: Callable[..., object], *columns: Iterable[Any]) -> None:
    for _ in map(call, *columns):
        pass


if __name__ == "__main__":
    main()
