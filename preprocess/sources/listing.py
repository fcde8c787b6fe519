"""Lists the files of a folder tree, for datasets that have no index file of their own."""

import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TypeAlias

from preprocess.errors import SourceError
from preprocess.records import Reject
from preprocess.remote.path import RemoteEntry, RemotePath
from preprocess.sources.base import FOLLOW_ADVICE, LinkedPath, RawPath, is_text, printable
from preprocess.sources.leftovers import LeftOut, is_system_file

Entry: TypeAlias = os.DirEntry[str] | RemoteEntry

MAX_DEPTH = 16
"""How many folders deep files are looked for."""


def scan_folder(folder: RawPath, sized: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield what lies in a folder, in no order.

    Args:
        folder: where to look.
        sized: ends of the names of files whose sizes will be asked for; a web server's have to be fetched first.

    Raises:
        OSError: the folder can't be listed; with its text and the file's name.
        SourceError: it is remote, and that can't be told.
    """
    if isinstance(folder, RemotePath):
        yield from folder.scan(sized)
        return
    with os.scandir(folder) as entries:
        yield from entries


def why_not_followed(root: RawPath, path: str) -> str:
    """Return why the link to a folder at `path` below the root is not followed, "" where it is.

    Unless the user says so, none is: it may lead out of the root. None is followed back to where it came from.
    """
    if not isinstance(root, LinkedPath):
        return f"a link to a folder, which is not followed: {FOLLOW_ADVICE}"
    target = Path(root / path).resolve()
    above = [root, *(root / parent for parent in Path(path).parents)]
    if any(Path(folder).resolve().is_relative_to(target) for folder in above):
        return f"a link in a circle, to {target}, which holds the link itself: remove it"
    return ""


def list_tree(
    root: RawPath,
    suffixes: tuple[str, ...],
    prefix: str,
    unread: LeftOut,
    left_out: Container[str] = (),
) -> tuple[dict[str, int], list[Reject]]:
    """Return the files below `root` that end in one of `suffixes`, and what could not be looked into.

    Args:
        root: where to look.
        suffixes: ends of file names.
        prefix: keys of rejects begin with it.
        unread: counts what else lies there.
        left_out: folders not to look into, relative to the root.

    Returns:
        Size in bytes by path relative to the root, in the order of the paths; and the rejects.

    Raises:
        SourceError: a folder can't be listed.
    """
    sizes: dict[str, int] = {}
    rejects: list[Reject] = []
    folders = [("", 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            entries = sorted(scan_folder(root / folder, suffixes), key=lambda entry: entry.name)
        except OSError as err:
            raise SourceError(f"can't list {root / folder}: {err.strerror}; check --root") from err
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path in left_out:
                continue
            if is_system_file(entry.name):
                unread.look_at(entry.name, printable(path))
                continue
            try:
                is_folder = entry.is_dir()
                # A broken link has no size; reading it says so.
                size = entry.stat().st_size if entry.is_file() else 0
            except OSError:
                # A link to itself, say: the same.
                is_folder, size = False, 0
            reason = ""
            if not is_folder and not entry.name.endswith(suffixes):
                unread.look_at(entry.name, printable(path))
                continue
            if not is_text(entry.name):
                reason = "the name is no UTF-8, so it can't stand in a store: rename it"
            elif is_folder and entry.is_symlink() and (not_followed := why_not_followed(root, path)):
                reason = not_followed
            elif is_folder and depth == MAX_DEPTH:
                reason = f"folders are nested deeper than the limit of {MAX_DEPTH}"
            elif is_folder:
                folders.append((path, depth + 1))
            else:
                sizes[path] = size
            if reason:
                rejects.append(Reject(printable(f"{prefix}/{path}"), printable(path), "index", reason))
    return dict(sorted(sizes.items())), sorted(rejects, key=lambda reject: reject.path)
