"""A store at a URL: written part by part in a staging folder, each part uploaded whole as soon as it is there.

The staging folder is an unfinished store like any other, so plans, locks and attempts are those of the local one. Of a
part that was uploaded it keeps the metadata and the rejects: what resuming and finishing read. The remote store is the
truth: each run first brings the staging folder to its state, so that any machine can go on with it.

A remote part is there once its `zarr.json` is, which is uploaded last of its files; so is the root's.
"""

import hashlib
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ...loader.format.errors import StoreError
from ...loader.format.layout import JOB_FILE, PART_NAME, REJECTS_FILE, part_name
from ...loader.format.metadata import (
    MAX_METADATA_BYTES,
    MAX_REJECTS_BYTES,
    MAX_ROOT_BYTES,
    decode_metadata,
    parse_part_attributes,
    read_part_attributes,
)
from ...loader.format.user_cache import user_cache
from ...loader.remote.side_by_side import side_by_side
from ..remote.folder import RemoteFolder
from ..remote.path import local_path
from ..sources.base import Source
from ..store.filesystem import write_whole, writing
from ..store.part_writer import PartSummary
from ..store.plan import Plan
from ..store.removal import REMOVING_FILE, check_content, is_passing
from ..store.root import INDEX_REJECTS_FILE, digest_of
from .destination import Destination
from .options import RunOptions
from .part_task import Tasks
from .schedule import PublishPart, convert_parts

NUM_UPLOADS = 2
"""How many parts are uploaded at a time; the files of each go side by side."""

ROOT_FILES = (INDEX_REJECTS_FILE, REJECTS_FILE, JOB_FILE, "zarr.json")
"""In the order in which they are published; removed in the opposite one."""

_OURS = {JOB_FILE, INDEX_REJECTS_FILE, REMOVING_FILE, "zarr.json"}
"""One of these stands in whatever is a store, or is to become one."""

_SCENES = ("scenes/key_offsets/c/0", "scenes/key_bytes/c/0")
"""The files of a part that say which scenes it holds."""


class Publication(Destination):
    """A store at a URL, and the folder in which it is staged.

    Any of the methods raises `StoreError` where the connection is lost, access is denied, or the staging folder's disk
    refuses.
    """

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(folder)
        self._remote = RemoteFolder(url)
        self.store = self._remote.name
        self._root: dict[str, str] = {}
        """Digests of the root's files, as they are published."""
        self._stopped = threading.Event()

    def plan(self, job: dict[str, Any], source: Source, run: RunOptions) -> tuple[Plan | None, Source]:
        """Find out what a command has to write, with the staging folder brought to the state of the remote store.

        Raises:
            StoreError: there is something else at the URL.
        """
        names = self._pull_root()
        if run.overwrite:
            self._check_removable(names)
        else:
            self._pull_all(names, append=run.append)
        with self._naming():
            return super().plan(job, source, run)

    def start(self, plan: Plan, scenes: Source, *, overwrite: bool) -> None:
        """Start the store in the staging folder and publish its plan; with `overwrite`, the remote one is removed first."""
        super().start(plan, scenes, overwrite=overwrite)
        if overwrite:
            self._remove_store()
        self._push_root()

    def write_parts(
        self, tasks: Tasks, parts: range, run: RunOptions, executor: Executor
    ) -> list[PartSummary]:
        """Write those of `parts` that are not there yet, each uploaded as soon as it is there."""
        with self._publishing() as publish:
            return convert_parts(tasks, parts, run, executor, publish)

    def missing_parts(self, plan: Plan) -> list[int]:
        """Return which parts of a plan neither the staging folder nor the remote store has by now."""
        self._pull_parts(map(part_name, super().missing_parts(plan)), append=False)
        return super().missing_parts(plan)

    def written_parts(self) -> tuple[Plan | None, list[PartSummary]]:
        """Return the plan of the unfinished remote store, None where it is finished, and what each of its parts holds."""
        self._pull_all(self._pull_root(), append=False)
        with self._naming():
            return super().written_parts()

    def finish(self, plan: Plan, summaries: Sequence[PartSummary]) -> dict[str, Any]:
        """Make a store of the parts and publish its root; of the staging folder only the root's files stay."""
        attributes = super().finish(plan, summaries)
        self._publish_root()
        return attributes

    def clean(self) -> dict[str, Any]:
        """Remove what a run left beside a finished store, here and there, and return its attributes."""
        with self._naming():
            attributes = super().clean()
        self._publish_root()
        return attributes

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Yield; errors name the store by its URL, not by the folder in which it is staged."""
        try:
            yield
        except StoreError as err:
            raise type(err)(str(err).replace(str(self.folder), str(self.store))) from err

    def _pull_all(self, names: Iterable[str], *, append: bool) -> None:
        """Bring the staged parts to the state of the remote store; those that are not uploaded yet stay."""
        self._pull_parts(set(filter(PART_NAME.fullmatch, names)) | set(self._staged()), append=append)

    def _pull_root(self) -> list[str]:
        """Bring the root's files, and return what there is in the remote store's folder, which is a store or empty."""
        names = self._remote.names()
        if names and not _OURS & set(names):
            raise StoreError(
                f"{self.store} exists and is no store (it holds {names[0]}): choose another --out, or empty it yourself"
            )
        root = self._read_root(names)
        self._root = {name: digest_of(content) for name, content in root.items()}
        with writing(self.folder):
            if root.get(JOB_FILE) != _read(self.folder / JOB_FILE):
                # What is staged is of another plan.
                self._drop_parts()
            for name in (*ROOT_FILES, REMOVING_FILE):
                _mirror(self.folder / name, root.get(name))
        return names

    @contextmanager
    def _publishing(self) -> Iterator[PublishPart]:
        """Yield what uploads a part while others are being written, and waits where too many are under way.

        On leaving, all of them are published. After an error no further file is begun.
        """
        with ThreadPoolExecutor(NUM_UPLOADS, "upload") as threads:
            under_way: deque[Future[None]] = deque()

            def publish(part: int) -> None:
                while under_way and (under_way[0].done() or len(under_way) >= NUM_UPLOADS):
                    under_way.popleft().result()
                under_way.append(threads.submit(self._publish_part, part_name(part)))

            try:
                yield publish
                for upload in under_way:
                    upload.result()
            except BaseException:
                self._stopped.set()
                raise

    def _publish_root(self) -> None:
        """Publish the root, its `zarr.json` last; of the staging folder only the root's files stay."""
        if JOB_FILE in self._root:
            self._check_plan()
        self._push_root()
        with writing(self.folder):
            self._drop_parts()

    def _demand(self, store_bytes: int, num_parts: int, workers: int) -> tuple[int, str, str]:
        staged = min(2 * workers + NUM_UPLOADS, num_parts)
        needed = store_bytes * staged // max(num_parts, 1)
        return (
            needed,
            f"up to {staged} parts are staged at a time,",
            "choose another --scratch, fewer --workers",
        )

    def _read_root(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the root's files by name; one whose writing was cut off counts as absent where it comes again."""
        found = {
            name: self._remote.read(name, MAX_REJECTS_BYTES if name.endswith(".jsonl") else MAX_ROOT_BYTES)
            for name in (*ROOT_FILES, REMOVING_FILE)
            if name in names
        }
        root = {name: content for name, content in found.items() if content is not None}
        if JOB_FILE in root and not _is_json(root[JOB_FILE]):
            del root[JOB_FILE]
        elif JOB_FILE in root and not _is_json(root.get("zarr.json", b"{}")):
            del root["zarr.json"]
        return root

    def _push_root(self) -> None:
        """Publish the staging folder's root: what is new, then remove what is no more."""
        for name in ROOT_FILES:
            content = _read(self.folder / name)
            if content is not None and self._root.get(name) != digest_of(content):
                self._remote.write(name, content)
                self._root[name] = digest_of(content)
        for name in reversed(ROOT_FILES):
            if name in self._root and not (self.folder / name).exists():
                self._remote.remove(name)
                del self._root[name]

    def _check_removable(self, names: list[str]) -> None:
        """Raise `StoreError` unless the URL holds nothing, or a store and nothing else."""
        check_content(str(self.store), names, lambda: {*names, *self._remote.files()}, self._remote.read)

    def _remove_store(self) -> None:
        names = self._remote.names()
        self._check_removable(names)
        names = [name for name in names if not is_passing(name)]
        if names:
            self._remote.write(REMOVING_FILE, b"")
        # The root goes first: a half removed store can't be taken for a whole one.
        for name in sorted(names, key=lambda name: (name == REMOVING_FILE, name != "zarr.json")):
            self._remote.remove(name)
        self._remote.remove(REMOVING_FILE)
        self._root.clear()

    def _check_plan(self) -> None:
        """Raise `StoreError` unless the remote store is still being made by this plan."""
        plan = self._remote.read(JOB_FILE)
        if plan is None or digest_of(plan) != self._root[JOB_FILE]:
            raise StoreError(
                f"{self.store} was finished, removed or begun anew by another run: see that no other runs, then give "
                "the command again"
            )

    def _publish_part(self, name: str) -> None:
        """Upload a part, unless that was done before, and drop what only readers need."""
        folder = self.folder / name
        if not _is_whole(folder):
            return
        self._check_plan()
        attributes, _ = read_part_attributes(folder)
        list(side_by_side(partial(self._upload, name), attributes["files"]))
        self._upload(name, "zarr.json")
        with writing(self.folder):
            _prune(folder)

    def _upload(self, part: str, path: str) -> None:
        if self._stopped.is_set():
            raise StoreError("the run was stopped")
        self._remote.upload(self.folder / part / path, f"{part}/{path}")

    def _pull_parts(self, names: Iterable[str], *, append: bool) -> None:
        list(side_by_side(partial(self._pull_part, append=append), sorted(names)))

    def _pull_part(self, name: str, *, append: bool) -> None:
        """Bring what is staged of a part to what the remote store has of it."""
        folder = self.folder / name
        # Looked at first: a run beside this one may be publishing it.
        was_whole = _is_whole(folder)
        metadata = self._remote.read(f"{name}/zarr.json", MAX_METADATA_BYTES)
        files = None if metadata is None else _listed_files(metadata)
        if files is None:
            # Not uploaded yet, or cut off while it was.
            if not was_whole:
                shutil.rmtree(folder, ignore_errors=True)
            return
        with writing(self.folder):
            if _read(folder / "zarr.json") != metadata:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                _prune(folder)
            folder.mkdir(exist_ok=True)
        for path in (REJECTS_FILE, *(_SCENES if append else ())):
            if path in files:
                self._pull_file(name, path, files[path])
        with writing(self.folder):
            _mirror(folder / "zarr.json", metadata)

    def _pull_file(self, part: str, path: str, num_bytes: int) -> None:
        file = self.folder / part / path
        content = self._remote.read(f"{part}/{path}", min(num_bytes, MAX_REJECTS_BYTES))
        if content is None or len(content) != num_bytes:
            found = "missing" if content is None else f"{len(content)} bytes long"
            raise StoreError(
                f"{self.store}/{part}/{path} is {found}, expected {num_bytes} bytes: remove {self.store}/{part} and run "
                "the same command again"
            )
        with writing(self.folder):
            file.parent.mkdir(parents=True, exist_ok=True)
            _mirror(file, content)

    def _staged(self) -> list[str]:
        return [path.name for path in self.folder.iterdir() if PART_NAME.fullmatch(path.name)]

    def _drop_parts(self) -> None:
        for name in self._staged():
            shutil.rmtree(self.folder / name)


def _is_whole(folder: Path) -> bool:
    """Whether a staged part has all its files."""
    try:
        attributes, _ = read_part_attributes(folder)
    except (OSError, StoreError):
        return False
    return all((folder / path).exists() for path in attributes["files"])


def _is_json(content: bytes) -> bool:
    """Whether a file of the store's metadata is whole: what was cut off is no JSON."""
    try:
        return isinstance(decode_metadata(content), dict)
    except ValueError:
        return False


def _listed_files(metadata: bytes) -> dict[str, int] | None:
    """Return the sizes of the files that a part lists in its metadata; None where that is not whole."""
    try:
        attributes = parse_part_attributes(metadata, "")
    except StoreError:
        return None
    return {path: file["bytes"] for path, file in attributes["files"].items()}


def _prune(folder: Path) -> None:
    """Remove all of a part but its metadata and its rejects, which lie directly in its folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _mirror(file: Path, content: bytes | None) -> None:
    """Make a file what it is elsewhere; it is not touched where it is that already."""
    if content is None:
        file.unlink(missing_ok=True)
    elif _read(file) != content:
        write_whole(file, content)


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def open_destination(out: Path | str, scratch: Path | str | None = None) -> Destination:
    """Return where a store goes, which has a folder or a URL.

    The parts of one with a URL are staged below `scratch`, by default in the user's folder for caches.

    Raises:
        StoreError: the URL can't be written to.
    """
    path = local_path(out)
    if path is not None:
        return Destination(path)
    return Publication(str(out), staging_folder(str(out), scratch))


def staging_folder(url: str, scratch: Path | str | None) -> Path:
    """Return the folder in which the same command finds again what was staged for a URL.

    Raises:
        StoreError: none is given, and there is no folder that this user may write to.
    """
    try:
        parent = user_cache() / "staging" if scratch is None else Path(scratch)
    except RuntimeError:
        # A user without a home, as in some containers.
        parent = _temporary_folder() / "resizeonce" / "staging"
    address = url.rstrip("/")
    return parent / f"{address.rpartition('/')[2]}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as err:
        raise StoreError(
            f"there is no folder to stage parts in: {err.strerror}; give one, --scratch"
        ) from err
