"""Where a store goes: into the folder it is written in, or, by way of that, to a URL."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..remote.path import local_path
from .forecast import format_bytes

PublishPart = Callable[[int], None]


class Destination:
    """A store's folder, in which it is written and stays; what a run calls has nothing to do here.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where the store is written."""
        self.store: Path | str = folder
        """What the user calls the store: its folder or its URL."""

    def naming(self) -> AbstractContextManager[None]:
        """Return a context in which errors name the store as the user does."""
        return nullcontext()

    def pull(self, *, append: bool = False, overwrite: bool = False) -> None:
        """Bring into the folder what the store has already, as far as a run needs it.

        Args:
            append: whether scenes are to be appended, for which those of all parts must be known.
            overwrite: whether the store is to be removed, for which its parts don't matter.
        """

    def pull_parts(self, names: Iterable[str]) -> None:
        """Look which of these parts the store has by now."""

    def start(self, *, overwrite: bool) -> None:
        """Make the store an unfinished one of the plan in the folder; with `overwrite` it is removed first."""

    def publishing(self) -> AbstractContextManager[PublishPart]:
        """Return a context that gives what to call with the number of each part that is there to stay."""
        return nullcontext(_stay)

    def finish(self) -> None:
        """Make the store the finished one in the folder."""

    def shortage(self, store_bytes: int, num_parts: int, workers: int, present: int) -> str | None:
        """Return what to say of a disk that is too small, None where it is not.

        Args:
            store_bytes: what the store will take.
            num_parts: how many parts it will have.
            workers: how many parts are written at a time.
            present: bytes that are removed before.
        """
        free = shutil.disk_usage(self.folder).free
        if store_bytes <= free + present:
            return None
        return (
            f"the store will take about {format_bytes(store_bytes)}, and the disk of {self.folder} has "
            f"{format_bytes(free)} free: choose another --out, a --limit, or go on with --force"
        )


def open_destination(out: Path | str, scratch: Path | str | None = None) -> Destination:
    """Return where a store goes.

    Args:
        out: its folder or its URL.
        scratch: in which folder the parts of a store with a URL are written before they are published; by default in
            the user's folder for caches.

    Raises:
        StoreError: the URL can't be written to.
    """
    path = local_path(out)
    if path is not None:
        return Destination(path)
    from .publish import Publication

    return Publication(str(out), staging_folder(str(out), scratch))


def staging_folder(url: str, scratch: Path | str | None) -> Path:
    """Return the folder in which the same command finds again what was staged for a URL."""
    parent = Path(scratch) if scratch is not None else _cache_folder() / "resizeonce" / "staging"
    address = url.rstrip("/")
    return parent / f"{address.rpartition('/')[2]}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def _cache_folder() -> Path:
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        # A user without a home, as in some containers.
        return Path(tempfile.gettempdir())


def _stay(part: int) -> None:
    """Leave a part where it is."""
