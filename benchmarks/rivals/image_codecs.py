"""Other ways to store an image without loss, for `benchmarks/compact.py`: pairs that encode and decode uint8 [3, S, S]."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numcodecs import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from PIL import Image

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


_BITSHUFFLE = Blosc("zstd", clevel=1, shuffle=Blosc.BITSHUFFLE)
CODECS: dict[str, Codec] = {
    "the same differences, zstd-1": (_encode_differences, _decode_differences),
    "Blosc, bitshuffle, zstd-1": (lambda image: bytes(_BITSHUFFLE.encode(image)), _BITSHUFFLE.decode),
    "zstd-3": (lambda image: bytes(Zstd(level=3).encode(image)), Zstd().decode),
    "WebP lossless, fastest": _picture("WEBP", lossless=True, method=0, quality=0),
    "PNG": _picture("PNG", compress_level=1),
}
