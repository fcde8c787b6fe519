"""The levels of instructions that a compiled core has on this processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def levels_of(core: Any) -> list[str]:
    """Return the names of a core's levels here; none where there is no core."""
    found = []
    for level in ("plain", "avx2", "avx512") if core else ():
        try:
            with at_level(core, level):
                found.append(level)
        except ValueError:
            continue
    return found


@contextmanager
def at_level(core: Any, level: str) -> Iterator[Any]:
    """Let a core take instructions up to a level for the block."""
    before = core.level()
    core.use(level)
    try:
        yield core
    finally:
        core.use(before)
