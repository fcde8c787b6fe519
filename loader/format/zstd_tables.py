"""What RFC 8878 fixes of a Zstandard frame's sequences: codes of lengths, and predefined tables of finite state entropy.

The tables are there as a decoder reads them, and turned around, so that an encoder can look things up.

A decoder's state names a symbol, and tells how many bits to add to which number for its next state. An encoder goes
backwards: it knows the next state, and looks for the one with the symbol wanted from which that is reached. There is
always exactly one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CodeTable(NamedTuple):
    """How one part of a sequence (RFC 8878, 3.1.1.3.2.1.1) is encoded and decoded."""

    smallest: NDArray[np.int64]
    """int64 [codes]: the smallest value of each code."""
    extra_bits: NDArray[np.int64]
    """int64 [codes]: how many bits tell which of its values it is."""
    state_before: NDArray[np.int64]
    """int64 [codes, states]: the state with that code from which a next state is reached."""
    bits: NDArray[np.int64]
    """int64 [states]: how many bits are read for the next state."""
    base: NDArray[np.int64]
    """int64 [states]: what they are added to."""
    codes: NDArray[np.int64]
    """int64 [states]: the code of each, for a decoder."""


def make_table(counts: list[int], smallest: list[int], extra_bits: list[int]) -> CodeTable:
    """Return the table of a distribution (RFC 8878, 4.1.1).

    Args:
        counts: of each code, how many of the states are its own; -1 is one state, after which all bits of the next are read.
        smallest: the smallest value of each code.
        extra_bits: bits that follow each code.
    """
    num_states = sum(abs(count) for count in counts)
    accuracy = num_states.bit_length() - 1
    codes = np.zeros(num_states, np.int64)
    end = num_states
    for code, count in enumerate(counts):
        if count == -1:
            end -= 1
            codes[end] = code
    at, step = 0, (num_states >> 1) + (num_states >> 3) + 3
    for code, count in enumerate(counts):
        for _ in range(max(count, 0)):
            codes[at] = code
            at = (at + step) % num_states
            while at >= end:
                at = (at + step) % num_states
    bits, base = np.zeros(num_states, np.int64), np.zeros(num_states, np.int64)
    state_before = np.zeros((len(counts), num_states), np.int64)
    following = [abs(count) for count in counts]
    for state, code in enumerate(codes.tolist()):
        place = following[code]
        following[code] += 1
        bits[state] = accuracy - (place.bit_length() - 1)
        base[state] = (place << bits[state]) - num_states
        state_before[code, base[state] : base[state] + (1 << bits[state])] = state
    return CodeTable(np.array(smallest), np.array(extra_bits), state_before, bits, base, codes)


_LITERAL_EXTRA = [0] * 16 + [1] * 4 + [2, 2, 3, 3, 4, *range(6, 17)]
_MATCH_EXTRA = [0] * 32 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, *range(7, 17)]


def _add_up(first: int, extra_bits: list[int]) -> list[int]:
    """Return the smallest value of each code: each begins where the one before ends."""
    return [first + sum(1 << bits for bits in extra_bits[:code]) for code in range(len(extra_bits))]


LITERAL_LENGTHS = make_table(
    [4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4],
    _add_up(0, _LITERAL_EXTRA),
    _LITERAL_EXTRA,
)
MATCH_LENGTHS = make_table(
    [1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7],
    _add_up(3, _MATCH_EXTRA),
    _MATCH_EXTRA,
)
OFFSETS = make_table(
    [*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5],
    [1 << code for code in range(29)],
    list(range(29)),
)
