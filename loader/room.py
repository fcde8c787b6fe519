"""The folder that the caches of all processes of a machine share: what is in it, how large that is, and what goes.

::

    <folder>/.lock                             held while room is made, and while parts appear
    <folder>/<digest of a store's root>/
        part-00003/                            a part, whole and checked; its time of change is that of its last use
        .part-00003.<random>.partial/          a part on its way; its room is taken already
        .part-00003.<random>.gone/             a part on its way out
        .part-00003.lock                       held by who fetches, opens or removes the part

Hidden folders of a part that nobody holds are what a killed process left, and are removed.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loader.locks import locked, locked_if_free
from preprocess.errors import StoreError
from preprocess.layout import read_part_attributes

WAIT_SECONDS = 0.05
"""Between looks whether a part that was held may go now."""

PART = re.compile(r"part-\d{5,}")
_HIDDEN = re.compile(r"\.(part-\d{5,})\.[0-9a-f]+\.(partial|gone)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A part in the folder, or what is on its way to be one or was one."""

    path: Path
    part: Path
    """Where the part is when it is whole."""


def part_lock(part: Path) -> Path:
    """Return the lock of a part."""
    return part.with_name(f".{part.name}.lock")


class CacheFolder:
    """Parts of stores, up to a number of bytes.

    Args:
        folder: made where it is missing.
        max_bytes: of all parts together, those on their way included.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        # A part's size never changes: its path has the digest of its store.
        self._sizes: dict[Path, int] = {}

    def reserve(self, part: Path, metadata: bytes, part_bytes: int) -> Path:
        """Make room for a part, removing those used least recently; return the hidden folder it goes into.

        The caller holds the part's lock. Waits while all that could go is held by others.

        Args:
            part: where it will be.
            metadata: its `zarr.json`, which says how large it is.
            part_bytes: size of the whole part.

        Raises:
            StoreError: it is larger than the limit.
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
            partial.rename(part)

    def _make_room(self, wanted: Path, part_bytes: int) -> bool:
        """Remove parts until one more fits; return whether it does."""
        whole, total = [], part_bytes
        for entry in list(self._entries()):
            is_whole = entry.path == entry.part
            if not is_whole and (entry.part == wanted or _remove_if_free(entry)):
                # The caller has the lock, so what is there of this very part was left by a killed process.
                shutil.rmtree(entry.path, ignore_errors=True)
                continue
            total += self._size(entry)
            if is_whole:
                whole.append(entry)
        for entry in sorted(whole, key=_last_use):
            if total <= self.max_bytes:
                break
            if _remove_if_free(entry):
                total -= self._size(entry)
        return total <= self.max_bytes

    def _entries(self) -> Iterator[_Entry]:
        for store in self.folder.iterdir():
            if not store.is_dir():
                continue
            for path in store.iterdir():
                hidden = _HIDDEN.fullmatch(path.name)
                if hidden:
                    yield _Entry(path, store / hidden[1])
                elif PART.fullmatch(path.name):
                    yield _Entry(path, path)

    def _size(self, entry: _Entry) -> int:
        size = self._sizes.get(entry.part)
        if size is None:
            try:
                attributes, _ = read_part_attributes(entry.path)
                size = int(attributes["bytes"]) + (entry.path / "zarr.json").stat().st_size
            except (OSError, StoreError, KeyError, TypeError, ValueError):
                # Not ours, or damaged on the disk: it takes room nevertheless.
                return sum(file.lstat().st_size for file in entry.path.rglob("*") if file.is_file())
            self._sizes[entry.part] = size
        return size


def _remove_if_free(entry: _Entry) -> bool:
    """Remove a part, or what is left of one, unless another process is at it; return whether it is gone."""
    with locked_if_free(part_lock(entry.part)) as is_held:
        if is_held:
            gone = _hidden(entry.part, "gone")
            # By one rename, so that it is never there in part.
            entry.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return is_held


def _hidden(part: Path, state: str) -> Path:
    return part.with_name(f".{part.name}.{secrets.token_hex(4)}.{state}")


def _last_use(entry: _Entry) -> int:
    return entry.path.stat().st_mtime_ns


def mark_used(part: Path) -> None:
    """Note that a part is used now. Whoever may not write there notes nothing: it may not remove anything either."""
    now = time.time_ns()
    try:
        os.utime(part, ns=(now, now))
    except OSError:
        return
