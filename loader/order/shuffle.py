"""Shuffles that are computed, never stored: a pure function from a position to an index. numpy only.

A permutation of `range(size)` is a Feistel network over a grid of about sqrt(size) x sqrt(size) cells, and whatever
falls outside `range(size)` walks on until it is inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
2002: "Generalized-Feistel" with "cycle walking"). The round function is the output mix of SplitMix64. Neither depends
on numpy's generators, so an order never changes with the version of a library.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
"""Four make a good cipher of a large domain."""
SMALL_SIZE = 256
SMALL_ROUNDS = 24
"""Below `SMALL_SIZE`: a round has few values to choose from there, and 8 leave some orders likelier than others."""

MAX_SIZE = 2**62
"""Grids have sides below 2 ** 32, and positions are int64."""

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def hash_words(*words: int) -> int:
    """Return a hash of whole numbers, each taken modulo 2 ** 64: one of 0..2 ** 64 - 1.

    >>> hash_words(1, 2) == hash_words(1, 2)
    True
    >>> hash_words(1, 2) == hash_words(2, 1)
    False
    """
    state = len(words)
    for word in words:
        state = _mix_word((state + _GOLDEN) & _WORD ^ (word & _WORD))
    return state


def hash_columns(key: int, *columns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a hash of each row of int64 columns of one length, under a key."""
    state = np.full(len(columns[0]), key & _WORD, np.uint64)
    for column in columns:
        state += np.uint64(_GOLDEN)
        state ^= column.astype(np.uint64)
        mix(state)
    return state


def mix(words: NDArray[np.uint64]) -> None:
    """Replace each word by SplitMix64's output mix of it: a bijection in which each bit bears on every other."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)


def scale(hashes: NDArray[np.uint64], counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Return hashes brought to 0..counts - 1; counts are below 2 ** 32. No value is favoured by more than 2 ** -32."""
    high = hashes >> np.uint64(32)
    return ((high * np.asarray(counts, np.uint64)) >> np.uint64(32)).astype(np.int64)


def permute(positions: NDArray[np.int64], size: int, key: int | NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where a pseudo-random permutation of `range(size)` sends positions.

    Args:
        positions: int64 [N], each in 0..size - 1.
        size: 1..2 ** 62.
        key: which permutation, 0..2 ** 64 - 1; or uint64 [N], one for each position.

    Returns:
        int64 [N], each in 0..size - 1.

    Raises:
        ValueError: `size` or a position is out of range.
    """
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"a permutation has 1..{MAX_SIZE} places, not {size}")
    if len(positions) and not (positions.min() >= 0 and positions.max() < size):
        raise ValueError(f"positions are 0..{size - 1}; found {positions.min()}..{positions.max()}")
    keys = np.full(1, key, np.uint64) if isinstance(key, int) else key
    values = positions.astype(np.uint64)
    _encrypt(values, size, keys)
    # Until every position is inside `range(size)` again.
    while len(outside := np.flatnonzero(values >= np.uint64(size))):
        again = values[outside]
        _encrypt(again, size, keys if isinstance(key, int) else keys[outside])
        values[outside] = again
    return values.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Shuffle:
    """How an epoch is shuffled.

    Without a window every order of the samples is as likely as any other. With one, runs of `block` consecutive
    samples stay near each other: the blocks are shuffled, then the samples within each window of `window` samples.
    A window is read from window / block places of the store instead of all over it. docs/order.md measures what
    that costs in randomness.
    """

    window: int | None = None
    """Samples; rounded to whole blocks. None, or as many as the store has, shuffles freely."""
    block: int = 64
    """Samples that lie one after the other in the store. Their boundaries move from epoch to epoch."""

    def __post_init__(self) -> None:
        if self.block < 1 or (self.window is not None and self.window < self.block):
            raise ValueError(f"a window is at least a block, and a block at least 1 sample; found {self}")

    def place(self, positions: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
        """Return where this shuffle sends positions: a permutation of `range(size)`, as `permute`."""
        if self.window is None or self.window >= size:
            return permute(positions, size, key)
        window = self.window // self.block * self.block
        slots = self._within_windows(positions, size, window, key)
        # The last, shorter block keeps its place at the end; turning the store makes that any samples.
        num_blocks = size // self.block
        numbers, offsets = np.divmod(slots, self.block)
        whole = numbers < num_blocks
        numbers[whole] = permute(numbers[whole], num_blocks, hash_words(key, 1))
        turn = hash_words(key, 2) * size >> 64
        return (numbers * self.block + offsets + turn) % size

    def _within_windows(
        self, positions: NDArray[np.int64], size: int, window: int, key: int
    ) -> NDArray[np.int64]:
        """Shuffle within each window; the last also takes what is left over and has window..2 * window - 1 samples."""
        last = size // window - 1
        windows = np.minimum(positions // window, last)
        starts = windows * window
        keys = hash_columns(hash_words(key, 3), windows)
        slots = np.empty_like(positions)
        for inside, length in ((windows < last, window), (windows == last, size - last * window)):
            slots[inside] = permute((positions - starts)[inside], length, keys[inside])
        return starts + slots


def _encrypt(values: NDArray[np.uint64], size: int, keys: NDArray[np.uint64]) -> None:
    """Replace cells of the grid, numbered row by row, by where the Feistel network of one key, or of each cell's, sends them."""
    height, width = _grid(size)
    rows, columns = np.divmod(values, np.uint64(width))
    for number in range(SMALL_ROUNDS if size < SMALL_SIZE else ROUNDS):
        key = keys + np.uint64((number + 1) * _GOLDEN & _WORD)
        mix(key)
        changed, other, side = (rows, columns, height) if number % 2 == 0 else (columns, rows, width)
        hashes = other + key
        mix(hashes)
        hashes >>= np.uint64(32)
        hashes *= np.uint64(side)
        hashes >>= np.uint64(32)
        changed += hashes
        # The sum is below 2 * side; below side the difference wraps around and is the larger of the two.
        np.minimum(changed, changed - np.uint64(side), out=changed)
    np.multiply(rows, np.uint64(width), out=values)
    values += columns


@lru_cache(maxsize=256)
def _grid(size: int) -> tuple[int, int]:
    """Return (height, width) of the grid: at least `size` cells, and fewer than a row more.

    The width is even: shifts along odd sides alone would only give even permutations.
    """
    width = isqrt(size - 1) + 1
    width += width % 2
    return -(-size // width), width


def _mix_word(word: int) -> int:
    """Return `mix` of one word."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31
