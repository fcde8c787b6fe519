"""Which compiled core a package has: optional, for all that it does is done by numpy and Pillow as well, to the same bytes."""

import os
from importlib import import_module
from typing import Any

VARIABLE = "RESIZEONCE_CORE"
"""Set to "off", no compiled core is used; to "plain", "avx2" or "avx512", no more than those instructions are."""


def load_core(package: str) -> Any:
    """Return the compiled core of a package; None where its install had no compiler, or where `RESIZEONCE_CORE` is "off".

    Raises:
        ValueError: `RESIZEONCE_CORE` names what this processor has not.
    """
    level = os.environ.get(VARIABLE)
    if level == "off":
        return None
    try:
        core = import_module(f"{package}._core")
    except ImportError:
        return None
    if level:
        core.use(level)
    return core
