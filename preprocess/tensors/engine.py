"""What does the heavy work: Pillow and numpy, or compiled loops that give the same bytes in a fraction of the time.

Engines differ in speed only, so a store does not say which one made it. Whether the fast one really gives the same
bytes on this machine, with these builds, is looked at before it is used; what fails falls back to Pillow, and
`Engine.description` says so.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

from ...loader.format.core import why_missing
from .. import kernels
from ..decode import jpeg
from ..decode.images import ImageDecoder, OnDamage, decode_image
from ..errors import EngineError
from ..kernels.core import CORE
from . import resample, rle
from .transforms import ImagesResizer, MaskResizer, resize_images, resize_mask

EngineName = Literal["exact-fast", "pillow"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The functions that a conversion spends its time in."""

    description: str
    """What is used for what, and why, in a line."""
    fast_jpeg: bool
    """Whether JPEG files are decoded by simplejpeg, and not by Pillow."""
    resize_images: ImagesResizer
    """Raises `EngineError` of an arithmetic that it can't repeat."""
    resize_mask: MaskResizer

    def decoder(self, damaged: OnDamage) -> ImageDecoder:
        """Return what decodes image files; "accept" takes damaged pictures as far as Pillow decodes them."""
        return partial(decode_image, fast_jpeg=self.fast_jpeg, accept_damage=damaged == "accept")


PILLOW = Engine("pillow", fast_jpeg=False, resize_images=resize_images, resize_mask=resize_mask)


@cache
def open_engine(name: EngineName) -> Engine:
    """Return an engine, looked at once per process.

    Raises:
        EngineError: the fast engine is asked for, but this install has no compiled core.
    """
    if name == "pillow":
        return PILLOW
    if CORE is None:
        raise EngineError(
            "the engine exact-fast needs the compiled core, which this install has not: "
            f"{why_missing(kernels.__name__)}, or give --engine pillow"
        )
    fast_resize, fast_jpeg = resample.matches_pillow(CORE), jpeg.matches_pillow()
    slow = [] if fast_resize else ["this Pillow resizes otherwise than expected"]
    slow += [] if fast_jpeg else ["simplejpeg decodes otherwise than Pillow"]
    return Engine(
        "; ".join(["exact-fast", *(f"in part Pillow: {reason}" for reason in slow)]),
        fast_jpeg,
        partial(resample.resize_images, CORE) if fast_resize else resize_images,
        partial(rle.resize_mask, CORE),
    )


def describe_engine(name: EngineName) -> str:
    """Open an engine, and return its description: what can travel to another process."""
    return open_engine(name).description


def default_engine() -> EngineName:
    """Return the fast engine where there is a compiled core, else Pillow."""
    return "pillow" if CORE is None else "exact-fast"
