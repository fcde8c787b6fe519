"""The folder of pictures that an annotation file is about: whether it is there, and what else lies in it."""

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from preprocess.errors import ConnectionLostError, SourceError
from preprocess.sources.base import RawPath, printable
from preprocess.sources.leftovers import LeftOut, archive_stem, is_system_file, suffix_of
from preprocess.sources.listing import Entry, scan_folder

UNLISTED = "picture that the annotations do not list"

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def check_folder(root: RawPath, folder: str) -> None:
    """Look whether a folder of raw files is there.

    Of a remote root it is not asked: some servers can tell only of files.

    Raises:
        SourceError: it is not; named are archives beside it, which may hold it.
    """
    if not isinstance(root, Path) or (root / folder).is_dir():
        return
    archives = sorted(entry.name for entry in list_if_possible(root) if archive_stem(entry.name))
    packed = f"; {', '.join(archives[:8])} there: unpack what holds it" if archives else ""
    raise SourceError(f"there is no folder {root / folder}{packed}; check --root and the config's [source]")


def count_unlisted(root: RawPath, folder: str, listed: Iterable[str]) -> LeftOut:
    """Count the pictures that lie directly in a folder and that no name in `listed` means."""
    unread = LeftOut(lambda name: UNLISTED if suffix_of(name) in _IMAGE_SUFFIXES else "")
    known = {_last_part(name) for name in listed}
    for entry in list_if_possible(root / folder):
        if is_system_file(entry.name) or _last_part(entry.name) not in known:
            unread.look_at(entry.name, printable(f"{folder}/{entry.name}"))
    return unread


def count_system_files(root: RawPath, folder: str, unread: LeftOut) -> None:
    """Count the files of operating systems that lie directly in a folder."""
    for entry in list_if_possible(root / folder):
        if is_system_file(entry.name):
            unread.look_at(entry.name, printable(f"{folder}/{entry.name}"))


def list_if_possible(folder: RawPath) -> Iterator[Entry]:
    """Yield what lies in a folder; nothing where it can't be listed, as on some web servers."""
    try:
        yield from scan_folder(folder)
    except ConnectionLostError:
        raise
    except (OSError, SourceError):
        # Whoever reads a file of it says what is wrong.
        return


def _last_part(name: str) -> str:
    """Return a file's own name, in one form of those that mean the same."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)
