"""Shares of a store's parts, for job arrays: the K-th of N."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class PartRange:
    """The `number`-th of `count` equal shares, counted from 1.

    Raises:
        ConfigError: there is no such share.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(f"--part-range is {self.number}/{self.count}, expected K/N with 1 <= K <= N")

    @classmethod
    def parse(cls, text: str) -> "PartRange":
        """Return the share that is written as "K/N"."""
        number, _, count = text.partition("/")
        try:
            return cls(int(number), int(count))
        except ValueError as err:
            raise ConfigError(f"--part-range is {text!r}, expected K/N such as 3/40") from err

    def of(self, parts: range) -> range:
        """Return the share's parts; the shares cover all parts, and their sizes differ by one at most.

        >>> [PartRange(number, 3).of(range(10, 18)) for number in (1, 2, 3)]
        [range(10, 12), range(12, 15), range(15, 18)]
        """
        return parts[len(parts) * (self.number - 1) // self.count : len(parts) * self.number // self.count]


def describe_numbers(numbers: Iterable[int]) -> str:
    """Return ascending numbers for people.

    >>> describe_numbers([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    spans = [[number for _, number in run] for _, run in runs]
    return ", ".join(f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans)
