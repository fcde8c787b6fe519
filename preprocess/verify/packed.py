"""Images stored compact, unpacked by the words of docs/format.md and none of `loader.format.gradient`'s code."""

import numpy as np
from numpy.typing import NDArray


def unpack_image(stored: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the image that a chunk holds.

    Args:
        stored: uint8 [N], without the checksum.
        shape: (3, H, W).

    Raises:
        ValueError: it is no packed image of that shape.
    """
    _, height, width = shape
    padded = -(-3 * width // 16) * 16
    num_groups = height * padded // 8
    bits = np.empty(num_groups, np.int64)
    halves = stored[: num_groups // 2]
    if len(halves) < num_groups // 2:
        raise ValueError(f"it has {len(stored)} bytes, fewer than the numbers of bits of {num_groups} groups")
    bits[0::2], bits[1::2] = halves % 16, halves // 16
    if bits.max() > 8:
        raise ValueError(f"a group has {bits.max()} bits a value, and there are 8 at most")
    expected = num_groups // 2 + int(bits.sum()) + 8
    if len(stored) != expected:
        raise ValueError(f"it has {len(stored)} bytes, and its groups take {expected}")
    if stored[-8:].any():
        raise ValueError("its last eight bytes are not zero")
    # Eight bits from a byte's any bit on are in it and the next one.
    words = stored[:-1] | stored[1:].astype(np.uint16) << 8
    starts = num_groups // 2 + np.cumsum(bits) - bits
    largest = (1 << bits) - 1
    values = np.empty((num_groups, 8), np.int16)
    for place in range(8):
        first_bit = place * bits
        values[:, place] = words[starts + (first_bit >> 3)] >> (first_bit & 7) & largest
    if (values.max(axis=1) <= largest >> 1)[bits > 0].any():
        raise ValueError("a group has more bits than its values need")
    signed = values >> 1 ^ -(values & 1)
    red, green, blue = signed.reshape(height, padded)[:, : 3 * width].reshape(height, 3, width).swapaxes(0, 1)
    planes = np.stack([red + green, green, blue + green])
    return planes.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32).astype(np.uint8)
