"""The loops of `loader.format.gradient`, compiled by numba: a row of an image at a time, all of it in the processor's cache.

Eight values of w bits are spread to eight bytes, and gathered again, in three steps on one 64-bit word: its halves are
moved apart, then the halves of those, then theirs. Where a processor has an instruction for spreading, it is taken.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from .layout import SLACK_BYTES

SUMMED = 64
"""Bytes that are summed at once: a vector of AVX-512, two of AVX2."""

LANE = 16
"""Bytes that every vector instruction can move among each other; beyond them only some can."""

_SLOW_DEPOSIT = ("bdver4", "znver1", "znver2")
"""Processors that have the instruction for spreading bits, but take dozens of cycles for it."""

_U = np.uint64

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _entry(function: _Loop) -> _Loop:
    """Compile what Python calls; numba keeps it."""
    compiled: Any = njit(cache=True, nogil=True)(function)
    return cast("_Loop", compiled)


def _loop(function: _Loop) -> _Loop:
    """Compile what loops call, those of `loader.kernels.packed_images` too: nothing of it is kept, asks for memory, or raises anything.

    `loader.kernels.object_code` says why.
    """
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    return cast("_Loop", compiled)


# By number of bits, as a compiler sees constants: that many ones in each half of a word, in each quarter, in each of the
# eighths that begin a quarter, and in each byte.
_HALVES = np.array([(1 << 4 * bits) - 1 for bits in range(9)], np.uint64)
_QUARTERS = np.array([((1 << 2 * bits) - 1) * 0x0000000100000001 for bits in range(9)], np.uint64)
_EIGHTHS = np.array([((1 << bits) - 1) * 0x0001000100010001 for bits in range(9)], np.uint64)
_BYTES = np.array([((1 << bits) - 1) * 0x0101010101010101 for bits in range(9)], np.uint64)


def _sum_bytes_code(
    typing_context: Any, values: Any, at: Any, green_at: Any, sums: Any, row: Any, before: Any
) -> Any:
    """Write `row[at : at + 64]`, a part of one channel, from its packed values.

    The sums along y grow by what the values stand for, of red and blue by what green's values stand for, too; those are at
    `green_at`, and green's own are not counted twice. The row is the cumulative sum of these sums, begun with `before`.
    In each lane it takes four steps, which add the vector to itself, moved by 1, 2, 4 and 8 bytes; then each lane gets
    the sum of those before it. LLVM finds no such way itself.
    """
    del typing_context
    signature = types.void(values, at, green_at, sums, row, before)
    vector = ir.VectorType(ir.IntType(8), SUMMED)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros, ones = (ir.Constant(vector, [number] * SUMMED) for number in (0, 1))

        def pointer(array: int, offset: Any) -> Any:
            start = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())

        def unfold(offset: Any) -> Any:
            folded = builder.load(pointer(0, offset), align=1)
            return builder.xor(builder.lshr(folded, ones), builder.sub(zeros, builder.and_(folded, ones)))

        def order(values: Any, places: Any) -> Any:
            """Return the bytes from these places; a negative one gives zero."""
            kind = ir.VectorType(ir.IntType(32), SUMMED)
            chosen = [place if place >= 0 else SUMMED for place in places]
            return builder.shuffle_vector(values, zeros, ir.Constant(kind, chosen))

        everywhere = range(SUMMED)
        _, at, green_at, _, _, before = arguments
        is_green = builder.icmp_signed("==", at, green_at)
        green = builder.select(is_green, zeros, unfold(green_at))
        total = builder.add(builder.load(pointer(3, at), align=1), builder.add(unfold(at), green))
        builder.store(total, pointer(3, at), align=1)
        step = 1
        while step < LANE:
            moved = order(total, [place - step if place % LANE >= step else -1 for place in everywhere])
            total = builder.add(total, moved)
            step *= 2
        # What each lane sums up to, in all of the next one; then what the two before that do.
        lanes = order(total, [place // LANE * LANE - 1 for place in everywhere])
        earlier = [order(lanes, [place - count * LANE for place in everywhere]) for count in (1, 2)]
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), before, ir.IntType(32)(0))
        begun = order(first, [0] * SUMMED)
        for part in (builder.add(lanes, earlier[0]), earlier[1], begun):
            total = builder.add(total, part)
        builder.store(total, pointer(4, at), align=1)
        return context.get_dummy_value()

    return signature, generate


def _spread_bits_code(
    typing_context: Any, word: Any, bits: Any, half: Any, quarter: Any, eighth: Any, byte: Any
) -> Any:
    """Return a byte for each of the eight numbers of `bits` bits in a word, given the masks for so many."""
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        word, bits, *masks, byte = arguments
        if _has_fast_deposit(context):
            number = ir.IntType(64)
            kind = ir.FunctionType(number, [number, number])
            deposit = builder.module.declare_intrinsic("llvm.x86.bmi.pdep.64", [], kind)
            return builder.call(deposit, [word, byte])
        for parts, mask in zip((4, 2, 1), masks, strict=True):
            upper = builder.and_(builder.lshr(word, builder.mul(bits, bits.type(parts))), mask)
            word = builder.or_(builder.and_(word, mask), builder.shl(upper, word.type(8 * parts)))
        return word

    return types.uint64(word, bits, half, quarter, eighth, byte), generate


def _has_fast_deposit(context: Any) -> bool:
    """Whether numba compiles for a processor that deposits bits in a cycle or so."""
    triple, name, features = context.codegen().magic_tuple()
    return triple.startswith("x86_64") and "+bmi2" in features.split(",") and name not in _SLOW_DEPOSIT


_sum_bytes: Any = intrinsic(_sum_bytes_code)
_spread_bits: Any = intrinsic(_spread_bits_code)


@_loop
def _signed(number: Any) -> int:
    """Return a number without sign as one that a compiler takes for an index: both kinds together become floats."""
    return int(np.int64(number))


@_loop
def _payload_bytes(pairs: NDArray[np.uint8]) -> int:
    """Return how many bytes the groups take whose numbers of bits these are; -1 where one is above eight."""
    total = 0
    # Eight bytes at a time; a number above eight reaches the fifth bit of its byte when seven are added.
    carried = _U(0)
    whole = pairs.size - pairs.size % 8
    for at in range(0, whole, 8):
        word = _load(pairs, _U(at))
        lower, upper = word & _U(0x0F0F0F0F0F0F0F0F), word >> _U(4) & _U(0x0F0F0F0F0F0F0F0F)
        carried |= (lower + _U(0x0707070707070707)) | (upper + _U(0x0707070707070707))
        total += _signed((lower + upper) * _U(0x0101010101010101) >> _U(56))
    for both in pairs[whole:]:
        lower, upper = _U(both & 15), _U(both >> 4)
        carried |= (lower + _U(7)) | (upper + _U(7))
        total += _signed(lower + upper)
    return -1 if carried & _U(0x1010101010101010) else total


@_entry
def unpack(packed: NDArray[np.uint8], room: NDArray[np.uint8], out: NDArray[np.uint8]) -> bool:
    """Write the image that was packed; return whether it was one of that size.

    Args:
        packed: uint8 [N], whatever it is.
        room: as `unpack_row` needs it.
        out: uint8 [3, H, W], in C order.
    """
    height, width = out.shape[1:]
    if not is_whole(packed, height, width):
        return False
    words = room[2].view(np.uint64)
    at = 0
    for y in range(height):
        at = unpack_row(packed, y, at, height, width, room, words)
        for channel in range(3):
            # A slice that is assigned would be copied byte by byte.
            for x in range(width):
                out[channel, y, x] = room[0, channel * width + x]
    return True


@_loop
def is_whole(packed: NDArray[np.uint8], height: int, width: int) -> bool:
    """Whether there are as many bytes as the numbers of bits of an image say, each of which there can be."""
    num_pairs = height * _pairs_of_row(width)
    if packed.size < num_pairs + SLACK_BYTES:
        return False
    return _payload_bytes(packed[:num_pairs]) == packed.size - num_pairs - SLACK_BYTES


@_loop
def _pairs_of_row(width: int) -> int:
    """Return how many bytes the numbers of bits of a row take."""
    return (3 * width + 15) // 16


@_loop
def unpack_row(
    packed: NDArray[np.uint8],
    y: int,
    at: int,
    height: int,
    width: int,
    room: NDArray[np.uint8],
    words: NDArray[np.uint64],
) -> int:
    """Unpack one row after the other.

    Args:
        packed: uint8 [N], of which `is_whole` holds.
        y: the row.
        at: where in the groups it begins, 0 for the first.
        height: H.
        width: W.
        room: uint8 [3, 16 * bytes of a row's numbers of bits], zero before the first row. The first line begins with the row,
            3 * W bytes, when this returns; the second one is for the row above; the third one for what is packed.
        words: the third line as uint64.

    Returns:
        Where the next row begins.
    """
    per_row = _pairs_of_row(width)
    pairs, payload = packed[y * per_row : (y + 1) * per_row], packed[height * per_row :]
    place = _U(at)
    for pair in range(pairs.size):
        both = pairs[pair]
        first, second = _U(both & 15), _U(both >> 4)
        words[2 * pair] = _spread(_load(payload, place), first)
        place += first
        words[2 * pair + 1] = _spread(_load(payload, place), second)
        place += second
    _sum_row(room[2], room[1], room[0], width)
    return _signed(place)


@_loop
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


@_loop
def _spread(word: Any, bits: Any) -> Any:
    """Return a byte for each of the eight numbers of `bits` bits in a word."""
    return _spread_bits(word, bits, _HALVES[bits], _QUARTERS[bits], _EIGHTHS[bits], _BYTES[bits])


@_loop
def _sum_row(values: NDArray[np.uint8], sums: NDArray[np.uint8], row: NDArray[np.uint8], width: int) -> None:
    """Write a row from its packed values and the sums along y of the rows above, and keep those sums."""
    red = green = blue = np.uint8(0)
    whole = width - width % SUMMED
    # The three channels take turns: each sum waits for the one to its left.
    for x in range(0, whole, SUMMED):
        in_green, in_blue = width + x, 2 * width + x
        _sum_bytes(values, x, in_green, sums, row, red)
        _sum_bytes(values, in_green, in_green, sums, row, green)
        _sum_bytes(values, in_blue, in_green, sums, row, blue)
        red, green, blue = row[x + SUMMED - 1], row[in_green + SUMMED - 1], row[in_blue + SUMMED - 1]
    for x in range(whole, width):
        in_green, in_blue = width + x, 2 * width + x
        grown = _unfold(values[in_green])
        sums[x] += _unfold(values[x]) + grown
        sums[in_green] += grown
        sums[in_blue] += _unfold(values[in_blue]) + grown
        red += sums[x]
        green += sums[in_green]
        blue += sums[in_blue]
        row[x], row[in_green], row[in_blue] = red, green, blue


@_loop
def _unfold(value: Any) -> Any:
    """Return what a folded number stands for, modulo 256: 0, -1, 1, -2, ... for 0, 1, 2, 3, ..."""
    return np.uint8(value >> 1) ^ np.uint8(0 - np.uint8(value & 1))
