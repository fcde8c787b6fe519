"""The registry: which datasets there are. A new one is one file, one line here, a config, a test file, a README row.

A source's file is imported when it is asked for: a conversion, and each of its worker processes, waits for its own alone.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .base import Source
from .files.raw_files import LinkedPath, RawPath
from .options import SourceOptions

SOURCES = {
    "npz": "NpzSource",
    "sav": "SavSource",
    "sa1b": "Sa1bSource",
    "openimages": "OpenImagesSource",
    "refcoco": "RefcocoSource",
    "coco": "CocoSource",
    "folders": "FoldersSource",
    "vos": "VosSource",
    "mevis": "MevisSource",
}
"""The class that opens each dataset, in the file of the dataset's name, beside its `Options`."""


class SourceType(NamedTuple):
    """A dataset reader and its options."""

    options: type[SourceOptions]
    open: Callable[[RawPath, Any], Source]
    """Takes the root, as `preprocess.remote.path.open_root` gives it, and an instance of `options`."""


def source_type(name: str) -> SourceType:
    """Return the reader of a dataset, one of `SOURCES`, and its options."""
    module = import_module(f".{name}", __package__)
    return SourceType(module.Options, getattr(module, SOURCES[name]))


def open_dataset(name: str, root: RawPath, options: SourceOptions) -> Source:
    """Open a raw dataset by the name of its reader; where links are followed, each path below the root says so.

    Raises:
        SourceError: it can't be opened.
    """
    if options.follow_links and isinstance(root, Path):
        root = LinkedPath(root)
    return source_type(name).open(root, options)
