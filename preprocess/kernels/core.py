"""The compiled core of the converter, where there is one."""

from typing import Protocol

from ...loader.format.core import load_core


class Core(Protocol):
    """What `preprocess/kernels/core.c` offers. Every shape and bound is looked at, and other threads run meanwhile."""

    def level(self) -> str:
        """Return the instructions that are taken: "plain", "avx2" or "avx512"."""

    def use(self, level: str) -> None:
        """Take instructions up to a level; raise `ValueError` where this processor has not those."""


CORE: Core | None = load_core(__package__)
