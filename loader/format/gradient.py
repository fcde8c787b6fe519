"""How images that are stored compact are packed: each value less what its neighbours let expect, in few bits. numpy only.

Packing takes uint8 [3, H, W] through four steps, all modulo 256:

1. Along y, then along x, each value less the one before; the first row and the first column are less 0.
2. Red and blue less green.
3. -1, 1, -2, 2, ... become 1, 2, 3, 4, ...: small numbers of either sign are small numbers now.
4. The values of a row (all its red ones, its green, its blue) are padded with zeros to a multiple of 16 and taken in
   groups of eight. A group takes eight times as many bits as its largest value has, so as many bytes as that value has
   bits: value i lies from bit i * bits on, the lowest bit of the first byte being the first.

The result is the groups' numbers of bits, two of them in each byte, the first one in its lower half; then the groups;
then eight zero bytes, so that a decoder may read eight bytes at a time.

The predictor is left plus above less above-left. Others predict photographs a little better (JPEG-LS, PNG's Paeth), but
decide for each pixel; this one is linear, so it is undone by two cumulative sums, whole vectors at a time.
"""

import numpy as np
from numpy.typing import NDArray

from .layout import SLACK_BYTES

GROUP = 8
"""Values that share a number of bits."""


def pack_gradient(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image packed.

    Args:
        image: uint8 [3, H, W], H and W at least 1.

    Returns:
        uint8 [N]; of photographs about 0.4 of their bytes, at worst 1.07.

    Raises:
        ValueError: it is of another shape or dtype.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"image must be uint8 [3, H, W], found {image.dtype} {image.shape}")
    values = _take_gradient(image)
    bits = _BIT_LENGTHS[np.bitwise_or.reduce(values, axis=1)]
    return np.concatenate([bits[0::2] | bits[1::2] << 4, _pack_groups(values, bits)])


def unpack_gradient(packed: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the image that `pack_gradient` packed into `out`.

    Args:
        packed: uint8 [N].
        out: uint8 [3, H, W], in C order.

    Raises:
        ValueError: it is no packed image of that size, or `out` is of another shape or dtype.
    """
    if out.ndim != 3 or out.shape[0] != 3 or out.dtype != np.uint8 or not out.flags.carray:
        raise ValueError(f"out must be writeable, contiguous uint8 [3, H, W], found {out.dtype} {out.shape}")
    if packed.ndim != 1 or packed.dtype != np.uint8:
        raise ValueError(f"packed must be uint8 [N], found {packed.dtype} {packed.shape}")
    num_pairs = out.shape[1] * _groups_of_row(out.shape[2]) // 2
    pairs, payload = packed[:num_pairs], packed[num_pairs:]
    bits = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)
    num_bytes = int(bits.sum(dtype=np.int64)) + SLACK_BYTES
    if len(pairs) < num_pairs or bits.max(initial=0) > GROUP or len(payload) != num_bytes:
        raise ValueError(f"{len(packed)} bytes are no packed image of {out.shape[1]} x {out.shape[2]}")
    out[...] = _undo_gradient(_unpack_groups(bits, payload), out.shape)


def _unpack_groups(bits: NDArray[np.uint8], payload: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the groups' values, uint8 [groups, 8], of their numbers of bits: step 4 undone."""
    starts = np.cumsum(bits, dtype=np.int64) - bits
    values = np.zeros((bits.size, GROUP), np.uint8)
    for number in range(1, GROUP + 1):
        (groups,) = np.nonzero(bits == number)
        packed = payload[starts[groups][:, None] + np.arange(number)]
        single = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, GROUP, number)
        values[groups] = np.packbits(single, axis=2, bitorder="little")[..., 0]
    return values


def _undo_gradient(values: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the image, uint8 [3, H, W], of the groups' values, uint8 [groups, 8]: steps 3 to 1 undone."""
    _, height, width = shape
    rows = values.reshape(height, _groups_of_row(width) * GROUP)[:, : 3 * width].reshape(height, 3, width)
    image = _UNFOLDED[rows.transpose(1, 0, 2)]
    image[0::2] += image[1]
    np.add.accumulate(image, axis=1, out=image)
    np.add.accumulate(image, axis=2, out=image)
    return image


def _take_gradient(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the groups' values, uint8 [groups, 8], of an image, uint8 [3, H, W]: steps 1 to 3."""
    _, height, width = image.shape
    values: NDArray[np.uint8] = np.diff(image, axis=1, prepend=np.uint8(0))
    values = np.diff(values, axis=2, prepend=np.uint8(0))
    values[0::2] -= values[1]
    rows = np.zeros((height, _groups_of_row(width) * GROUP), np.uint8)
    rows[:, : 3 * width] = _FOLDED[values].transpose(1, 0, 2).reshape(height, -1)
    return rows.reshape(-1, GROUP)


def _pack_groups(values: NDArray[np.uint8], bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the groups one after the other, and the zero bytes behind them."""
    starts = np.cumsum(bits, dtype=np.int64) - bits
    payload = np.zeros(int(bits.sum(dtype=np.int64)) + SLACK_BYTES, np.uint8)
    for number in range(1, GROUP + 1):
        (groups,) = np.nonzero(bits == number)
        single = np.unpackbits(values[groups, :, None], axis=2, count=number, bitorder="little")
        places = starts[groups][:, None] + np.arange(number)
        payload[places] = np.packbits(single.reshape(-1, GROUP * number), axis=1, bitorder="little")
    return payload


def packed_bound(height: int, width: int) -> int:
    """Return how many bytes an image may take: all of its values and as many as make up the groups, none in fewer bits."""
    return height * _groups_of_row(width) * (2 * GROUP + 1) // 2 + SLACK_BYTES


def _groups_of_row(width: int) -> int:
    return -(-3 * width // (2 * GROUP)) * 2


_FOLDED = np.array([2 * v if v < 128 else 2 * (255 - v) + 1 for v in range(256)], np.uint8)
_UNFOLDED = np.argsort(_FOLDED).astype(np.uint8)
_BIT_LENGTHS = np.array([value.bit_length() for value in range(256)], np.uint8)
