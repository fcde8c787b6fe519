"""What a file system refuses while a store is written, as errors that say what to do."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...loader.format.errors import StoreError

AGAIN = "then run the same command again: it goes on with the parts that are missing"

_ELSEWHERE = "another --out (--scratch, where that is a URL)"

_ADVICE = {
    errno.ENOSPC: f"the disk is full: free some space, {AGAIN}",
    errno.EDQUOT: f"the quota is used up: free some space or have it raised, {AGAIN}",
    errno.EFBIG: f"the file would be larger than allowed (ulimit -f, or the file system's limit): lift it, {AGAIN}",
    errno.EROFS: f"the file system is read-only: mount it for writing, or choose {_ELSEWHERE}, {AGAIN}",
    errno.EACCES: f"this user may not write there: change the permissions, or choose {_ELSEWHERE}, {AGAIN}",
    errno.EPERM: f"this user may not write there: change the permissions, or choose {_ELSEWHERE}, {AGAIN}",
    errno.ENOMEM: f"memory ran out: raise the limit (ulimit -v, or the container's), {AGAIN}",
    errno.EMFILE: f"too many files are open: raise the limit (ulimit -n), {AGAIN}",
    errno.ENOLCK: f"the file system can't lock files: mount it with locks (flock), or choose another --out, {AGAIN}",
    errno.ELOOP: f"a link stands there that no run made: see who put it there, remove it, {AGAIN}",
    errno.ENOTSUP: f"the file system can't do that: choose another --out, {AGAIN}",
}

_VANISHED = (
    errno.ENOENT,
    errno.ENODEV,
    errno.ENXIO,
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.ETIMEDOUT,
)
"""What a disk answers that was unplugged, or a network mount whose server is gone."""


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Turn the file system's refusals into errors of the store; nothing half written has a final name.

    Raises:
        StoreError: the file system refused; the message has its reason, the file and what to do.
    """
    try:
        yield
    except OSError as err:
        advice = _ADVICE.get(err.errno or 0, f"mend that, {AGAIN}")
        if err.errno == errno.ENOSPC and _has_no_inodes(store):
            advice = f"the disk can't hold more files, though it has space (df -i): remove some, or choose another --out, {AGAIN}"
        if err.errno in _VANISHED:
            advice = f"its disk is failing or was taken away: see that {store} is mounted, {AGAIN}"
        file = f" ({err.filename})" if err.filename else ""
        raise StoreError(f"can't write {store}: {err.strerror or err}{file}: {advice}") from err


def _has_no_inodes(store: Path) -> bool:
    """Whether the disk of a store can't hold one more file, however small; of one that does not count them, it can."""
    try:
        found = os.statvfs(store)
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0


def make_parents(folder: Path, name: str) -> None:
    """Make the folders between `folder`, which must be there, and a file below it.

    `Path.mkdir(parents=True)` would make the folder anew where its disk was taken away, and fill another.
    """
    for parent in reversed(Path(name).parents[:-1]):
        (folder / parent).mkdir(exist_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's or a folder's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_sync(descriptor: int, start: int, length: int) -> None:
    """Let the kernel begin to write a piece of a file to the disk, so that little is left to wait for in `sync`.

    Linux answers this hint by writing what is new, without waiting; of the cache it drops only what was written before.
    """
    if sys.platform == "linux":
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


_PARTIAL = re.compile(
    r"\.(zarr\.json|\.job\.json|\.index-rejects\.jsonl|rejects\.jsonl|\.removing|0)\.[0-9]+\.partial",
    re.ASCII,
)


def is_partial(name: str) -> bool:
    """Whether `write_whole` gives this name to a file of a store as long as it is not whole."""
    return _PARTIAL.fullmatch(name) is not None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is absent or complete, also after a crash.

    Whoever calls holds the store, so that of two processes of one number, in two containers, one writes after the other; what
    a crash of either leaves is then written over.

    Raises:
        StoreError: the file system refuses.
    """
    with writing(path.parent):
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            # Never into what is there already, such as somebody's link to a file elsewhere.
            partial.unlink(missing_ok=True)
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)
