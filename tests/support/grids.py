"""Grids of parameters with a short form for the suite, and the rest for `make test-slow`."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """Return a set of parameters that only `make test-slow` has."""
    return pytest.param(*values, marks=pytest.mark.slow)


def pairs(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    """Return every pair; those without the first value of either are slow, so the suite has each value of both."""
    rows, columns = list(first), list(second)
    return [
        (row, column) if row == rows[0] or column == columns[0] else slow(row, column)
        for row in rows
        for column in columns
    ]
