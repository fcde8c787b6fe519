"""What does the heavy work: Pillow and numpy, or compiled loops that give the same bytes in a fraction of the time.

Engines differ in speed only, so a store does not say which one made it. Whether the fast one really gives the same
bytes on this machine, with these builds, is looked at before it is used; what fails falls back to Pillow, and
`Engine.description` says so.

`python -m resizeonce.preprocess.tensors.engine` does that look, which also compiles the loops once for all later runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...loader.format.compiled import compiled
from ...loader.format.errors import PreprocessError
from ...loader.format.gradient import pack_gradient, unpack_gradient
from ...loader.format.mask_codec import compress_mask
from ..decode.images import ImageDecoder, OnDamage, decode_image
from ..decode.segmentation import Bitmap, Rle
from ..kernels.core import CORE
from . import rle
from .transforms import ImagesResizer, MaskFilter, MaskResizer, resize_images, resize_mask

EngineName = Literal["exact-fast", "pillow"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The functions that a conversion spends its time in."""

    description: str
    """What is used for what, and why, in a line."""
    decode_image: ImageDecoder
    decode_damaged: ImageDecoder
    """The same, but damaged pictures are taken as far as Pillow decodes them."""
    resize_images: ImagesResizer
    resize_mask: MaskResizer

    def decoder(self, damaged: OnDamage) -> ImageDecoder:
        """Return what decodes image files as `source.damaged` has it."""
        return self.decode_damaged if damaged == "accept" else self.decode_image


PILLOW = Engine("pillow", decode_image, partial(decode_image, accept_damage=True), resize_images, resize_mask)


@cache
def open_engine(name: EngineName) -> Engine:
    """Return an engine, looked at once per process.

    Raises:
        EngineError: the fast engine is asked for, but numba is not installed.
    """
    if name == "pillow":
        return PILLOW
    compiled("resizeonce.preprocess.tensors.resample_loops")
    try:
        from ..decode import jpeg
        from . import resample
    except ImportError as err:
        raise EngineError(
            f"the engine exact-fast needs numba ({err}): pip install numba, or give --engine pillow"
        ) from err
    fast_resize, fast_jpeg = resample.matches_pillow(), jpeg.matches_pillow()
    slow = [
        reason
        for reason, is_fast in (
            ("this Pillow resizes otherwise than expected", fast_resize),
            ("simplejpeg decodes otherwise than Pillow", fast_jpeg),
        )
        if not is_fast
    ]
    return Engine(
        "; ".join(["exact-fast", *(f"in part Pillow: {reason}" for reason in slow)]),
        partial(decode_image, fast_jpeg=fast_jpeg),
        partial(decode_image, fast_jpeg=fast_jpeg, accept_damage=True),
        resample.resize_image_twice if fast_resize else resize_images,
        resize_mask if CORE is None else partial(rle.resize_mask, CORE),
    )


def describe_engine(name: EngineName) -> str:
    """Open an engine and return its description.

    Raises:
        EngineError: as in `open_engine`.
    """
    return open_engine(name).description


def default_engine() -> EngineName:
    """Return the fast engine where numba is installed, else Pillow."""
    from importlib.util import find_spec

    return "exact-fast" if find_spec("numba") else "pillow"


class EngineError(PreprocessError):
    """Raised when an engine can't be had on this machine."""


def main() -> None:
    """Compile, compare with Pillow, and say what will be used."""
    print(f"engine: {open_engine(default_engine()).description}")
    mask = Rle(4, 3, np.array([5, 4, 3], np.int64))
    filters: tuple[MaskFilter, ...] = ("pillow-nearest", "cover")
    resize: Callable[[Rle | Bitmap, int, MaskFilter], NDArray[np.bool_]] = open_engine(
        default_engine()
    ).resize_mask
    for mask_filter in filters:
        resize(mask, 2, mask_filter)
    compress_mask(np.zeros((64, 64), np.bool_))
    pixel = np.zeros((3, 1, 1), np.uint8)
    unpack_gradient(pack_gradient(pixel), pixel)


if __name__ == "__main__":
    main()
