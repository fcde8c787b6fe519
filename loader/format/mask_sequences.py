"""How a mask becomes a Zstandard frame: what is copied from where, and the bits that say so (RFC 8878).

Written so that Python runs it as it stands, and `loader.format.mask_loops` compiles it: whole numbers and arrays only, and
no function of this file calls another. Pixels are bytes, by rows.
"""

import numpy as np
from numpy.typing import NDArray

from .zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS

BLOCK = 1 << 17
"""Pixels of a block: the most that a block may hold."""

SHORTEST = 6
"""Pixels that are worth a copy: a sequence takes about three bytes. The format takes three pixels."""

HEADER_BYTES = 10
"""The magic number, what the header holds, perhaps a window, and the size in four bytes."""

WINDOW = 1 << 23
"""Pixels within which a decoder must be able to look back: no more than the format lets every decoder refuse."""

WINDOW_BYTE = (23 - 10) << 3
"""The same as the format writes it (3.1.1.1.2)."""

# A compiler sees plain arrays as constants.
_LL_SMALLEST, _LL_EXTRA, _LL_BEFORE, _LL_BITS, _LL_BASE, _ = LITERAL_LENGTHS
_ML_SMALLEST, _ML_EXTRA, _ML_BEFORE, _ML_BITS, _ML_BASE, _ = MATCH_LENGTHS
_OF_SMALLEST, _OF_EXTRA, _OF_BEFORE, _OF_BITS, _OF_BASE, _ = OFFSETS


def find_sequences(
    pixels: NDArray[np.uint8],
    changes: NDArray[np.int64],
    width: int,
    sequences: NDArray[np.int64],
    literals: NDArray[np.uint8],
    blocks: NDArray[np.int64],
) -> None:
    """Take a mask apart: copies of the row above, copies of the pixel before, and single pixels.

    Args:
        pixels: uint8 [N].
        changes: int64 [K], ascending: pixels that differ from the one above, and all of the first row.
        width: pixels of a row.
        sequences: int64 [2 * K + 2 * blocks, 3], to be filled with the number of literals, the offset as the format
            counts it (3.1.1.5), and the length of the copy.
        literals: uint8 [SHORTEST * (K + blocks)], to be filled with single pixels.
        blocks: int64 [blocks, 2], to be filled with how many sequences, and literals, there are up to each one's end.
    """
    count = filled = change = at = 0
    # The offsets that a frame begins with. The third is never used.
    newest, older = 1, 4
    for block in range(blocks.shape[0]):
        stop = min(at + BLOCK, pixels.size)
        pending = 0
        end = at
        while at < stop:
            if at >= end:
                while change < changes.size and changes[change] < at:
                    change += 1
                end = min(changes[change], stop) if change < changes.size else stop
                offset, length = width, end - at
                if length < SHORTEST:
                    # Pixel by pixel from here, until enough of them equal those above.
                    while change < changes.size and changes[change] < min(end + SHORTEST, stop):
                        end = changes[change] + 1
                        change += 1
                    end = stop if stop - end < SHORTEST else end
                    continue
            else:
                run = at + 1
                while run < end and pixels[run] == pixels[at]:
                    run += 1
                single = 1 if run - at > SHORTEST else run - at
                for _ in range(single):
                    literals[filled] = pixels[at]
                    filled += 1
                pending += single
                at += single
                offset, length = 1, run - at
                if length == 0:
                    continue
            # A literal before it decides what the numbers of recent offsets mean.
            if offset == newest and pending > 0:
                number = 1
            elif offset == older:
                number = 2 if pending > 0 else 1
                newest, older = older, newest
            else:
                number = offset + 3
                newest, older = offset, newest
            sequences[count, 0] = pending
            sequences[count, 1] = number
            sequences[count, 2] = length
            count += 1
            pending = 0
            at += length
            end = max(end, at)
        blocks[block, 0] = count
        blocks[block, 1] = filled


def write_frame(
    size: int,
    sequences: NDArray[np.int64],
    literals: NDArray[np.uint8],
    blocks: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Write the frame of what `find_sequences` found; return how many bytes it has, or 0 if a block is no smaller than its pixels.

    Args:
        size: number of pixels.
        sequences: see `find_sequences`.
        literals: see `find_sequences`.
        blocks: see `find_sequences`.
        out: uint8 [HEADER_BYTES + 16 * blocks + literals + 16 * sequences] at least.
    """
    # The magic number; a size in four bytes and no checksum; one segment that is its own window, or a window of 2**23.
    magic = 0xFD2FB528
    for place in range(4):
        out[place] = magic >> (8 * place) & 255
    out[4] = 0xA0
    at = 5
    if size > WINDOW:
        out[4] = 0x80
        out[5] = WINDOW_BYTE
        at = 6
    for place in range(4):
        out[at] = size >> (8 * place) & 255
        at += 1
    first = taken = 0
    for block in range(blocks.shape[0]):
        start = at + 3
        at = start
        # Literals as they are, their number in 20 bits.
        num_literals = blocks[block, 1] - taken
        section = 0b1100 | num_literals << 4
        for place in range(3):
            out[at + place] = section >> (8 * place) & 255
        at += 3
        for place in range(taken, blocks[block, 1]):
            out[at] = literals[place]
            at += 1
        taken = blocks[block, 1]
        # The number of sequences in two bytes, enough for copies of SHORTEST pixels; then, that all tables are the
        # predefined ones.
        num_sequences = blocks[block, 0] - first
        if num_sequences == 0:
            out[at] = 0
            at += 1
        else:
            out[at] = (num_sequences >> 8) + 128
            out[at + 1] = num_sequences & 255
            out[at + 2] = 0
            at += 3
        # What a decoder reads last comes first.
        bits = held = 0
        ll_state = ml_state = of_state = 0
        for place in range(num_sequences):
            one = blocks[block, 0] - 1 - place
            ll, number, ml = sequences[one, 0], sequences[one, 1], sequences[one, 2]
            ll_code = of_code = ml_code = 0
            while ll_code + 1 < _LL_SMALLEST.size and _LL_SMALLEST[ll_code + 1] <= ll:
                ll_code += 1
            while of_code + 1 < _OF_SMALLEST.size and _OF_SMALLEST[of_code + 1] <= number:
                of_code += 1
            while ml_code + 1 < _ML_SMALLEST.size and _ML_SMALLEST[ml_code + 1] <= ml:
                ml_code += 1
            ll_next, ml_next, of_next = ll_state, ml_state, of_state
            ll_state = _LL_BEFORE[ll_code, ll_next]
            ml_state = _ML_BEFORE[ml_code, ml_next]
            of_state = _OF_BEFORE[of_code, of_next]
            # After the last sequence no state follows: any of the code's own will do.
            if place > 0:
                bits |= (of_next - _OF_BASE[of_state]) << held
                held += _OF_BITS[of_state]
                bits |= (ml_next - _ML_BASE[ml_state]) << held
                held += _ML_BITS[ml_state]
                bits |= (ll_next - _LL_BASE[ll_state]) << held
                held += _LL_BITS[ll_state]
                while held >= 8:
                    out[at] = bits & 255
                    at, bits, held = at + 1, bits >> 8, held - 8
            bits |= (ll - _LL_SMALLEST[ll_code]) << held
            held += _LL_EXTRA[ll_code]
            bits |= (ml - _ML_SMALLEST[ml_code]) << held
            held += _ML_EXTRA[ml_code]
            bits |= (number - _OF_SMALLEST[of_code]) << held
            held += _OF_EXTRA[of_code]
            while held >= 8:
                out[at] = bits & 255
                at, bits, held = at + 1, bits >> 8, held - 8
        if num_sequences > 0:
            # The states to begin with, 6, 5 and 6 bits, and a bit that marks the end.
            bits |= (ml_state | of_state << 6 | ll_state << 11 | 1 << 17) << held
            held += 18
            while held > 0:
                out[at] = bits & 255
                at, bits, held = at + 1, bits >> 8, held - 8
        first = blocks[block, 0]
        if at - start >= min(BLOCK, size - block * BLOCK):
            return 0
        block_header = (at - start) << 3 | 2 << 1 | (1 if block == blocks.shape[0] - 1 else 0)
        for place in range(3):
            out[start - 3 + place] = block_header >> (8 * place) & 255
    return at
