"""Offline preprocessing: raw datasets in, stores of ready training tensors out.

`preprocess.convert(config, root, out)` is the command `resizeonce convert` as a function.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocess.pipeline import Report, RunOptions, convert

__version__ = "0.1.0"

__all__ = ["Report", "RunOptions", "convert"]


def __getattr__(name: str) -> Any:
    # Imported on demand: the loader imports this package at training time, where no converter is needed.
    if name in __all__:
        from preprocess import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'preprocess' has no attribute {name!r}")
