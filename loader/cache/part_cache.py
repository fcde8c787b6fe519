"""A local cache of a store that is published at a URL: whole parts, checked on arrival, up to a number of bytes.

Any number of processes share a cache folder. A part is fetched by one of them while the others wait for it; it becomes
visible by one rename, when each of its files has been found to be the one that was published.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from errno import ENOENT
from functools import partial as bind
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

from ..format.errors import FormatVersionError, StoreError
from ..format.layout import JOB_FILE, ArraySpec, Table
from ..format.metadata import Content, parse_attributes, parse_part_attributes
from ..format.shard import CHECKSUM_BYTES, INDEX_ENTRY_BYTES, shard_path
from ..format.user_cache import absolute, user_cache
from ..remote.origin import normalized
from ..remote.side_by_side import run_side_by_side
from .arrival import check_content, check_digest, check_file
from .cache_folder import CacheFolder, mark_used, part_lock
from .fetch import PART_BOUND, Bound, DamagedArrivalError, RemoteFiles
from .locks import locked

DEFAULT_MAX_BYTES = 100_000_000_000

FILES_AT_ONCE = 8
"""Files of one part that are fetched at the same time."""

MAX_COLUMN_BYTES = 1 << 29
"""Of a column of a part that is not in the cache: it is read into memory. Of 10,000 images with 100 masks each, their
prompt masks have half of that."""

MAX_REMOVED = 3
"""How often the folder may be removed in the middle of fetching a part."""

MARK_SECONDS = 10.0
"""How often the use of a part that stays open is noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Where parts of a store at a URL are kept, and how many."""

    folder: str | Path | None = None
    """On a local disk; shared by any number of stores and processes. None is `$XDG_CACHE_HOME/resizeonce`, or
    `~/.cache/resizeonce` without that variable."""
    max_bytes: float = DEFAULT_MAX_BYTES
    """Of all parts in the folder together; at least one part of the store."""
    origin: str | None = None
    """Whose parts these are: a URL, or any name. Parts are shared by the stores of one origin only, by default the URL that
    is opened, without user, query and fragment. Give mirrors that are trusted as much as each other the same one."""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What fsspec needs to open the URL, such as {"anon": True} for a public bucket."""

    def __post_init__(self) -> None:
        if not 0 < self.max_bytes < float("inf"):
            raise ValueError(f"max_bytes is a number of bytes above 0, not {self.max_bytes}")
        if self.origin is not None and not self.origin:
            raise ValueError(
                "origin is a URL or a name, not empty: leave it out to take the URL that is opened"
            )

    def path(self) -> Path:
        """Return the folder as an absolute path.

        Raises:
            StoreError: none is given, and this user has no home directory; or it begins in a current folder that was removed.
        """
        try:
            return absolute(Path(self.folder or user_cache()).expanduser())
        except RuntimeError as err:
            raise StoreError(
                "this user has no home directory for the cache of a store at a URL: give CacheOptions(folder=...), or "
                "set XDG_CACHE_HOME"
            ) from err


class _RemovedError(StoreError):
    """Raised where somebody removes the cache's folder, or what is in it, without a look at its locks."""


def read_remote_attributes(remote: RemoteFiles) -> dict[str, Any]:
    """Return the root attributes of a complete store at a URL.

    Raises:
        StoreError: there is no complete store, or it can't be read.
        FormatVersionError: it is of another format version.
    """
    found: list[dict[str, Any]] = []

    def check(encoded: bytes) -> None:
        try:
            found.append(parse_attributes(encoded, remote.name, Content))
        except FormatVersionError:
            raise
        except StoreError as err:
            raise DamagedArrivalError(str(err)) from err

    try:
        remote.read("zarr.json", check)
    except FileNotFoundError as err:
        raise StoreError(_nothing_there(remote)) from err
    return found[0]


def _nothing_there(remote: RemoteFiles) -> str:
    try:
        remote.read(JOB_FILE)
    except (FileNotFoundError, StoreError):
        return f"{remote.name} is no store: {remote.name}/zarr.json is missing"
    return (
        f"{remote.name} is not finished: finish it with the same `resizeonce convert`, then publish it again"
    )


class PartCache:
    """The parts of one store at a URL, fetched when they are first needed; `specs` are its arrays by path.

    Raises:
        StoreError: a part is larger than the cache may be.
    """

    def __init__(
        self,
        remote: RemoteFiles,
        attributes: Mapping[str, Any],
        specs: Mapping[str, ArraySpec],
        options: CacheOptions,
    ) -> None:
        self._remote = remote
        self._specs = {shard_path(spec): spec for spec in specs.values()}
        self._room = CacheFolder(options.path(), int(options.max_bytes))
        # Another store published at the same URL has another digest, so their parts never meet. Nor do those of the same
        # digest elsewhere: a stranger can make other pixels to it (docs/format.md).
        origin = remote.origin if options.origin is None else normalized(options.origin)
        key = sha256(f"{origin}\n{attributes['sha256']}".encode(errors="surrogateescape")).hexdigest()
        self.folder: Path = self._room.folder / key
        """Where the parts of this store are."""
        self.max_bytes = self._room.max_bytes
        self.sizes: dict[str, int] = {part["name"]: part["bytes"] for part in attributes["parts"]}
        """Bytes of each part, by its name; its own metadata comes on top."""
        self.largest = max(self.sizes.values(), default=1)
        """Bytes of the largest part."""
        self._inodes: dict[str, int] = {}
        self._marks: dict[str, float] = {}
        for name, size in self.sizes.items():
            if size > self.max_bytes:
                raise StoreError(
                    f"{remote.name}/{name} has {size:,} bytes, more than the {self.max_bytes:,} that the cache in "
                    f"{self._room.folder} may hold: give cache=CacheOptions(max_bytes=...) of at least one part"
                )

    @contextmanager
    def hold(self, name: str, digest: str) -> Iterator[Path]:
        """Give the folder of a part, fetched where it is missing; nobody removes it before the block ends.

        Maps of its files stay valid after that.

        Raises:
            StoreError: it can't be fetched, is not the part that the root lists, or can't be written to the cache.
        """
        part = self.folder / name
        with ExitStack() as stack:
            for times_left in reversed(range(MAX_REMOVED)):
                try:
                    stack.enter_context(self._holding(part, digest))
                    break
                except _RemovedError:
                    if not times_left:
                        raise
            yield part

    @contextmanager
    def _holding(self, part: Path, digest: str) -> Iterator[None]:
        """Do what `hold` does, once.

        Raises:
            _RemovedError: somebody removed what was there meanwhile.
        """
        with self._locked(part):
            if not part.is_dir():
                self._fetch(part, digest)
            mark_used(part)
            self._marks[part.name] = time.monotonic()
            try:
                self._inodes[part.name] = part.stat().st_ino
            except FileNotFoundError as err:
                raise self._unwritable(part, err) from err
            yield

    def has(self, name: str) -> bool:
        """Whether a part is in the cache now."""
        return (self.folder / name).is_dir()

    def is_current(self, name: str) -> bool:
        """Whether the part that was held last under this name is still in the cache."""
        try:
            return (self.folder / name).stat().st_ino == self._inodes.get(name)
        except OSError:
            return False

    def mark(self, name: str) -> None:
        """Note, now and then, that a part is still in use."""
        now = time.monotonic()
        if now - self._marks.get(name, 0) > MARK_SECONDS:
            self._marks[name] = now
            mark_used(self.folder / name)

    def read_metadata(self, name: str, digest: str) -> bytes:
        """Return the `zarr.json` of a part that need not be in the cache.

        Raises:
            StoreError: it can't be read, or is not the one that the root lists.
        """

        def check(content: bytes) -> None:
            check_digest(sha256(content).hexdigest(), digest)

        with self._expecting(f"{name}/zarr.json") as path:
            return self._remote.read(path, check, bound=PART_BOUND)

    def read_file(self, name: str, file: str, listed: Mapping[str, Any], rows: Mapping[Table, int]) -> bytes:
        """Return one file of a part that need not be in the cache, checked against its size and digest as they are listed.

        Raises:
            StoreError: it can't be read, or is not the one that the part lists.
        """
        size = listed["bytes"]
        chunks = self._num_chunks(file, rows, size)
        if size > MAX_COLUMN_BYTES:
            raise StoreError(
                f"{self._remote.name}/{name}/zarr.json lists {file} with {size:,} bytes, more than the {MAX_COLUMN_BYTES:,} "
                "of a column that is read into memory: copy the store to a disk, or use it without a subset"
            )
        with self._expecting(f"{name}/{file}") as path:
            return self._remote.read(
                path, lambda content: check_content(content, listed, chunks), bound=Bound(size)
            )

    @contextmanager
    def _locked(self, part: Path) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(part_lock(part)))
            except OSError as err:
                # From a folder that can't be written nothing is removed: what is there can be used without a lock.
                if not part.is_dir():
                    raise self._unwritable(part, err) from err
            yield

    def _fetch(self, part: Path, digest: str) -> None:
        metadata = self.read_metadata(part.name, digest)
        attributes = parse_part_attributes(metadata, f"{self._remote.name}/{part.name}")
        files: dict[str, dict[str, Any]] = attributes["files"]
        try:
            partial = self._room.reserve(
                part, metadata, len(metadata) + sum(file["bytes"] for file in files.values())
            )
            try:
                run_side_by_side(
                    [bind(self._fetch_file, partial, part.name, file, attributes) for file in files],
                    FILES_AT_ONCE,
                )
                for file in ("zarr.json", *files):
                    # Some of fsspec's file systems make anew the folder that somebody has removed.
                    (partial / file).stat()
                self._room.publish(partial, part)
            finally:
                rmtree(partial, ignore_errors=True)
        except OSError as err:
            raise self._unwritable(part, err) from err

    def _fetch_file(self, partial: Path, name: str, file: str, attributes: Mapping[str, Any]) -> None:
        for parent in reversed(Path(file).parents[:-1]):
            # Not the folder itself: where that was removed, what has arrived is gone with it.
            try:
                (partial / parent).mkdir(exist_ok=True)
            except FileExistsError as err:
                # It was there, and a moment later it was not.
                raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(partial / parent)) from err
        listed = attributes["files"][file]
        chunks = self._num_chunks(file, attributes["rows"], listed["bytes"])
        with self._expecting(f"{name}/{file}") as path:
            self._remote.fetch(
                path,
                partial / file,
                lambda arrived: check_file(arrived, listed, chunks),
                bound=Bound(listed["bytes"]),
            )

    def _num_chunks(self, file: str, rows: Mapping[Table, int], num_bytes: int) -> int | None:
        """Return the number of chunks in a file, None where it is no shard file."""
        spec = self._specs.get(file)
        if spec is None:
            return None
        if spec.piece_rows:
            # All are of one size, and each has an entry in the index.
            of_each = spec.piece_rows * spec.row_bytes + CHECKSUM_BYTES + INDEX_ENTRY_BYTES
            return (num_bytes - CHECKSUM_BYTES) // of_each
        return rows[spec.table] if spec.row_chunks else 1

    @contextmanager
    def _expecting(self, file: str) -> Iterator[str]:
        """Give the path of a file of the store, which must be there."""
        try:
            yield file
        except FileNotFoundError as err:
            if str(err.filename).startswith(str(self.folder)):
                # Where it was to be kept, and not where it comes from.
                raise
            raise StoreError(
                f"{self._remote.name}/{file} is missing: the store there was removed, changed since it was opened, or not "
                "published whole"
            ) from err

    def _unwritable(self, part: Path, err: OSError) -> StoreError:
        if isinstance(err, FileNotFoundError):
            return _RemovedError(
                f"{self._remote.name}/{part.name} can't be kept in {self.folder}: {err}; something removes what is there: end "
                "that, or give another folder: cache=CacheOptions(folder=...)"
            )
        return StoreError(
            f"{self._remote.name}/{part.name} can't be kept in {self.folder}: {err}; make room there, give a smaller "
            "max_bytes, or another folder: cache=CacheOptions(folder=...)"
        )
