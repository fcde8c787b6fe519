"""The registry: which datasets there are. A new one is one file, one line here, a config, a test file, a README row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import coco, folders, mevis, npz, openimages, refcoco, sa1b, sav, vos
from .base import Source, SourceOptions
from .files.raw_files import LinkedPath, RawPath


class SourceType(NamedTuple):
    """A dataset reader and its options."""

    options: type[SourceOptions]
    open: Callable[[RawPath, Any], Source]
    """Takes the root, as `preprocess.remote.path.open_root` gives it, and an instance of `options`."""


SOURCES: dict[str, SourceType] = {
    "npz": SourceType(npz.Options, npz.NpzSource),
    "sav": SourceType(sav.Options, sav.SavSource),
    "sa1b": SourceType(sa1b.Options, sa1b.Sa1bSource),
    "openimages": SourceType(openimages.Options, openimages.OpenImagesSource),
    "refcoco": SourceType(refcoco.Options, refcoco.RefcocoSource),
    "coco": SourceType(coco.Options, coco.CocoSource),
    "folders": SourceType(folders.Options, folders.FoldersSource),
    "vos": SourceType(vos.Options, vos.VosSource),
    "mevis": SourceType(mevis.Options, mevis.MevisSource),
}


def open_dataset(name: str, root: RawPath, options: SourceOptions) -> Source:
    """Open a raw dataset by the name of its reader; where links are followed, each path below the root says so.

    Raises:
        SourceError: it can't be opened.
    """
    if options.follow_links and isinstance(root, Path):
        root = LinkedPath(root)
    return SOURCES[name].open(root, options)
