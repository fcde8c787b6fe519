"""Modules of compiled loops, where they can be had; without numba, numpy or Python does the same more slowly."""

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any


@cache
def compiled(name: str) -> ModuleType | None:
    """Return a module of loops; None where numba is not installed, or is told to compile nothing."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return None
    try:
        return import_module(name)
    except ImportError:
        return None
    except RuntimeError as err:
        if "cannot cache" not in str(err):
            raise
        _cache_for_now()
        return import_module(name)


def loaded(name: str) -> ModuleType | None:
    """Return a module of loops where it is loaded already: whoever does without the fast engine has not done so."""
    return sys.modules.get(name)


def _cache_for_now() -> None:
    """Let numba keep its code until this process ends: it may write neither beside the sources nor in a home."""
    from numba.core import config as numba_config

    config: Any = numba_config
    warnings.warn(
        "numba has no place to keep compiled code, so every process compiles for some ten seconds: "
        "set NUMBA_CACHE_DIR to a folder that only you may write",
        stacklevel=3,
    )
    # A folder of this process alone: what lies in a cache is executed.
    config.CACHE_DIR = tempfile.mkdtemp(prefix="resizeonce-")
    atexit.register(shutil.rmtree, config.CACHE_DIR, ignore_errors=True)
