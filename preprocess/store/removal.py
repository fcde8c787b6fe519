"""What --overwrite removes: the files of a store, by the names that the writer gives, and nothing else.

A folder is a store for what stands in it, not for a file's name alone. Where anything else lies in it, at any depth,
nothing is removed at all, and the message names it.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from ...loader.format.errors import StoreError
from ...loader.format.layout import JOB_FILE, PART_NAME, REJECTS_FILE, TABLES, array_specs
from ...loader.format.metadata import MAX_ROOT_BYTES, own_attributes
from ...loader.format.recipe import DEFAULT_RECIPE
from ...loader.format.regular_files import read_document
from ...loader.format.shard import shard_path
from ..sources.files.leftovers import is_system_file
from .attempts import ATTEMPTS_FOLDER, is_attempt
from .filesystem import is_partial, write_whole
from .lock import LOCK_FILE
from .plan import read_plan
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
    if not out.exists():
        return
    if not out.is_dir():
        raise StoreError(f"{out} is no folder, so --overwrite does not remove it: choose another --out")
    if not all(is_working_file(path.name) for path in out.iterdir()) and not is_store(out):
        raise StoreError(f"{out} is no store, so --overwrite does not remove it: choose another --out")
    check_all_ours(str(out), _walk(out, out))


def check_all_ours(store: str, names: Iterable[str]) -> None:
    """Raise `StoreError` if there is a name below a store, which is called `store`, that its writer does not give."""
    foreign = sorted(name for name in names if not _is_ours(name))
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


def is_store(out: Path) -> bool:
    """Whether a folder is a store, finished or not, or what is left of one; any other Zarr group is somebody else's."""
    try:
        if read_plan(out) is not None:
            return True
    except StoreError:
        # A plan that is damaged has what it was made with beside it, or parts.
        if (out / INDEX_REJECTS_FILE).is_file():
            return True
    if (out / REMOVING_FILE).is_file() or "format_version" in _attributes_in(out):
        return True
    return any("files" in _attributes_in(part) for part in out.iterdir() if PART_NAME.fullmatch(part.name))


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
        "/".join(rest) in _names_in_part()
        or is_partial(path.name)
        or _OF_A_VIEW.fullmatch("/".join(rest)) is not None
    )


_OF_A_VIEW = re.compile(r"(?:images|masks)/[a-z][a-z0-9_]*(?:/zarr\.json|/c(?:/0){0,4})?")
"""A file or folder of an array, below its part: other recipes than the default one have views of other names."""


@cache
def _names_in_part() -> frozenset[str]:
    """Return the files of a part and the folders they are in, relative to it."""
    specs = array_specs(DEFAULT_RECIPE, 1)
    files = [f"{spec.path}/zarr.json" for spec in specs] + [shard_path(spec) for spec in specs]
    files += [f"{table}/zarr.json" for table in TABLES] + ["zarr.json", REJECTS_FILE]
    folders = {str(parent) for file in files for parent in PurePosixPath(file).parents}
    return frozenset(files) | folders


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


def _attributes_in(folder: Path) -> dict[str, object]:
    """Return this project's attributes in the metadata of a folder, none where there are none."""
    try:
        return attributes_in(read_document(folder / "zarr.json", MAX_ROOT_BYTES))
    except OSError:
        return {}


def attributes_in(encoded: bytes) -> dict[str, object]:
    """Return this project's attributes in the bytes of a `zarr.json`, none where there are none."""
    try:
        return own_attributes(encoded, "", "")
    except StoreError:
        return {}
