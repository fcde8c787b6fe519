"""How a mask becomes a Zstandard frame: what is copied from where, and the bits that say so (RFC 8878).

`preprocess/kernels/mask_frames.h` does the same, to the same bytes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .zstd_tables import LITERAL_LENGTHS, MATCH_LENGTHS, OFFSETS, CodeTable

BLOCK = 1 << 17
"""Pixels of a block: the most that a block may hold."""

SHORTEST = 6
"""Pixels that are worth a copy: a sequence takes about three bytes. The format takes three pixels."""

WINDOW = 1 << 23
"""Pixels within which a decoder must be able to look back: no more than the format lets every decoder refuse."""

WINDOW_BYTE = (23 - 10) << 3
"""The same as the format writes it (3.1.1.1.2)."""

Sequence = tuple[int, int, int]
"""The number of literals, the offset as the format counts it (3.1.1.5), and the length of the copy."""


def make_frame(pixels: NDArray[np.uint8], width: int, most_changes: int) -> bytes | None:
    """Return a mask as a frame.

    Args:
        pixels: uint8 [N], by rows; N below 2**32.
        width: pixels of a row, `SHORTEST` to `WINDOW`.
        most_changes: how many pixels may differ from those above.

    Returns:
        The frame; None where more pixels differ, or a block would be no smaller than its pixels.
    """
    changes = np.flatnonzero(pixels[width:] != pixels[:-width]) + width
    if changes.size > most_changes:
        return None
    # The magic number; a size in four bytes and no checksum; one segment that is its own window, or a window of 2**23.
    window = [0xA0] if pixels.size <= WINDOW else [0x80, WINDOW_BYTE]
    frame = bytearray([0x28, 0xB5, 0x2F, 0xFD, *window]) + pixels.size.to_bytes(4, "little")
    first = 0
    for sequences, literals in _find_sequences(pixels.tobytes(), [*range(width), *changes.tolist()], width):
        # Literals as they are, their number in 20 bits.
        block = (0b1100 | len(literals) << 4).to_bytes(3, "little") + literals + _write_sequences(sequences)
        stop = min(first + BLOCK, pixels.size)
        if len(block) >= stop - first:
            return None
        frame += (len(block) << 3 | 2 << 1 | (stop == pixels.size)).to_bytes(3, "little") + block
        first = stop
    return bytes(frame)


def _find_sequences(
    pixels: bytes, changes: list[int], width: int
) -> Iterator[tuple[list[Sequence], bytearray]]:
    """Yield of each block of a mask copies of the row above and of the pixel before, and single pixels.

    Changes are pixels that differ from the one above, and all of the first row; ascending.
    """
    change = at = 0
    # The offsets that a frame begins with. The third is never used.
    newest, older = 1, 4
    changes.append(len(pixels))
    while at < len(pixels):
        sequences: list[Sequence] = []
        literals = bytearray()
        stop = min(at + BLOCK, len(pixels))
        pending = 0
        end = at
        while at < stop:
            if at >= end:
                while changes[change] < at:
                    change += 1
                end = min(changes[change], stop)
                offset, length = width, end - at
                if length < SHORTEST:
                    # Pixel by pixel from here, until enough of them equal those above.
                    while changes[change] < min(end + SHORTEST, stop):
                        end = changes[change] + 1
                        change += 1
                    end = stop if stop - end < SHORTEST else end
                    continue
            else:
                run = at + 1
                while run < end and pixels[run] == pixels[at]:
                    run += 1
                single = 1 if run - at > SHORTEST else run - at
                literals += pixels[at : at + single]
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
            sequences.append((pending, number, length))
            pending = 0
            at += length
        yield sequences, literals


def _write_sequences(sequences: list[Sequence]) -> bytes:
    """Return the sequences of a block, their number first."""
    if not sequences:
        return b"\0"
    # In two bytes, enough for copies of SHORTEST pixels; then, that all tables are the predefined ones.
    encoded = bytearray([(len(sequences) >> 8) + 128, len(sequences) & 255, 0])
    literals, offsets, lengths = np.array(sequences).T
    ll_steps, ll_extra, ll_state = _encode(LITERAL_LENGTHS, literals)
    of_steps, of_extra, of_state = _encode(OFFSETS, offsets)
    ml_steps, ml_extra, ml_state = _encode(MATCH_LENGTHS, lengths)
    bits = held = 0
    # What a decoder reads last comes first.
    for fields in zip(of_steps, ml_steps, ll_steps, ll_extra, ml_extra, of_extra, strict=True):
        for value, count in fields:
            bits |= value << held
            held += count
        while held >= 8:
            encoded.append(bits & 255)
            bits, held = bits >> 8, held - 8
    # The states to begin with, 6, 5 and 6 bits, and a bit that marks the end.
    bits |= (ml_state | of_state << 6 | ll_state << 11 | 1 << 17) << held
    return bytes(encoded + bits.to_bytes((held + 25) // 8, "little"))


def _encode(
    table: CodeTable, values: NDArray[np.int64]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int]:
    """Return how one part of each sequence is encoded, from the last to the first.

    Returns:
        The bits that lead to each next state, and how many; the bits that tell each value from others of its code, and how
        many; the first state.
    """
    codes = np.searchsorted(table.smallest, values, "right")[::-1] - 1
    extra = np.stack([values[::-1] - table.smallest[codes], table.extra_bits[codes]], axis=1)
    states = [0]
    for code in codes.tolist():
        states.append(int(table.state_before[code, states[-1]]))
    steps = np.stack([states[:-1] - table.base[states[1:]], table.bits[states[1:]]], axis=1)
    # After the last sequence no state follows: any of the code's own will do.
    steps[0] = 0
    return list(map(tuple, steps.tolist())), list(map(tuple, extra.tolist())), states[-1]
