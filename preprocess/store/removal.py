"""What --overwrite removes: the files of a store, by the names that the writer gives, and nothing else.

A folder is a store for what stands in it, not for a file's name alone. Where anything else lies in it, at any depth,
nothing is removed at all, and the message names it.
"""

import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ...loader.format.errors import StoreError
from ...loader.format.layout import JOB_FILE, PART_NAME, REJECTS_FILE, TABLES
from ...loader.format.metadata import MAX_ROOT_BYTES, own_attributes
from ...loader.format.regular_files import read_document
from ..sources.files.leftovers import is_system_file
from .attempts import ATTEMPTS_FOLDER, is_attempt
from .filesystem import is_partial, write_whole
from .lock import LOCK_FILE
from .root import INDEX_REJECTS_FILE

REMOVING_FILE = ".removing"
"""Stands in a folder as long as --overwrite removes what is there."""

NUM_NAMED = 5
"""How many foreign names a message has."""

_ROOT_FILES = ("zarr.json", JOB_FILE, INDEX_REJECTS_FILE, REJECTS_FILE, LOCK_FILE, REMOVING_FILE)


def is_working_file(name: str) -> bool:
    """Whether a run may have left a file or folder of this name before it wrote its plan."""
    return name in (LOCK_FILE, ATTEMPTS_FOLDER, INDEX_REJECTS_FILE) or is_partial(name)


def check_removable(out: Path) -> None:
    """Raise `StoreError` unless a folder is missing, empty, or a store, finished or not, with nothing else in it."""

    def read(name: str) -> bytes | None:
        try:
            return read_document(out / name, MAX_ROOT_BYTES)
        except OSError:
            return None

    if out.is_dir():
        check_content(str(out), [path.name for path in out.iterdir()], lambda: _walk(out, out), read)
    elif out.exists():
        raise StoreError(f"{out} is no folder, so --overwrite does not remove it: choose another --out")


def check_content(
    store: str,
    names: Collection[str],
    below: Callable[[], Iterable[str]],
    read: Callable[[str], bytes | None],
) -> None:
    """Raise `StoreError` unless what lies in a folder is nothing, or a store, finished or not, and nothing else.

    Args:
        store: what the user calls it.
        names: of what lies in it.
        below: returns the paths of all that lies below it; asked of a store only.
        read: returns the bytes of a file in it, None where there is none.
    """
    if not all(map(is_working_file, names)) and not _is_store(names, read):
        raise StoreError(f"{store} is no store, so --overwrite does not remove it: choose another --out")
    foreign = sorted(path for path in below() if not _is_ours(path))
    if foreign:
        more = f" and {len(foreign) - NUM_NAMED} more" if len(foreign) > NUM_NAMED else ""
        raise StoreError(
            f"{store} holds what is none of the store's, so --overwrite removes nothing: "
            f"{', '.join(map(repr, foreign[:NUM_NAMED]))}{more}. Move that elsewhere, or choose another --out"
        )


def remove_store(out: Path) -> None:
    """Remove what a store holds, finished or not; what an operating system put beside it stays.

    Raises:
        StoreError: something else lies there by now.
    """
    check_removable(out)
    kept = (LOCK_FILE, ATTEMPTS_FOLDER, REMOVING_FILE)
    content = [path for path in out.iterdir() if path.name not in kept and not is_passing(path.name)]
    write_whole(out / REMOVING_FILE, b"")
    # The root goes first: a half removed store can't be taken for a whole one.
    for path in sorted(content, key=lambda path: path.name != "zarr.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (out / REMOVING_FILE).unlink()


def _is_store(names: Collection[str], read: Callable[[str], bytes | None]) -> bool:
    """Whether a folder is a store, finished or not, or what is left of one; any other Zarr group is somebody else's."""
    # The index's rejects are there before a plan and go after it, and a removal leaves its mark until the end.
    if {INDEX_REJECTS_FILE, REMOVING_FILE} & set(names) or "format_version" in _attributes_in(
        read("zarr.json")
    ):
        return True
    parts = filter(PART_NAME.fullmatch, names)
    return any("files" in _attributes_in(read(f"{part}/zarr.json")) for part in parts)


def is_passing(name: str) -> bool:
    """Whether an operating system puts files of this name anywhere: macOS, Windows, NFS for what is removed while open."""
    return is_system_file(name) or name.startswith(".nfs")


def _is_ours(name: str) -> bool:
    """Whether a name below a store is one that its writer gives, or that an operating system puts there."""
    path = PurePosixPath(name)
    first, *rest = path.parts
    if is_passing(path.name):
        return True
    if not rest:
        known = first in _ROOT_FILES or first == ATTEMPTS_FOLDER or is_partial(first)
        return known or PART_NAME.fullmatch(first) is not None
    if first == ATTEMPTS_FOLDER:
        return is_attempt(rest[0])
    return PART_NAME.fullmatch(first) is not None and (
        _IN_A_PART.fullmatch("/".join(rest)) is not None or is_partial(path.name)
    )


_IN_A_PART = re.compile(
    rf"zarr\.json|{re.escape(REJECTS_FILE)}|(?:{'|'.join(TABLES)})(?:/zarr\.json|/[a-z][a-z0-9_]*(?:/zarr\.json|/c(?:/0){{0,4}})?)?"
)
"""A file or folder below a part: of a table, or of an array, whose names are up to recipes and columns."""


def _walk(folder: Path, out: Path) -> Iterator[str]:
    """Yield what lies below a folder, relative to `out`; a link to a folder is named so, and not followed."""
    for path in folder.iterdir():
        name = path.relative_to(out).as_posix()
        is_folder = path.is_dir()
        if is_folder and path.is_symlink():
            # What it leads to is not the store's, whatever the link is called.
            yield f"{name} -> {path.readlink()}"
            continue
        yield name
        # What a try has written so far may go away meanwhile.
        if is_folder and folder.name != ATTEMPTS_FOLDER and _is_ours(name):
            yield from _walk(path, out)


def _attributes_in(encoded: bytes | None) -> dict[str, object]:
    """Return this project's attributes in the bytes of a `zarr.json`, none where there are none."""
    try:
        return own_attributes(encoded or b"", "", "")
    except StoreError:
        return {}
