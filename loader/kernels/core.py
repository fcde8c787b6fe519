"""The compiled core of the loader, where there is one."""

import os
import warnings
from functools import cache
from typing import Protocol

from ..format.core import VARIABLE, load_core, why_missing


class Core(Protocol):
    """What `loader/kernels/core.c` offers. Every shape and bound is looked at, and other threads run meanwhile."""

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""


CORE: Core | None = load_core(__package__)


@cache
def warn_without_core() -> None:
    """Warn once in a process that training is slower than it could be, unless `RESIZEONCE_CORE` asks for that."""
    if CORE is None and os.environ.get(VARIABLE) != "off":
        reason = why_missing(__package__)
        warnings.warn(
            f"batches are filled by numpy, to the same bytes but more slowly, for want of the compiled core: {reason}",
            # Where the trainer makes its loader.
            stacklevel=3,
        )
