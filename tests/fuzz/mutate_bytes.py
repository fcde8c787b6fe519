"""Damages any file: bits, stretches, numbers, what is foreign."""

from collections.abc import Callable
from random import Random

Change = Callable[[bytes, Random], bytes]
"""Takes a file's bytes; returns others."""


def flip_bits(content: bytes, chance: Random) -> bytes:
    """Flip 1 to 8 bits."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 8)) if damaged else 0):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, chance: Random) -> bytes:
    """Cut the end off."""
    cut = chance.choice((chance.randrange(len(content) + 1), len(content) - chance.randint(1, 40), 0))
    return content[: max(cut, 0)]


def zero(content: bytes, chance: Random) -> bytes:
    """Fill a stretch with zeros, as a broken download does."""
    first, stop = _span(content, chance)
    return content[:first] + bytes(stop - first) + content[stop:]


def duplicate(content: bytes, chance: Random) -> bytes:
    """Repeat a stretch, a few or many times."""
    first, stop = _span(content, chance)
    return content[:stop] + content[first:stop] * chance.choice((1, 2, 50)) + content[stop:]


def remove(content: bytes, chance: Random) -> bytes:
    """Leave a stretch out."""
    first, stop = _span(content, chance)
    return content[:first] + content[stop:]


def splice(content: bytes, chance: Random) -> bytes:
    """Put a stretch of the file, or noise, somewhere else in it."""
    first, stop = _span(content, chance)
    piece = content[first:stop] if chance.random() < 0.5 else chance.randbytes(chance.randint(1, 64))
    place = chance.randrange(len(content) + 1)
    over = len(piece) if chance.random() < 0.5 else 0
    return content[:place] + piece + content[place + over :]


def claim(content: bytes, chance: Random) -> bytes:
    """Write an extreme number over some bytes, in either byte order: a count, a length, an offset."""
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice((0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)) % (
        1 << 8 * size
    )
    place = chance.randrange(len(content) + 1)
    # Headers are where sizes are.
    place = place if chance.random() < 0.5 else place % 200
    return content[:place] + value.to_bytes(size, chance.choice(("little", "big"))) + content[place + size :]


def junk(content: bytes, chance: Random) -> bytes:
    """Put something foreign in front, behind, or in place of all."""
    pieces = (
        b"<html><body>404</body></html>",
        b"\xef\xbb\xbf",
        b"\0" * 5000,
        b"\xff\xfe",
        b"\x1f\x8b\x08\0",
        b"\r\n",
    )
    piece = chance.choice(pieces)
    return chance.choice((piece + content, content + piece, piece))


BYTES: dict[str, Change] = {
    change.__name__: change for change in (flip_bits, truncate, zero, duplicate, remove, splice, claim, junk)
}


def _span(content: bytes, chance: Random) -> tuple[int, int]:
    length = min(chance.choice((1, 4, 40, 400, 4000)), len(content))
    first = chance.randrange(len(content) - length + 1)
    return first, first + length
