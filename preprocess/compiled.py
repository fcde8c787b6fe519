"""Modules of compiled loops, where they can be had; without numba, numpy does the same more slowly."""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def compiled(name: str) -> ModuleType | None:
    """Return a module of loops; None where numba is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None


def loaded(name: str) -> ModuleType | None:
    """Return a module of loops where it is loaded already: whoever does without the fast engine has not done so."""
    return sys.modules.get(name)
