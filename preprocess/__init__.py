"""Offline: raw datasets in, stores of ready training tensors out.

`preprocess.convert(config, root, out)` is the command `resizeonce convert` as a function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run.convert import Report, RunOptions, convert

__all__ = ["Report", "RunOptions", "convert"]


def __getattr__(name: str) -> Any:
    # Imported on demand: whoever asks for the version does not wait for a converter.
    if name in __all__:
        return getattr(import_module(".run.convert", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
