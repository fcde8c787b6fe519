"""Compiled loops on machines that keep no compiled code."""

import subprocess
import sys
from pathlib import Path

import pytest

from resizeonce.loader.format.compiled import compiled

pytest.importorskip("numba")

READ_ONLY = """
import sys
from numba.core import caching

# As where neither the sources nor a home may be written.
places = getattr(caching, "CacheImpl", None) or caching._CacheImpl
places._locator_classes = [place for place in places._locator_classes if "UserProvided" in place.__name__]
import numpy as np
from numba import config
from resizeonce.loader.format.gradient import pack_gradient, unpack_gradient
image = np.zeros((3, 1, 1), np.uint8)
packed = pack_gradient(image)
unpack_gradient(packed, image)
print(len(packed), config.CACHE_DIR)
"""


def test_without_a_place_for_numbas_cache_the_process_compiles_for_itself() -> None:
    done = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=True)
    size, folder = done.stdout.split()
    assert int(size) > 0
    assert "set NUMBA_CACHE_DIR" in done.stderr
    # Nobody else could have put code there, and nothing is left.
    assert "resizeonce-" in folder
    assert not Path(folder).exists()


def test_a_module_that_is_not_there_is_none() -> None:
    assert compiled("resizeonce.no_such_loops") is None


def test_nothing_is_compiled_where_numba_is_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert compiled.__wrapped__("resizeonce.loader.format.gradient_loops") is None
