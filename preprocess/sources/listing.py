"""Lists the files of a folder tree, for datasets that have no index file of their own."""

import os
from collections.abc import Container
from pathlib import Path

from preprocess.errors import SourceError
from preprocess.records import Reject

MAX_DEPTH = 16
"""How many folders deep files are looked for."""


def list_tree(
    root: Path, suffixes: tuple[str, ...], prefix: str, left_out: Container[str] = ()
) -> tuple[dict[str, int], list[Reject]]:
    """Return the files below `root` that end in one of `suffixes`, and what could not be looked into.

    Links to folders are not followed: they may lead out of the root, or in circles.

    Args:
        root: where to look.
        suffixes: ends of file names.
        prefix: keys of rejects begin with it.
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
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as err:
            raise SourceError(f"can't list {root / folder}: {err.strerror}; check --root") from err
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path in left_out:
                continue
            if entry.is_dir() and entry.is_symlink():
                reason = "a link to a folder; links below the root are not followed"
                rejects.append(Reject(f"{prefix}/{path}", path, "index", reason))
            elif entry.is_dir() and depth == MAX_DEPTH:
                reason = f"folders are nested deeper than the limit of {MAX_DEPTH}"
                rejects.append(Reject(f"{prefix}/{path}", path, "index", reason))
            elif entry.is_dir():
                folders.append((path, depth + 1))
            elif entry.name.endswith(suffixes):
                # A broken link has no size; reading it says so.
                sizes[path] = entry.stat().st_size if entry.is_file() else 0
    return dict(sorted(sizes.items())), sorted(rejects, key=lambda reject: reject.path)
