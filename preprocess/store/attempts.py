"""Tries at a part, noted on disk, so that whoever tries next knows where the last one died.

The forecast before a conversion is noted in the same way: it reads scenes, too.

In `.attempts` of an unfinished store each try has a folder that it writes to, and a note: the run it belongs to and
the scene it is in. The note is locked while its process lives. The kernel ends the lock with the process, so a note
without one was left by a dead process, on whatever machine that shares the file system.

What a file system refuses is a `StoreError` in all of these functions.
"""

import fcntl
import os
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from ...loader.format.errors import StoreError
from ...loader.format.layout import PART_NAME, part_name
from ...loader.format.regular_files import read_document
from .filesystem import is_partial, writing

ATTEMPTS_FOLDER = ".attempts"
"""Stands in the root of a store while parts are being written."""

PREPARE_LOCK = "prepare.lock"
"""Held in the attempts folder while a run makes a store ready."""

FORECAST = "forecast"
"""Name of the try at a forecast; a part's is the part's name."""

NO_SCENE = -1

_NOTE_SUFFIX = ".note"
_NEW_SUFFIX = ".new"
_NAME = re.compile(rf"(?:{PART_NAME.pattern}|forecast)\.[0-9a-f]+(?:\.note|\.new)?")
_MAX_NOTE_BYTES = 256


def is_attempt(name: str) -> bool:
    """Whether a run gives this name to what it makes in the attempts folder."""
    return name == PREPARE_LOCK or _NAME.fullmatch(name) is not None


def attempts_folder(store: Path) -> Path:
    """Return the attempts folder of a store, there or not.

    Raises:
        StoreError: a link stands there: what it leads to is not the store's, and would be swept.
    """
    folder = store / ATTEMPTS_FOLDER
    if folder.is_symlink():
        raise StoreError(f"{folder} is a link, which no run makes there: see who put it there, and remove it")
    return folder


class Attempt:
    """One try at something, such as "part-00007", used as a context manager: what it leaves behind without dying is nothing.

    `run` names the run; deaths count only within one.
    """

    def __init__(self, store: Path, name: str, run: str) -> None:
        self._store = store
        self._names = {name}
        self._run = run
        unique = f"{name}.{uuid.uuid4().hex[:12]}"
        self.folder = store / ATTEMPTS_FOLDER / unique
        """Where to write; whoever writes makes it."""
        self._note = self.folder.with_name(unique + _NOTE_SUFFIX)
        self._file = -1

    def __enter__(self) -> "Attempt":
        with writing(self._store):
            # Not the store's own folder: where that is gone, its disk is, and another must not be filled.
            attempts_folder(self._store).mkdir(exist_ok=True)
            # Without its last name nobody takes it for a dead process's before it is locked.
            unlocked = self._note.with_name(self.folder.name + _NEW_SUFFIX)
            self._file = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                self.enter_scene(NO_SCENE)
                unlocked.rename(self._note)
            except BaseException:
                os.close(self._file)
                unlocked.unlink(missing_ok=True)
                raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            with writing(self._store):
                if error is None:
                    # It is done: where earlier tries at it died matters no more.
                    _sweep(self._store, self._names, keep_deaths_of=None)
                self._note.unlink(missing_ok=True)
        except StoreError:
            # On a disk that is gone, what went wrong first says more.
            if error is None:
                raise
        finally:
            os.close(self._file)

    def enter_scene(self, scene: int) -> None:
        """Note that the process is now in a scene, or in none."""
        with writing(self._store):
            # One line of fixed length, written over the last one at once: never half of each.
            os.pwrite(self._file, f"{self._run} {scene:20d}\n".encode(), 0)

    def deaths(self) -> Counter[int]:
        """Return how many processes of this run died of it, by the scene they died in."""
        with writing(self._store):
            _sweep(self._store, self._names, keep_deaths_of=self._run)
            notes = [_read_note(note) for note in _dead_notes(self._store, self._names)]
        return Counter(scene for run, scene in notes if run == self._run)


def sweep_parts(store: Path, parts: Iterable[int]) -> None:
    """Remove what dead processes left of some parts."""
    with writing(store):
        _sweep(store, set(map(part_name, parts)), keep_deaths_of=None)


def discard_part(store: Path, part: int) -> None:
    """Remove a part, or what is left of one; a kill meanwhile leaves no half of it under its name."""
    folder = store / part_name(part)
    with writing(store):
        if os.path.lexists(folder):
            trash = attempts_folder(store) / f"{folder.name}.{uuid.uuid4().hex[:12]}"
            trash.parent.mkdir(exist_ok=True)
            folder.rename(trash)
            if trash.is_dir() and not trash.is_symlink():
                shutil.rmtree(trash)
            else:
                # Somebody's link, not what it leads to.
                trash.unlink()


def discard_parts(store: Path, parts: Iterable[int]) -> None:
    """Remove those of some parts that are there, or what is left of them; the store is listed once for all."""
    with writing(store):
        there = {path.name for path in store.iterdir()}
    for part in parts:
        if part_name(part) in there:
            discard_part(store, part)


def sweep_attempts(store: Path) -> bool:
    """Remove what dead processes left in a store; return whether one of them died while it wrote a part.

    Call it where no other run works on the store: whose deaths they were is forgotten, too.
    """
    with writing(store):
        for leftover in store.glob(".*.partial"):
            if is_partial(leftover.name):
                leftover.unlink()
        folder = attempts_folder(store)
        if not folder.exists():
            return False
        died = next(_dead_notes(store, None), None) is not None
        _sweep(store, None, keep_deaths_of=None)
        for rest in [path for path in folder.iterdir() if is_attempt(path.name)]:
            if rest.suffix == _NEW_SUFFIX or rest.name == PREPARE_LOCK:
                rest.unlink(missing_ok=True)
            elif rest.is_dir() and not rest.with_name(rest.name + _NOTE_SUFFIX).exists():
                shutil.rmtree(rest, ignore_errors=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    return died


def have_died(store: Path, names: Iterable[str]) -> bool:
    """Whether a process died of one of these, and nobody has tried that again."""
    with writing(store):
        return next(_dead_notes(store, set(names)), None) is not None


def _sweep(store: Path, names: Set[str] | None, *, keep_deaths_of: str | None) -> None:
    """Remove the folders of dead tries at some things, or at all, and their notes but those of one run."""
    for note in _dead_notes(store, names):
        shutil.rmtree(note.with_name(note.name.removesuffix(_NOTE_SUFFIX)), ignore_errors=True)
        if keep_deaths_of is None or _read_note(note)[0] != keep_deaths_of:
            note.unlink(missing_ok=True)


def _dead_notes(store: Path, names: Set[str] | None) -> Iterator[Path]:
    """Yield the notes of tries at some things, or at all, whose processes are gone. The folder is listed once for all."""
    for note in sorted(attempts_folder(store).glob(f"*{_NOTE_SUFFIX}")):
        if not is_attempt(note.name) or (names is not None and note.name.partition(".")[0] not in names):
            continue
        try:
            file = os.open(note, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            # Its process has just finished.
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(file)
        yield note


def _read_note(note: Path) -> tuple[str, int]:
    """Return a note's run and scene; a process that died before it wrote them was in no scene, as is what is no note."""
    try:
        run, scene = read_document(note, _MAX_NOTE_BYTES).decode().split()
        return run, int(scene)
    except (OSError, ValueError):
        return "", NO_SCENE
