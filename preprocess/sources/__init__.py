"""The registry: which datasets there are. A new one is one file, one line here, a config, a test file, a README row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from preprocess.sources import coco
from preprocess.sources.base import Source


class SourceType(NamedTuple):
    """A dataset reader and its options."""

    options: type[msgspec.Struct]
    open: Callable[[Path, Any], Source]
    """Takes the root folder and an instance of `options`."""


SOURCES: dict[str, SourceType] = {
    "coco": SourceType(coco.Options, coco.CocoSource),
}
