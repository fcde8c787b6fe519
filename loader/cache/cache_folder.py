"""The folder that the caches of all processes of a machine share: what is in it, how large that is, and what goes.

::

    <folder>/.lock                             held while room is made, and while parts appear
    <folder>/<digest of a store's origin and root>/
        part-00003/                            a part, whole and checked; its time of change is that of its last use
        .part-00003.<random>.partial/          a part on its way; its room is taken already
        .part-00003.<random>.gone/             a part on its way out
        .part-00003.lock                       held by who fetches, opens or removes the part

Before the origin belonged to it, that folder's name was the root's digest alone: what is there is not read, but counts and
goes as all else does, first as it is used no more.

Hidden folders of a part that nobody holds are what a killed process left, and are removed.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EEXIST, ENOTEMPTY
from pathlib import Path
from typing import Literal

from ..format.errors import StoreError
from ..format.layout import PART_NAME
from ..format.metadata import read_part_attributes
from .locks import locked

WAIT_SECONDS = 0.05
"""Between looks whether a part that was held may go now."""

_HIDDEN = re.compile(rf"\.({PART_NAME.pattern})\.[0-9a-f]+\.(partial|gone)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A part in the folder, or what is on its way to be one or was one."""

    path: Path
    part: Path
    """Where the part is when it is whole."""

    @property
    def is_whole(self) -> bool:
        return self.path == self.part


def part_lock(part: Path) -> Path:
    """Return the lock of a part."""
    return part.with_name(f".{part.name}.lock")


class CacheFolder:
    """Parts of stores, up to a number of bytes, those on their way included; the folder is made where it is missing."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        # A part's size never changes: its path has the digest of its store.
        self._sizes: dict[Path, int] = {}

    def reserve(self, part: Path, metadata: bytes, part_bytes: int) -> Path:
        """Make room for a part, removing those used least recently; return the hidden folder it goes into, with its `zarr.json`.

        The caller holds the part's lock. Waits while all that could go is held by others.

        Raises:
            OSError: the folder can't be written to.
            StoreError: it is larger than the limit, or what is there can't be removed.
        """
        if part_bytes > self.max_bytes:
            raise StoreError(
                f"{part.name} has {part_bytes:,} bytes, more than the {self.max_bytes:,} that the cache in {self.folder} "
                "may hold: give a larger max_bytes"
            )
        self._sizes[part] = part_bytes
        while True:
            with locked(self.folder / ".lock"):
                if self._make_room(part, part_bytes):
                    partial = _hidden(part, "partial")
                    partial.mkdir()
                    (partial / "zarr.json").write_bytes(metadata)
                    return partial
            time.sleep(WAIT_SECONDS)

    def publish(self, partial: Path, part: Path) -> None:
        """Make a part visible that is whole and checked."""
        with locked(self.folder / ".lock"):
            try:
                partial.rename(part)
            except OSError as err:
                # Where somebody removed the folder, and its locks with it, another process may have fetched the part as well.
                if err.errno not in (EEXIST, ENOTEMPTY):
                    raise

    def _make_room(self, wanted: Path, part_bytes: int) -> bool:
        """Remove parts until one more fits; return whether it does.

        Raises:
            StoreError: nothing that is left can ever be removed.
        """
        # What is there of the wanted part itself was left by a killed process: the caller holds its lock.
        is_waiting = False
        for entry in self._entries():
            if entry.part == wanted:
                shutil.rmtree(entry.path, ignore_errors=True)
            elif not entry.is_whole:
                is_waiting |= _remove(entry) == "held"
        sizes = {entry: self._size(entry) for entry in self._entries()}
        total = part_bytes + sum(sizes.values())
        for entry in sorted(filter(lambda entry: entry.is_whole, sizes), key=_last_use):
            if total <= self.max_bytes:
                return True
            outcome = _remove(entry)
            total -= sizes[entry] if outcome == "removed" else 0
            is_waiting |= outcome == "held"
        if total > self.max_bytes and not is_waiting:
            raise StoreError(
                f"the cache in {self.folder} has no room for {part_bytes:,} bytes within {self.max_bytes:,}: what is there "
                "belongs to another user; give a larger max_bytes or another folder"
            )
        return total <= self.max_bytes

    def _entries(self) -> Iterator[_Entry]:
        for store in self.folder.iterdir():
            if store.is_symlink():
                # Somebody else's: what it leads to, perhaps a store, is not the cache's to remove.
                continue
            try:
                names = [path.name for path in store.iterdir()]
            except OSError:
                # The lock, or another user's.
                continue
            for name in names:
                hidden = _HIDDEN.fullmatch(name)
                if (hidden or PART_NAME.fullmatch(name)) and not (store / name).is_symlink():
                    yield _Entry(store / name, store / (hidden[1] if hidden else name))

    def _size(self, entry: _Entry) -> int:
        size = self._sizes.get(entry.part)
        if size is None:
            try:
                attributes, _ = read_part_attributes(entry.path)
                listed = sum(file["bytes"] for file in attributes["files"].values())
                size = listed + (entry.path / "zarr.json").stat().st_size
            except (OSError, StoreError):
                # Damaged on the disk, or on its way out: it takes what it takes.
                return _bytes_below(entry.path)
            self._sizes[entry.part] = size
        return size


def _remove(entry: _Entry) -> Literal["removed", "held", "not ours"]:
    """Remove a part, or what is left of one, unless another process is at it."""
    try:
        with locked(part_lock(entry.part), wait=False) as is_free:
            if not is_free:
                return "held"
            gone = _hidden(entry.part, "gone")
            # By one rename, so that it is never there in part.
            entry.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    except FileNotFoundError:
        return "removed"
    except OSError:
        return "not ours"
    return "removed"


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                total += Path(parent, file).lstat().st_size
    return total


def _hidden(part: Path, state: str) -> Path:
    return part.with_name(f".{part.name}.{secrets.token_hex(4)}.{state}")


def _last_use(entry: _Entry) -> int:
    try:
        return entry.path.stat().st_mtime_ns
    except OSError:
        return 0


def mark_used(part: Path) -> None:
    """Note that a part is used now. Whoever may not write there notes nothing: it may not remove anything either."""
    now = time.time_ns()
    try:
        os.utime(part, ns=(now, now))
    except OSError:
        return
