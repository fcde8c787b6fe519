"""Compresses masks: Zstandard frames that any decoder reads (RFC 8878), made with the row above in mind.

A row of a mask is the one above it, but for the few pixels by which edges move. libzstd takes a run of equal pixels for
a copy of the pixel before, which is undone eight bytes at a time, each waiting for the last; a copy of the row above is
undone 32 bytes at a time. So these frames are decoded in a third of the time. They are made faster, too. Of 467 real
masks of SA-1B and COCO they have 0.85 of the bytes; round shapes drawn by a computer, whose edges move in every row, may
take twice as many, since all tables are the format's own.
"""

from collections.abc import Callable

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from .layout import ZSTD_LEVEL
from .mask_sequences import SHORTEST, WINDOW, make_frame

MOST_CHANGES = 1 / 64
"""Masks of which more pixels differ from those above are noise or patterns; libzstd finds more in them."""

LONG_FRAME = 4096
"""Bytes from which on libzstd may be better at a mask: then the shorter frame is taken."""

_ZSTD = Zstd(level=ZSTD_LEVEL)

FrameMaker = Callable[[NDArray[np.uint8], int, int], bytes | None]
"""`make_frame`, or what does the same."""


def compress_mask(mask: NDArray[np.bool_], make_frame: FrameMaker = make_frame) -> NDArray[np.uint8]:
    """Return a mask as one Zstandard frame that states its size.

    Args:
        mask: bool [H, W], in C order; H and W at least 1.
        make_frame: finds what is copied from where.

    Returns:
        uint8 [N].

    Raises:
        ValueError: it is of another dtype or has no pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError(f"mask must be bool [H, W], found {mask.dtype} {mask.shape}")
    pixels, width = mask.reshape(-1).view(np.uint8), mask.shape[1]
    frame = None
    if SHORTEST <= width <= WINDOW and pixels.size < 1 << 32:
        frame = make_frame(pixels, width, int(MOST_CHANGES * pixels.size))
    if frame is None or len(frame) > LONG_FRAME:
        plain: bytes = _ZSTD.encode(pixels)
        frame = plain if frame is None or len(plain) <= len(frame) else frame
    return np.frombuffer(frame, np.uint8)
