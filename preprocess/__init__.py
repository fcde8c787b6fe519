"""Offline: raw datasets in, stores of ready training tensors out.

`resizeonce.preprocess.convert("refcoco", root, out)` is the command `resizeonce convert` as a function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config, load_config
    from .run.convert import Report, RunOptions, convert

__all__ = ["Config", "Report", "RunOptions", "convert", "load_config"]


def __getattr__(name: str) -> Any:
    # Imported on demand: whoever asks for the version does not wait for a converter.
    if name in __all__:
        module = ".config" if name in ("Config", "load_config") else ".run.convert"
        return getattr(import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
