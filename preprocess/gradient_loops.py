"""The loops of `preprocess.gradient`, compiled by numba: a row of an image at a time, all of it in the processor's cache.

Eight values of w bits are spread to eight bytes, and gathered again, in three steps on one 64-bit word: its halves are
moved apart, then the halves of those, then theirs.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 16
"""Bytes that are summed at once: with more, vectors of AVX2 would be taken apart and joined again."""

_U = np.uint64


def _sum_lanes_code(typing_context: Any, source: Any, at: Any, before: Any, out: Any, out_at: Any) -> Any:
    """Write the cumulative sum of `source[at : at + 16]`, begun with `before`, to `out[out_at :]`, modulo 256.

    In four steps, each of which adds the vector to itself, moved by 1, 2, 4 and 8 lanes; LLVM finds no such way itself.
    """
    del typing_context
    signature = types.void(source, at, before, out, out_at)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(8), LANES)
        zeros = ir.Constant(lanes, [0] * LANES)

        def pointer(array: int, offset: Any) -> Any:
            start = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(start, [offset]), lanes.as_pointer())

        def order(places: Any) -> Any:
            return ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(places))

        _, at, before, _, out_at = arguments
        total = builder.load(pointer(0, at), align=1)
        step = 1
        while step < LANES:
            # The first lanes come from the zeros, the others from the vector.
            moved = builder.shuffle_vector(zeros, total, order(range(LANES - step, 2 * LANES - step)))
            total = builder.add(total, moved)
            step *= 2
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), before, ir.IntType(32)(0))
        spread = builder.shuffle_vector(first, zeros, order([0] * LANES))
        builder.store(builder.add(total, spread), pointer(3, out_at), align=1)
        return context.get_dummy_value()

    return signature, generate


_sum_lanes: Any = intrinsic(_sum_lanes_code)


@njit(cache=True, nogil=True)
def pack(image: NDArray[np.uint8], widths: NDArray[np.uint8], payload: NDArray[np.uint8]) -> int:
    """Take the gradient of an image and pack it; return how many bytes of `payload` are used.

    Args:
        image: uint8 [3, H, W].
        widths: uint8 [H * groups of a row], to write the bits of each group to.
        payload: uint8, zero, with 8 bytes more than all groups can take.
    """
    height, width = image.shape[1:]
    groups = (3 * width + 15) // 16 * 2
    line = np.zeros(groups, np.uint64)
    values = line.view(np.uint8)
    difference = np.zeros((3, width), np.uint8)
    bits_of = _bit_lengths()
    at = 0
    for y in range(height):
        for channel in range(3):
            for x in range(width):
                difference[channel, x] = image[channel, y, x] - (
                    image[channel, y - 1, x] if y else np.uint8(0)
                )
        for channel in range(3):
            green_left = left = np.uint8(0)
            for x in range(width):
                value = np.uint8(difference[channel, x] - left)
                left = difference[channel, x]
                if channel != 1:
                    value = np.uint8(value - np.uint8(difference[1, x] - green_left))
                    green_left = difference[1, x]
                # Small numbers of either sign become small ones: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
                values[channel * width + x] = np.uint8(value << 1) ^ np.uint8(255 if value & 128 else 0)
        for group in range(groups):
            word = line[group]
            used = word | word >> _U(32)
            used |= used >> _U(16)
            used |= used >> _U(8)
            bits = bits_of[used & _U(255)]
            widths[y * groups + group] = bits
            w = _U(bits)
            word = (word & _U(0x00FF00FF00FF00FF)) | (word & _U(0xFF00FF00FF00FF00)) >> (_U(8) - w)
            word = (word & _U(0x0000FFFF0000FFFF)) | (word & _U(0xFFFF0000FFFF0000)) >> _U(2) * (_U(8) - w)
            word = (word & _U(0x00000000FFFFFFFF)) | (word & _U(0xFFFFFFFF00000000)) >> _U(4) * (_U(8) - w)
            for byte in range(8):
                payload[at + byte] = np.uint8(word >> _U(8 * byte))
            at += bits
    return at


@njit(cache=True, nogil=True)
def payload_bytes(pairs: NDArray[np.uint8]) -> int:
    """Return how many bytes the groups take whose numbers of bits these are; -1 where one is above eight."""
    total, largest = 0, 0
    for both in pairs:
        first, second = both & 15, both >> 4
        total += first + second
        largest = max(largest, first, second)
    return -1 if largest > 8 else total


@njit(cache=True, nogil=True)
def _bit_lengths() -> NDArray[np.uint8]:
    """Return how many bits each value of a byte needs, uint8 [256]."""
    lengths = np.zeros(256, np.uint8)
    for value in range(1, 256):
        lengths[value] = lengths[value >> 1] + 1
    return lengths


@njit(cache=True, nogil=True)
def unpack(widths: NDArray[np.uint8], payload: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the image that `pack` packed.

    Args:
        widths: uint8 [half the groups, rounded up], two of 4 bits in each byte, the first one in its lower half; checked.
        payload: uint8, as long as they say, and 8 bytes more.
        out: uint8 [3, H, W], in C order.
    """
    height, width = out.shape[1:]
    groups = (3 * width + 15) // 16 * 2
    line = np.zeros(groups, np.uint64)
    values = line.view(np.uint8)
    # Of each channel the sums along y so far.
    sums = np.zeros((3, width), np.uint8)
    halves, quarters, eighths = np.zeros(9, np.uint64), np.zeros(9, np.uint64), np.zeros(9, np.uint64)
    for bits in range(9):
        halves[bits] = (_U(1) << _U(4 * bits)) - _U(1)
        quarters[bits] = ((_U(1) << _U(2 * bits)) - _U(1)) * _U(0x0000000100000001)
        eighths[bits] = ((_U(1) << _U(bits)) - _U(1)) * _U(0x0001000100010001)
    at = _U(0)
    pairs = groups // 2
    for y in range(height):
        for pair in range(pairs):
            both = widths[y * pairs + pair]
            first, second = _U(both & 15), _U(both >> 4)
            line[2 * pair] = _spread(_load(payload, at), first, halves, quarters, eighths)
            at += first
            line[2 * pair + 1] = _spread(_load(payload, at), second, halves, quarters, eighths)
            at += second
        _finish_row(values, sums, out, y)


@njit(cache=True, nogil=True)
def _load(payload: NDArray[np.uint8], at: Any) -> Any:
    """Return the eight bytes from `at` on as one number; LLVM joins them to one load."""
    return (
        _U(payload[at])
        | _U(payload[at + _U(1)]) << _U(8)
        | _U(payload[at + _U(2)]) << _U(16)
        | _U(payload[at + _U(3)]) << _U(24)
        | _U(payload[at + _U(4)]) << _U(32)
        | _U(payload[at + _U(5)]) << _U(40)
        | _U(payload[at + _U(6)]) << _U(48)
        | _U(payload[at + _U(7)]) << _U(56)
    )


@njit(cache=True, nogil=True)
def _spread(word: Any, bits: Any, halves: Any, quarters: Any, eighths: Any) -> Any:
    """Return a byte for each of the eight numbers of `bits` bits in a word; the masks are tables by number of bits."""
    word = (word & halves[bits]) | ((word >> _U(4) * bits) & halves[bits]) << _U(32)
    word = (word & quarters[bits]) | ((word >> _U(2) * bits) & quarters[bits]) << _U(16)
    return (word & eighths[bits]) | ((word >> bits) & eighths[bits]) << _U(8)


@njit(cache=True, nogil=True)
def _finish_row(values: NDArray[np.uint8], sums: NDArray[np.uint8], out: NDArray[np.uint8], y: int) -> None:
    """Write row `y` of an image from its packed values, and the sums along y of the rows above."""
    height, width = out.shape[1:]
    for x in range(width):
        red, green, blue = values[x], values[width + x], values[2 * width + x]
        grown = np.uint8(green >> 1) ^ np.uint8(0 - np.uint8(green & 1))
        sums[0, x] += np.uint8(np.uint8(red >> 1) ^ np.uint8(0 - np.uint8(red & 1))) + grown
        sums[1, x] += grown
        sums[2, x] += np.uint8(np.uint8(blue >> 1) ^ np.uint8(0 - np.uint8(blue & 1))) + grown
    flat, flat_sums = out.reshape(-1), sums.reshape(-1)
    red_at, green_at, blue_at = y * width, (height + y) * width, (2 * height + y) * width
    red = green = blue = np.uint8(0)
    whole = width - width % LANES
    # The three channels take turns: each sum waits for the one to its left.
    for x in range(0, whole, LANES):
        _sum_lanes(flat_sums, x, red, flat, red_at + x)
        _sum_lanes(flat_sums, width + x, green, flat, green_at + x)
        _sum_lanes(flat_sums, 2 * width + x, blue, flat, blue_at + x)
        red = flat[red_at + x + LANES - 1]
        green = flat[green_at + x + LANES - 1]
        blue = flat[blue_at + x + LANES - 1]
    for x in range(whole, width):
        red += sums[0, x]
        green += sums[1, x]
        blue += sums[2, x]
        flat[red_at + x], flat[green_at + x], flat[blue_at + x] = red, green, blue
