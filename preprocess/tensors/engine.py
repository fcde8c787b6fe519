"""What does the heavy work: Pillow and numpy, or compiled loops that give the same bytes in a fraction of the time.

Engines differ in speed only, so a store does not say which one made it. Whether the fast one really gives the same
bytes on this machine, with these builds, is looked at before it is used; what fails falls back to Pillow, and
`Engine.description` says so.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

from ...loader.format.core import why_missing
from ...loader.format.recipe import Arithmetic
from .. import kernels
from ..decode import jpeg
from ..decode.images import ImageDecoder, OnDamage, decode_image
from ..errors import EngineError
from ..kernels.core import CORE
from . import resample, rle
from .arithmetic import INSTALLED, check_installed
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
    resize_mask: MaskResizer
    arithmetics: tuple[Arithmetic, ...]
    """Whose of Pillow's versions `resize_images` can repeat; of others it raises `EngineError`."""

    def decoder(self, damaged: OnDamage) -> ImageDecoder:
        """Return what decodes image files; "accept" takes damaged pictures as far as Pillow decodes them."""
        return partial(decode_image, fast_jpeg=self.fast_jpeg, accept_damage=damaged == "accept")

    def check_arithmetic(self, arithmetic: Arithmetic) -> None:
        """Raise `EngineError` unless this engine has an arithmetic."""
        if arithmetic not in self.arithmetics:
            check_installed(arithmetic)


PILLOW = Engine(
    "pillow", fast_jpeg=False, resize_images=resize_images, resize_mask=resize_mask, arithmetics=(INSTALLED,)
)


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
        get_args(Arithmetic) if fast_resize else PILLOW.arithmetics,
    )


def describe_engine(name: EngineName, arithmetic: Arithmetic | None = None) -> str:
    """Open an engine and return its description.

    Raises:
        EngineError: as in `open_engine`, or it has not the arithmetic, which is by default the installed Pillow's.
    """
    engine = open_engine(name)
    engine.check_arithmetic(arithmetic or INSTALLED)
    return engine.description


def default_engine() -> EngineName:
    """Return the fast engine where there is a compiled core, else Pillow."""
    return "pillow" if CORE is None else "exact-fast"
