"""Lists the files of a folder tree, for datasets that have no index file of their own."""

import os
from collections.abc import Container, Iterable, Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import TypeAlias

from ....loader.format.errors import ConnectionLostError, SourceError
from ...errors import RecordError
from ...remote.path import RemoteEntry, RemotePath
from ..records import Reject
from .leftovers import LeftOut
from .raw_files import FOLLOW_ADVICE, LinkedPath, RawPath, is_text, stop_where_limited

Entry: TypeAlias = os.DirEntry[str] | RemoteEntry

MAX_DEPTH = 16
"""How many folders deep files are looked for."""


def scan_folder(folder: RawPath, sized: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield what lies in a folder, in no order.

    Sizes of files whose names end in `sized` will be asked for: a web server's have to be fetched first.

    Raises:
        OSError: the folder can't be listed; with its text and the file's name.
        SourceError: it is remote, and that can't be told; or a limit of the system keeps this process from listing it.
    """
    if isinstance(folder, RemotePath):
        yield from folder.scan(sized)
        return
    try:
        entries = os.scandir(folder)
    except OSError as err:
        stop_where_limited(err, folder)
        raise
    with entries:
        yield from entries


def list_folder(folder: RawPath) -> list[Entry]:
    """Return what lies in a folder, by its names."""
    try:
        return sorted(scan_folder(folder), key=lambda entry: entry.name)
    except FileNotFoundError as err:
        raise RecordError("there is no such folder") from err
    except OSError as err:
        raise RecordError(f"can't list the folder: {err.strerror}") from err


def list_if_possible(folder: RawPath) -> Iterator[Entry]:
    """Yield what lies in a folder; nothing where it can't be listed, as on some web servers."""
    try:
        yield from scan_folder(folder)
    except ConnectionLostError:
        raise
    except (OSError, SourceError):
        # Whoever reads a file of it says what is wrong.
        return


def is_folder(entry: Entry) -> bool:
    """Whether this is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, say. If it is named like a file of the dataset, reading it will tell.
        return False


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


class Folders:
    """Folders below a root that are still to be looked into, "" being the root: each real one once, if links lead to it.

    What lies in the root itself comes before what links lead to, and of those the shallow ones before the deep.
    """

    def __init__(self, root: RawPath, unread: LeftOut, within: Iterable[str] = ("",)) -> None:
        self._root = root
        self._unread = unread
        self._plain = [(folder, 0) for folder in within]
        self._links: list[tuple[int, str]] = []
        self._seen: set[Path] = set()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each folder's path relative to the root, and how deep it lies; more may be added meanwhile."""
        while self._plain or self._links:
            if self._plain:
                path, depth = self._plain.pop()
            else:
                depth, path = heappop(self._links)
            if self._is_new(path):
                yield path, depth
            else:
                self._unread.add("link to a folder that is read under another name", path)

    def add(self, path: str, depth: int, is_link: bool) -> str:
        """Add a folder; return why it is not looked into, "" where it is."""
        if is_link and (reason := why_not_followed(self._root, path)):
            return reason
        if depth > MAX_DEPTH:
            return f"folders are nested deeper than the limit of {MAX_DEPTH}"
        if is_link:
            heappush(self._links, (depth, path))
        else:
            self._plain.append((path, depth))
        return ""

    def _is_new(self, path: str) -> bool:
        if not isinstance(self._root, LinkedPath):
            # No link is followed, so each folder has one name.
            return True
        real = Path(self._root / path).resolve()
        is_new = real not in self._seen
        self._seen.add(real)
        return is_new


def _size_of(entry: Entry) -> int:
    """Return a file's size, 0 of a link to nowhere or to itself: reading it says so."""
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:
        return 0


def list_tree(
    root: RawPath,
    suffixes: tuple[str, ...],
    prefix: str,
    unread: LeftOut,
    left_out: Container[str] = (),
    within: Iterable[str] = ("",),
) -> tuple[dict[str, int], list[Reject]]:
    """Return the files below `root` that end in one of `suffixes`, and what could not be looked into.

    Only folders `within` are looked into, each with all that is below it, but for those `left_out`.

    Returns:
        Size in bytes by path, in the order of the paths; and the rejects.
    """
    sizes: dict[str, int] = {}
    rejects: list[Reject] = []
    folders = Folders(root, unread, within)
    for folder, depth in folders:
        try:
            entries = sorted(scan_folder(root / folder, suffixes), key=lambda entry: entry.name)
        except OSError as err:
            raise SourceError(f"can't list {root / folder}: {err.strerror}; check --root") from err
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path in left_out:
                continue
            if unread.look_at_folder(entry.name, path):
                continue
            reason = ""
            if not is_folder(entry) and not entry.name.endswith(suffixes):
                unread.look_at(entry.name, path)
            elif not is_text(entry.name):
                reason = "the name is no UTF-8, so it can't stand in a store: rename it"
            elif is_folder(entry):
                reason = folders.add(path, depth + 1, entry.is_symlink())
            else:
                sizes[path] = _size_of(entry)
            if reason:
                rejects.append(Reject(f"{prefix}/{path}", path, "index", reason))
    return dict(sorted(sizes.items())), sorted(rejects, key=lambda reject: reject.path)
