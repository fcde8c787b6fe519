"""Masks from the frames that `loader.format.mask_codec` makes straight into a batch, compiled by numba.

libzstd would write a mask's bytes, which are then read again and widened. These frames say little more than where a row
differs from the one above: the loop below keeps one row, changes it, and writes it out when it is full. It reads that
kind of Zstandard frames only, and believes nothing: what it finds out of the ordinary is left to libzstd.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.mask_sequences import BLOCK, WINDOW_BYTE
from ..format.zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS, CodeTable
from .loops import FLOATS, LINE, bytes_at, carray, copy_line, finish, load_word, loop


class _States(NamedTuple):
    """What each state of one part of a sequence says, int64 [states] each."""

    smallest: NDArray[np.int64]
    extra_bits: NDArray[np.int64]
    bits: NDArray[np.int64]
    base: NDArray[np.int64]


def _by_state(table: CodeTable) -> _States:
    """Return a table as a decoder looks it up: its codes are of no interest, only what they stand for."""
    codes = table.codes
    return _States(table.smallest[codes], table.extra_bits[codes], table.bits, table.base)


_LL_SMALLEST, _LL_EXTRA, _LL_BITS, _LL_BASE = _by_state(LITERAL_LENGTHS)
_ML_SMALLEST, _ML_EXTRA, _ML_BITS, _ML_BASE = _by_state(MATCH_LENGTHS)
_OF_SMALLEST, _OF_EXTRA, _OF_BITS, _OF_BASE = _by_state(OFFSETS)

_LEAST_BYTES = 10
"""Of a frame with a size in four bytes and nothing else."""

LITERALS = 3
"""Where a block's literals begin."""

_STATE_BITS = 17
"""The states to begin with: 6, 5 and 6 bits."""

_WORD = 8
"""Bytes that are read at once. What one part of a sequence takes is 44 bits at most."""


_Offsets = tuple[int, int, int]

_BAD = -1, (0, 0, 0)
"""What there is of a block that is damaged or of another kind."""


class Row(NamedTuple):
    """The row that is being made, and where rows go."""

    pixels: NDArray[np.float32]
    """float32 [W]: the last W pixels, each at its place in a row."""
    source: NDArray[np.uint8]
    """uint8 [4 * W], the same memory."""
    target: NDArray[np.uint8]
    """uint8 [4 * H * W]: holds as many pixels as fill rows."""
    has_lines: bool
    """Whether each row of the target is whole cache lines."""


@loop
def _read(data: NDArray[np.uint8], at: int, count: int) -> int:
    """Return a number of so many bytes, the lowest first."""
    number = 0
    for place in range(count):
        number |= int(data[at + place]) << 8 * place
    return number


@loop
def _hold(block: NDArray[np.uint8], left: int) -> tuple[int, int]:
    """Return the last bits of the `left` first ones of a block, and how many they are: 57 at least, or all."""
    start = max((left + 7 >> 3) - _WORD, 0)
    return load_word(block, start), left - 8 * start


@loop
def _take(bits: int, held: int, count: int) -> int:
    """Return the `count` bits above the lowest `held`."""
    return bits >> held & (1 << count) - 1


@loop
def expand_rows(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    pixels: NDArray[np.float32],
    out: NDArray[np.float32],
    is_done: NDArray[np.bool_],
) -> None:
    """Write masks as float32, 1 where they are set.

    Args:
        addresses: of the frames, int64 [B].
        sizes: in bytes, int64 [B].
        pixels: float32 [W], at least one: room for a row.
        out: float32 [B, H * W]; holds anything where the answer is no.
        is_done: bool [B], to write the answers to: whether a frame was of the known kind and whole.
    """
    for place in range(addresses.size):
        # Arrays of bare addresses: others are counted wherever they are handed on, by instructions that wait until all
        # lines that were streamed have reached the memory.
        target = carray(bytes_at(out.ctypes.data + 4 * out.shape[1] * place), (4 * out.shape[1],))
        source = carray(bytes_at(pixels.ctypes.data), (4 * pixels.size,))
        has_lines = pixels.size % FLOATS == 0 and target.ctypes.data % LINE == 0
        row = Row(source.view(np.float32), source, target, has_lines)
        is_done[place] = _expand(carray(bytes_at(addresses[place]), (sizes[place],)), row)


@loop
def _expand(frame: NDArray[np.uint8], row: Row) -> bool:
    """Write a mask; return whether it was of the known kind and whole."""
    width, size = row.pixels.size, row.target.size // 4
    if frame.size < _LEAST_BYTES or size % width:
        return False
    at = 5
    if frame[4] == 0x80:
        # The one window that the encoder asks for.
        if frame[5] != WINDOW_BYTE:
            return False
        at = 6
    elif frame[4] != 0xA0:
        return False
    if _read(frame, 0, 4) != 0xFD2FB528 or _read(frame, at, 4) != size:
        return False
    at += 4
    recent = 1, 4, 8
    written = 0
    is_last = False
    while not is_last:
        if at + 3 > frame.size:
            return False
        header = _read(frame, at, 3)
        at += 3
        is_last, end = header & 1 == 1, at + (header >> 3)
        if header >> 1 & 3 != 2 or end > frame.size or end - at > BLOCK:
            return False
        written, recent = _expand_block(frame[at:end], recent, written, row)
        if written < 0:
            return False
        at = end
    finish()
    return at == frame.size and written == size


@loop
def _read_headers(block: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return where a block's literals end, where the bits of its sequences begin, and how many sequences it has.

    These are -1 where the block is not literals as they are, their number in 20 bits, and sequences of the predefined tables,
    their number in two bytes.
    """
    if block.size <= LITERALS or block[0] & 15 != 0b1100:
        return 0, 0, -1
    end = LITERALS + (_read(block, 0, LITERALS) >> 4)
    if end >= block.size:
        return 0, 0, -1
    first = int(block[end])
    if first == 0 and end + 1 == block.size:
        return end, end + 1, 0
    if first < 128 or first == 255 or end + 3 > block.size or block[end + 2]:
        return 0, 0, -1
    count = (first - 128 << 8) + block[end + 1]
    return (end, end + 3, count) if count else (0, 0, -1)


@loop
def _expand_block(block: NDArray[np.uint8], recent: _Offsets, written: int, row: Row) -> tuple[int, _Offsets]:
    """Go on with a compressed block.

    Args:
        block: uint8 [N].
        recent: the offsets used last.
        written: pixels so far.
        row: where they go.

    Returns:
        The pixels that there are now, -1 where the block is damaged or of another kind, and the new `recent`.
    """
    literals_end, at, num_sequences = _read_headers(block)
    if num_sequences < 0:
        return _BAD
    width = row.pixels.size
    x, begin = written % width, written // width * width
    stop = min(written + BLOCK, row.target.size // 4)
    literal = LITERALS
    ll_state = of_state = ml_state = 0
    # Bits are read from the end; the highest that is set only marks where they begin.
    least = left = 8 * at
    if num_sequences:
        if block.size < _WORD or not block[-1]:
            return _BAD
        left = 8 * block.size - 1
        while not block[-1] >> (left & 7):
            left -= 1
        bits, held = _hold(block, left)
        left -= _STATE_BITS
        if left < least:
            return _BAD
        state = _take(bits, held - _STATE_BITS, _STATE_BITS)
        ll_state, of_state, ml_state = state >> 11, state >> 6 & 31, state & 63
    for place in range(num_sequences):
        bits, held = _hold(block, left)
        count = _OF_EXTRA[of_state]
        number = _OF_SMALLEST[of_state] + _take(bits, held - count, count)
        held -= count
        left -= count
        count = _ML_EXTRA[ml_state]
        ml = _ML_SMALLEST[ml_state] + _take(bits, held - count, count)
        left -= count
        if left < least:
            return _BAD
        bits, held = _hold(block, left)
        count = _LL_EXTRA[ll_state]
        ll = _LL_SMALLEST[ll_state] + _take(bits, held - count, count)
        held -= count
        left -= count
        if place < num_sequences - 1:
            count = _LL_BITS[ll_state]
            ll_state = _LL_BASE[ll_state] + _take(bits, held - count, count)
            held -= count
            left -= count
            count = _ML_BITS[ml_state]
            ml_state = _ML_BASE[ml_state] + _take(bits, held - count, count)
            held -= count
            left -= count
            count = _OF_BITS[of_state]
            of_state = _OF_BASE[of_state] + _take(bits, held - count, count)
            left -= count
        if left < least:
            return _BAD
        if literal + ll > literals_end or begin + x + ll + ml > stop:
            return _BAD
        x, begin = _add_literals(block, literal, ll, x, begin, row)
        literal += ll
        recent = _recall(number, ll, recent)
        offset = recent[0]
        if offset == width and begin + x >= width:
            x, begin = _skip(ml, x, begin, row)
        elif offset == 1 and begin + x:
            x, begin = _repeat(ml, x, begin, row)
        else:
            return _BAD
    ll = literals_end - literal
    if left != least or begin + x + ll > stop:
        return _BAD
    x, begin = _add_literals(block, literal, ll, x, begin, row)
    return begin + x, recent


@loop
def _recall(number: int, num_literals: int, recent: _Offsets) -> _Offsets:
    """Return the offsets used last, the newest first, after one that a number stands for (RFC 8878, 3.1.1.5)."""
    first, second, third = recent
    if number > 3:
        return number - 3, first, second
    index = number - 1 + (1 if num_literals == 0 else 0)
    if index == 0:
        return first, second, third
    if index == 1:
        return second, first, third
    return third if index == 2 else first - 1, first, second


@loop
def _add_literals(
    block: NDArray[np.uint8], literal: int, count: int, x: int, begin: int, row: Row
) -> tuple[int, int]:
    """Add single pixels.

    Args:
        block: uint8 [N].
        literal: where in it they are.
        count: how many.
        x: pixels of the row so far.
        begin: pixels before it.
        row: where they go.

    Returns:
        The new `x` and `begin`.
    """
    for place in range(literal, literal + count):
        row.pixels[x] = np.float32(1 if block[place] else 0)
        x += 1
        if x == row.pixels.size:
            x, begin = 0, _write_row(begin, row)
    return x, begin


@loop
def _repeat(count: int, x: int, begin: int, row: Row) -> tuple[int, int]:
    """Add pixels that equal the last one; else as `_add_literals`."""
    width = row.pixels.size
    value = row.pixels[x - 1 if x else width - 1]
    while count:
        here = min(count, width - x)
        for place in range(x, x + here):
            row.pixels[place] = value
        x += here
        count -= here
        if x == width:
            x, begin = 0, _write_row(begin, row)
    return x, begin


@loop
def _skip(count: int, x: int, begin: int, row: Row) -> tuple[int, int]:
    """Add pixels that equal those above; else as `_add_literals`."""
    x += count
    while x >= row.pixels.size:
        x -= row.pixels.size
        begin = _write_row(begin, row)
    return x, begin


@loop
def _write_row(begin: int, row: Row) -> int:
    """Write out a full row; return where the next begins."""
    start, size = 4 * begin, row.source.size
    if row.has_lines:
        for i in range(0, size, LINE):
            copy_line(row.source, i, row.target, start + i)
    else:
        row.target[start : start + size] = row.source
    return begin + row.pixels.size
