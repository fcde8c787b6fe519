"""Images that are stored compact straight into a batch, compiled by numba.

A row is unpacked into room that stays in the processor's cache, and goes from there to its place past the caches:
copied, or normalised.
"""

import numpy as np
from numpy.typing import NDArray

from ..format.gradient import LINES
from ..format.gradient_loops import is_whole, unpack_row
from .loops import bytes_at, carray, copy_streamed, finish, loop, normalize_streamed


@loop
def unpack_rows(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    room: NDArray[np.uint8],
    out: NDArray[np.uint8],
    is_done: NDArray[np.bool_],
) -> None:
    """Write packed images.

    Args:
        addresses: of what was packed, int64 [B].
        sizes: in bytes, int64 [B].
        room: uint8 [3, 16 * pairs of a row].
        out: uint8 [B, 3, H, W]; holds anything where the answer is no.
        is_done: bool [B], to write the answers to: whether it was a packed image of this size.
    """
    _, _, height, width = out.shape
    words = room[2].view(np.uint64)
    for place in range(addresses.size):
        packed = carray(bytes_at(addresses[place]), (sizes[place],))
        is_done[place] = is_whole(packed, height, width)
        at = _begin(room)
        for y in range(height if is_done[place] else 0):
            at = unpack_row(packed, y, at, height, width, room, words)
            for channel in range(3):
                copy_streamed(room[0, channel * width : (channel + 1) * width], out[place, channel, y])
    finish()


@loop
def unpack_normalized_rows(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    room: NDArray[np.uint8],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    out: NDArray[np.float32],
    is_done: NDArray[np.bool_],
) -> None:
    """Write packed images as (level / 255 - mean) / std; `mean` and `std` are float32 [3], else as `unpack_rows`."""
    _, _, height, width = out.shape
    words = room[2].view(np.uint64)
    for place in range(addresses.size):
        packed = carray(bytes_at(addresses[place]), (sizes[place],))
        is_done[place] = is_whole(packed, height, width)
        at = _begin(room)
        for y in range(height if is_done[place] else 0):
            at = unpack_row(packed, y, at, height, width, room, words)
            for channel in range(3):
                levels = room[0, channel * width : (channel + 1) * width]
                normalize_streamed(levels, mean[channel], std[channel], out[place, channel, y])
    finish()


@loop
def _begin(room: NDArray[np.uint8]) -> int:
    """Let the room be that of a first row; return where in the groups that begins."""
    for line in range(LINES):
        for i in range(room.shape[1]):
            room[line, i] = 0
    return 0
