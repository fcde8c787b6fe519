"""Masks from the frames that `preprocess.mask_codec` makes straight into a batch, compiled by numba.

libzstd would write a mask's bytes, which are then read again and widened. These frames say little more than where a row
differs from the one above: the loop below keeps one row, changes it, and writes it out when it is full. It reads that
kind of Zstandard frames only, and believes nothing: what it finds out of the ordinary is left to libzstd.

numba does not notice a change of `preprocess.zstd_tables` or `loader.loops`: then its cache in `__pycache__` has to go.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loader.loops import FLOATS, LINE, bytes_at, carray, copy_line, finish
from preprocess.mask_sequences import BLOCK, WINDOW_BYTE
from preprocess.zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS

_LL_SMALLEST, _LL_EXTRA, _, _LL_BITS, _LL_BASE, _LL_CODES = LITERAL_LENGTHS
_ML_SMALLEST, _ML_EXTRA, _, _ML_BITS, _ML_BASE, _ML_CODES = MATCH_LENGTHS
_OF_SMALLEST, _OF_EXTRA, _, _OF_BITS, _OF_BASE, _OF_CODES = OFFSETS

_LEAST_BYTES = 10
"""Of a frame with a size in four bytes and nothing else."""

LITERALS = 3
"""Where a block's literals begin."""

_STATE_BITS = 17
"""The states to begin with: 6, 5 and 6 bits."""


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


@njit(cache=True, nogil=True)
def _read(data: NDArray[np.uint8], at: int, count: int) -> int:
    """Return a number of so many bytes, the lowest first."""
    number = 0
    for place in range(count):
        number |= int(data[at + place]) << 8 * place
    return number


@njit(cache=True, nogil=True)
def _refill(block: NDArray[np.uint8], start: int, bits: int, held: int, back: int) -> tuple[int, int, int]:
    """Hold at least 48 bits, if so many are left: what one part of a sequence takes at most is 44."""
    while held < 48 and back > start:
        back -= 1
        # What was taken is pushed out at the top.
        bits, held = (bits & (1 << held) - 1) << 8 | block[back], held + 8
    return bits, held, back


@njit(cache=True, nogil=True)
def _take(bits: int, held: int, count: int) -> int:
    """Return `count` bits above the lowest `held`, anything where there are none: who asks looks at `held` then."""
    return bits >> max(held, 0) & (1 << count) - 1


@njit(cache=True, nogil=True)
def expand(frame: NDArray[np.uint8], width: int, out: NDArray[np.float32]) -> bool:
    """Write a mask as float32, 1 where it is set; return whether it was of the known kind and whole.

    Args:
        frame: uint8 [N].
        width: pixels of a row.
        out: float32 [H * W]; holds anything where the answer is no.
    """
    if frame.size < _LEAST_BYTES or width < 1 or out.size % width:
        return False
    at = 5
    if frame[4] == 0x80:
        # The one window that the encoder asks for.
        if frame[5] != WINDOW_BYTE:
            return False
        at = 6
    elif frame[4] != 0xA0:
        return False
    if _read(frame, 0, 4) != 0xFD2FB528 or _read(frame, at, 4) != out.size:
        return False
    at += 4
    pixels, target = np.zeros(width, np.float32), out.view(np.uint8)
    has_lines = width % FLOATS == 0 and out.ctypes.data % LINE == 0
    row = Row(pixels, pixels.view(np.uint8), target, has_lines)
    recent = np.array([1, 4, 8])
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
        written = _expand_block(frame[at:end], recent, written, row)
        if written < 0:
            return False
        at = end
    finish()
    return at == frame.size and written == out.size


@njit(cache=True, nogil=True)
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
    if first == 0:
        return end, end + 1, 0
    if first < 128 or first == 255 or end + 3 > block.size or block[end + 2]:
        return 0, 0, -1
    return end, end + 3, (first - 128 << 8) + block[end + 1]


@njit(cache=True, nogil=True)
def _expand_block(block: NDArray[np.uint8], recent: NDArray[np.int64], written: int, row: Row) -> int:
    """Go on with a compressed block.

    Args:
        block: uint8 [N].
        recent: int64 [3], the offsets used last.
        written: pixels so far.
        row: where they go.

    Returns:
        The pixels that there are now, -1 where the block is damaged or of another kind.
    """
    literals_end, at, num_sequences = _read_headers(block)
    if num_sequences < 0:
        return -1
    literal = LITERALS
    width = row.pixels.size
    stop = min(written + BLOCK, row.target.size // 4)
    ll_state = of_state = ml_state = 0
    # Bits are read from the end; the highest that is set only marks where they begin.
    bits = held = 0
    back = block.size
    if num_sequences:
        back -= 1
        bits = int(block[back])
        if not bits:
            return -1
        while bits >> held > 1:
            held += 1
        bits, held, back = _refill(block, at, bits, held, back)
        held -= _STATE_BITS
        if held < 0:
            return -1
        ll_state, of_state, ml_state = bits >> held + 11 & 63, bits >> held + 6 & 31, bits >> held & 63
    for place in range(num_sequences):
        bits, held, back = _refill(block, at, bits, held, back)
        code = _OF_CODES[of_state]
        held -= _OF_EXTRA[code]
        number = _OF_SMALLEST[code] + _take(bits, held, _OF_EXTRA[code])
        code = _ML_CODES[ml_state]
        held -= _ML_EXTRA[code]
        ml = _ML_SMALLEST[code] + _take(bits, held, _ML_EXTRA[code])
        if held < 0:
            return -1
        bits, held, back = _refill(block, at, bits, held, back)
        code = _LL_CODES[ll_state]
        held -= _LL_EXTRA[code]
        ll = _LL_SMALLEST[code] + _take(bits, held, _LL_EXTRA[code])
        if place < num_sequences - 1:
            held -= _LL_BITS[ll_state]
            ll_state = _LL_BASE[ll_state] + _take(bits, held, _LL_BITS[ll_state])
            held -= _ML_BITS[ml_state]
            ml_state = _ML_BASE[ml_state] + _take(bits, held, _ML_BITS[ml_state])
            held -= _OF_BITS[of_state]
            of_state = _OF_BASE[of_state] + _take(bits, held, _OF_BITS[of_state])
        if held < 0:
            return -1
        if literal + ll > literals_end or written + ll + ml > stop:
            return -1
        for _ in range(ll):
            written = _repeat(1 if block[literal] else 0, 1, written, row)
            literal += 1
        offset = _recall(number, ll, recent)
        if offset == width and written >= width:
            written = _skip(ml, written, row)
        elif offset == 1 and written:
            value = row.pixels[(written - 1) % width]
            written = _repeat(value, ml, written, row)
        else:
            return -1
    if held or back > at or written + literals_end - literal > stop:
        return -1
    while literal < literals_end:
        written = _repeat(1 if block[literal] else 0, 1, written, row)
        literal += 1
    return written


@njit(cache=True, nogil=True)
def _recall(number: int, num_literals: int, recent: NDArray[np.int64]) -> int:
    """Return the offset that a number stands for, and note it as the newest (RFC 8878, 3.1.1.5)."""
    if number > 3:
        offset = number - 3
        recent[2] = recent[1]
        recent[1] = recent[0]
    else:
        index = number - 1 + (1 if num_literals == 0 else 0)
        offset = recent[0] - 1 if index == 3 else recent[index]
        if index > 1:
            recent[2] = recent[1]
        if index > 0:
            recent[1] = recent[0]
    recent[0] = offset
    return offset


@njit(cache=True, nogil=True)
def _repeat(value: float, count: int, written: int, row: Row) -> int:
    """Add pixels of one value; return how many there are now."""
    width = row.pixels.size
    while count:
        x = written % width
        here = min(count, width - x)
        for place in range(x, x + here):
            row.pixels[place] = value
        written, count = _skip(here, written, row), count - here
    return written


@njit(cache=True, nogil=True)
def _skip(count: int, written: int, row: Row) -> int:
    """Add pixels that equal those above, and write out each row that this fills; return how many there are now."""
    width = row.pixels.size
    left = width - written % width
    while count >= left:
        start = 4 * (written + left - width)
        if row.has_lines:
            for i in range(0, row.source.size, LINE):
                copy_line(row.source, i, row.target, start + i)
        else:
            row.target[start : start + row.source.size] = row.source
        written, count, left = written + left, count - left, width
    return written + count


@njit(cache=True, nogil=True)
def expand_rows(
    addresses: NDArray[np.int64],
    sizes: NDArray[np.int64],
    width: int,
    out: NDArray[np.float32],
    is_done: NDArray[np.bool_],
) -> None:
    """Do what `expand` does with frames given by address and size, int64 [B]; `out` is float32 [B, H * W]."""
    for place in range(addresses.size):
        frame = carray(bytes_at(addresses[place]), (sizes[place],))
        is_done[place] = expand(frame, width, out[place])
