"""Who may write a store: one run alone, or several that each write a share of the parts."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...loader.format.errors import StoreError
from .attempts import PREPARE_LOCK, attempts_folder
from .filesystem import writing

LOCK_FILE = ".lock"


@contextmanager
def held(store: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a store, which is made if need be; the lock of a dead run is gone with its process.

    If `shared`, others may hold it, too, all of them shared.

    Raises:
        StoreError: another run holds it, or the file system refuses.
    """
    with writing(store):
        store.mkdir(parents=True, exist_ok=True)
        lock = _open_lock(store / LOCK_FILE)
    try:
        with writing(store):
            _acquire(store, lock, shared=shared)
        try:
            yield
        finally:
            # Those who share it can't know who is last. A file that stays, as on a disk that is gone, locks nothing.
            if not shared:
                with suppress(OSError):
                    (store / LOCK_FILE).unlink()
    finally:
        os.close(lock)


@contextmanager
def preparing(store: Path) -> Iterator[None]:
    """Wait for others that prepare the same store just now; it takes milliseconds."""
    with writing(store):
        folder = attempts_folder(store)
        folder.mkdir(exist_ok=True)
        lock = _open_lock(folder / PREPARE_LOCK)
    try:
        with writing(store):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_lock(path: Path) -> int:
    # Not through a link, which would make a file elsewhere.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)


def _acquire(store: Path, lock: int, *, shared: bool) -> None:
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise StoreError(
            f"another run is writing {store}: wait for it to end, or choose another --out"
        ) from err
    if os.fstat(lock).st_nlink == 0:
        raise StoreError(f"another run was just writing {store}: give the command again")
