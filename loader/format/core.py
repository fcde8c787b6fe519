"""Which compiled core a package has: optional, for all that it does is done by numpy and Pillow as well, to the same bytes."""

import os
from importlib import import_module
from typing import Any

from .errors import PreprocessError

LEVELS = ("plain", "avx2", "avx512")

VARIABLE = "RESIZEONCE_CORE"
"""Set to "off", no compiled core is used; to one of `LEVELS`, no more than those instructions are."""

# pip keeps what it built without a compiler, and would take that again.
_ANEW = "resizeonce anew: pip install --force-reinstall --no-deps --no-cache-dir"


def load_core(package: str) -> Any:
    """Return the compiled core of a package; None where its install had no compiler, or where `RESIZEONCE_CORE` is "off".

    Raises:
        PreprocessError: `RESIZEONCE_CORE` names what this processor has not.
    """
    level = os.environ.get(VARIABLE)
    if level not in (None, "", "off", *LEVELS):
        raise PreprocessError(f"{VARIABLE} may be off, {', '.join(LEVELS)}, found {level!r}")
    if level == "off":
        return None
    try:
        core = import_module(f"{package}._core")
    except ImportError:
        return None
    if level:
        try:
            core.use(level)
        except ValueError as err:
            raise PreprocessError(f"{VARIABLE}: {err}") from None
    return core


def why_missing(package: str) -> str:
    """Return why `load_core` found no compiled core, and what brings it."""
    if os.environ.get(VARIABLE) == "off":
        return f'{VARIABLE} is "off"; unset it'
    try:
        import_module(f"{package}._core")
    except ModuleNotFoundError:
        return f"the install had no working C compiler; install one, such as gcc, then {_ANEW}"
    except ImportError as err:
        return f"it can't be loaded ({err}); install {_ANEW}"
    raise AssertionError("there is a core")
