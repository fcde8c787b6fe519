"""The folder of pictures that an annotation file is about: whether it is there, and what else lies in it."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ....loader.format.errors import SourceError
from .folder_tree import list_if_possible
from .leftovers import LeftOut, archive_stem, is_system_file, kind_anywhere
from .raw_files import CHECK_SOURCE, RawPath, is_folder_there

UNLISTED = "picture that the annotations do not list"

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Of pictures that are decoded."""


def check_folder(root: RawPath, folder: str) -> None:
    """Raise `SourceError` where a folder of raw files is not there, or is empty and archives lie beside it, which may hold it.

    Of a remote root it is not asked: some servers can tell only of files.
    """
    path = root / folder
    if not isinstance(path, Path) or (is_folder_there(path) and next(list_if_possible(path), None)):
        return
    beside = dict.fromkeys((root, path.parent))
    archives = sorted(
        entry.name for place in beside for entry in list_if_possible(place) if archive_stem(entry.name)
    )
    if is_folder_there(path) and not archives:
        # Each of its files will be a reject, or is one that may be absent.
        return
    found = f"the folder {path} is empty" if is_folder_there(path) else f"there is no folder {path}"
    packed = f"; {', '.join(archives[:8])} there: unpack what holds it" if archives else ""
    raise SourceError(f"{found}{packed}{CHECK_SOURCE}")


def count_unlisted(root: RawPath, folder: str, listed: Iterable[str]) -> LeftOut:
    """Count the pictures that lie directly in a folder and that no name in `listed` means."""
    unread = LeftOut(dict.fromkeys(IMAGE_SUFFIXES, UNLISTED))
    known = {_last_part(name) for name in listed}
    for entry in list_if_possible(root / folder):
        if is_system_file(entry.name) or _last_part(entry.name) not in known:
            unread.look_at(entry.name, f"{folder}/{entry.name}")
    return unread


def count_foreign(root: RawPath, folder: str, unread: LeftOut) -> None:
    """Count what lies directly in a folder and belongs to no dataset: archives, say, and unfinished downloads."""
    for entry in list_if_possible(root / folder):
        if kind := kind_anywhere(entry.name):
            unread.add(kind, f"{folder}/{entry.name}")


def _last_part(name: str) -> str:
    """Return a file's own name, in one form of those that mean the same."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)
