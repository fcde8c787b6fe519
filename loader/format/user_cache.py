"""Paths of a user's own: where this project keeps what it can make again, and what "~" stands for."""

import os
from contextlib import suppress
from pathlib import Path

from .errors import StoreError


def user_cache() -> Path:
    """Return `$XDG_CACHE_HOME/resizeonce`, or `~/.cache/resizeonce`.

    Raises:
        RuntimeError: there is neither, as in some containers.
    """
    return (Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resizeonce").expanduser()


def absolute(path: str | Path) -> Path:
    """Return a path from the root, with a user's home for a "~" at its beginning; of no user's, as "~x", a name like any other.

    Raises:
        StoreError: it begins in the current folder, and that was removed.
    """
    path = Path(path)
    with suppress(RuntimeError):
        path = path.expanduser()
    try:
        return path.absolute()
    except FileNotFoundError as err:
        raise StoreError(
            f"{path} leads nowhere: the current folder was removed; change to another one, or give the whole path"
        ) from err
