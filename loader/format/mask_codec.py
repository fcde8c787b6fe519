"""Compresses masks: Zstandard frames that any decoder reads (RFC 8878), made with the row above in mind.

A row of a mask is the one above it, but for the few pixels by which edges move. libzstd takes a run of equal pixels for
a copy of the pixel before, which is undone eight bytes at a time, each waiting for the last; a copy of the row above is
undone 32 bytes at a time. So these frames are decoded in a third of the time. They are made faster, too. Of 467 real
masks of SA-1B and COCO they have 0.85 of the bytes; round shapes drawn by a computer, whose edges move in every row, may
take twice as many, since all tables are the format's own.
"""

from typing import Any

import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from . import mask_sequences
from .compiled import compiled
from .layout import ZSTD_LEVEL
from .mask_sequences import BLOCK, HEADER_BYTES, SHORTEST, WINDOW

MOST_CHANGES = 1 / 64
"""Masks of which more pixels differ from those above are noise or patterns; libzstd finds more in them."""

LONG_FRAME = 4096
"""Bytes from which on libzstd may be better at a mask: then the shorter frame is taken."""

_ZSTD = Zstd(level=ZSTD_LEVEL)


def compress_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask as one Zstandard frame that states its size.

    Args:
        mask: bool [H, W], in C order; H and W at least 1.

    Returns:
        uint8 [N].

    Raises:
        ValueError: it is of another dtype or has no pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise ValueError(f"mask must be bool [H, W], found {mask.dtype} {mask.shape}")
    pixels, width = mask.reshape(-1).view(np.uint8), mask.shape[1]
    num_blocks = -(-pixels.size // BLOCK)
    loops: Any = compiled("resizeonce.loader.format.mask_loops") or mask_sequences
    changes = _find_changes(pixels, width, loops)
    if not SHORTEST <= width <= WINDOW or pixels.size >= 1 << 32:
        return _compress_plainly(pixels)
    if changes.size - width > MOST_CHANGES * pixels.size:
        return _compress_plainly(pixels)
    sequences = np.empty((2 * (changes.size + num_blocks), 3), np.int64)
    literals = np.empty(SHORTEST * (changes.size + num_blocks), np.uint8)
    blocks = np.empty((num_blocks, 2), np.int64)
    loops.find_sequences(pixels, changes, width, sequences, literals, blocks)
    num_sequences, num_literals = blocks[-1].tolist()
    frame = np.empty(HEADER_BYTES + 16 * (num_blocks + num_sequences) + num_literals, np.uint8)
    used = int(loops.write_frame(pixels.size, sequences, literals, blocks, frame))
    if 0 < used <= LONG_FRAME:
        return frame[:used]
    plain = _compress_plainly(pixels)
    return frame[:used] if 0 < used < plain.size else plain


def _find_changes(pixels: NDArray[np.uint8], width: int, loops: Any) -> NDArray[np.int64]:
    """Return the pixels that differ from those above, and all of the first row; of noise, enough to know it for noise."""
    if loops is mask_sequences or width % 64 or pixels.ctypes.data % 8:
        edges = np.flatnonzero(pixels[width:] != pixels[:-width]) + width
        return np.concatenate([np.arange(width), edges])
    changes = np.empty(width + int(MOST_CHANGES * pixels.size) + 128, np.int64)
    return changes[: loops.find_changes(pixels.view(np.uint64), width, changes)]


def _compress_plainly(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(_ZSTD.encode(pixels), np.uint8)
