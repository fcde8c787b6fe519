"""Raw files and folders: found inside their folder, read whole, never a pipe.

What is missing is named, and so is what lies in the place of a file that was never fetched, told by its first bytes, whatever
kind of file it should be.
"""

import errno
import hashlib
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path, PosixPath, PurePosixPath
from typing import TypeAlias

from ....loader.format.errors import SourceError
from ....loader.format.limits import describe_limit
from ...decode.images import MAX_IMAGE_BYTES
from ...errors import DecodeError, MissingFileError, RecordError
from ...remote.local_copies import local_file
from ...remote.path import RemotePath

RawPath: TypeAlias = Path | RemotePath
"""A raw file or folder, on this machine's disks or elsewhere; what both can do alike is done without a difference."""


class LinkedPath(PosixPath):
    """A raw file or folder of a dataset whose links are followed, wherever they lead; what is below is one, too."""

    __slots__ = ()


CHECK_SOURCE = "; check --root and the config's [source]"

FOLLOW_ADVICE = "set source.follow_links=true to follow links, or copy the files themselves (cp -rL)"

_FETCH_ADVICE = "fetch it first (git annex get, dvc pull)"

HEAD_BYTES = 512
"""How much of a file is looked at."""

_STANDINS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer: run git lfs pull, which fetches the file itself",
    b"/annex/objects/": "a git-annex pointer: run git annex get, which fetches the file itself",
    b"<!doctype": "an HTML page, as a server sends instead of a file: download it again",
    b"<html": "an HTML page, as a server sends instead of a file: download it again",
    b"<?xml": "an XML document, as a server sends instead of a file: download it again",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def resolve_inside(folder: RawPath, name: str) -> RawPath:
    """Return the file that an annotation calls `name`, which must lie in `folder`.

    The folder itself is the user's choice and may be a link to anywhere; what a dataset's files name may not leave
    it, neither by "..", nor by an absolute path, nor, unless the user says so, through a link. (Links on a server are
    the server's to judge.)

    Raises:
        RecordError: the name leads out of the folder or can't be a file name.
    """
    if isinstance(folder, RemotePath):
        return folder.inside(name)
    if isinstance(folder, LinkedPath):
        if "\0" in name:
            raise RecordError(f"{name!r} can't be a file name: embedded null byte")
        if _leads_up(name):
            raise RecordError(f"{name!r} leads out of {folder.name!r}; a file must lie inside its folder")
        return folder / name
    try:
        base = folder.resolve()
        path = (base / name).resolve()
        if path.is_relative_to(base):
            return path
        link = "" if _leads_up(name) else _describe_link(base, name)
    except (OSError, ValueError, RuntimeError) as err:
        raise RecordError(f"{name!r} can't be a file name: {err}") from err
    raise RecordError(link or f"{name!r} leads out of {folder.name!r}; a file must lie inside its folder")


def _leads_up(name: str) -> bool:
    """Whether a name leads out of its folder by itself, without any link."""
    parts = PurePosixPath(name)
    return parts.is_absolute() or ".." in parts.parts


def _describe_link(base: Path, name: str) -> str:
    """Return which link leads out of `base`, where to, and what to do."""
    for path in accumulate(PurePosixPath(name).parts, Path.__truediv__, initial=base):
        if path.is_symlink() and not (target := path.resolve()).is_relative_to(base):
            absent = "" if target.exists() else f", where nothing is: {_FETCH_ADVICE}"
            return (
                f"{name!r} leads out of {base.name!r} by a link, {path.relative_to(base)} -> {target}{absent}; "
                f"{FOLLOW_ADVICE}"
            )
    return ""


def is_text(name: str) -> bool:
    """Whether a file's name can be written as text; names may hold any bytes, which need not be UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_digests(root: RawPath, *names: str) -> dict[str, str]:
    """Return the SHA-256 of index files by their names, to tell whether they changed; "" standing for none."""
    digests = {}
    for name in filter(None, names):
        try:
            with local_file(root / name) as local, local.open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, RecordError) as err:
            reason = err.strerror if isinstance(err, OSError) else err.reason
            raise SourceError(f"can't read {root / name}: {reason}{CHECK_SOURCE}") from err
    return digests


def listing_digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of a folder's listing, given as sorted lines of names and sizes."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def check_content(head: bytes) -> None:
    """Raise `RecordError` where a file's first bytes, `HEAD_BYTES` of them or more, are those of a pointer or of a server's answer."""
    begin = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] not in b"v/<.":
        return
    if begin.startswith(b"../") and len(head) < HEAD_BYTES and b"\n" not in begin.rstrip():
        target = begin.decode("utf-8", "backslashreplace").strip()
        raise DecodeError(
            f"the file is a link that was copied as text, to {target!r}: put what that leads to in its place (cp -rL), or "
            "restore the links (git config core.symlinks true)"
        )
    begin = begin.lower()
    for mark, kind in _STANDINS.items():
        if begin.startswith(mark):
            raise DecodeError(f"the file is {kind} (it begins with {head[:12]!r})")


def compression_of(head: bytes) -> str:
    """Return how a file is compressed, by its first bytes; "" where it is not."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), "")


def check_text(head: bytes) -> None:
    """Raise `RecordError` where the first bytes of what should be text in UTF-8 are in UTF-16, or compressed."""
    if head.startswith(_UTF16_MARKS):
        raise RecordError("the file is text in UTF-16, expected UTF-8: save it in that encoding")
    if kind := compression_of(head):
        raise RecordError(f"the file is compressed ({kind}): decompress it")


def stop_where_limited(error: OSError, path: RawPath | str) -> None:
    """Raise `SourceError` where the system lets this process open no more files, or has no memory: that says nothing of a record."""
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        raise SourceError(
            f"can't read {path}: {describe_limit(error)}; then run the same command again to go on"
        ) from error


def read_file(path: RawPath, limit: int = MAX_IMAGE_BYTES) -> bytes:
    """Return a raw file's bytes.

    Raises:
        MissingFileError: there is none.
        RecordError: it is no regular file, unreadable, over `limit` bytes, or what stands in for a file.
        SourceError: a limit of the system keeps this process from reading it, or of a remote one, as of `RemotePath`.
    """
    if isinstance(path, RemotePath):
        content = path.read_bytes(limit)
    else:
        check_file(path, limit)
        try:
            content = path.read_bytes()
        except OSError as err:
            stop_where_limited(err, path)
            raise RecordError(f"can't read the file: {err}") from err
    check_content(content)
    return content


def read_text(path: RawPath, limit: int, errors: str = "strict") -> str:
    """Return a file in UTF-8 as text, without a byte order mark; `errors` is how Python is to treat other bytes.

    Raises:
        RecordError: as `read_file` does, and where it is in UTF-16, or compressed.
        UnicodeDecodeError: `errors` is "strict", and it is no UTF-8.
    """
    content = read_file(path, limit)
    check_text(content)
    return content.decode("utf-8-sig", errors)


def _describe_absent(path: RawPath) -> str:
    """Return which link on the way to a missing file leads nowhere, and what to do; "" where none does."""
    if isinstance(path, Path):
        for place in (path, *path.parents):
            if place.is_symlink() and not place.exists():
                return f": {place.name} is a link to {place.readlink()}, where nothing is: {_FETCH_ADVICE}"
    return ""


def is_file_there(path: RawPath) -> bool:
    """Whether there is a file that a dataset need not have.

    Raises:
        SourceError: it can't be told: its folder may not be read, or the name is too long.
    """
    try:
        return path.is_file()
    except OSError as err:
        raise SourceError(f"can't read {str(path)!r:.500}: {err.strerror}{CHECK_SOURCE}") from err


def is_folder_there(path: RawPath) -> bool:
    """Whether this is a folder; not where it can't be told, as of a link to a name that is too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_file(path: Path, limit: int | None = None) -> None:
    """Raise `RecordError` unless this is a regular file of at most `limit` bytes: reading a pipe would never end.

    Also where it can't be told, as of a link to a name that is too long.
    """
    try:
        if not path.is_file():
            if not path.exists():
                raise MissingFileError(f"the file is missing{_describe_absent(path)}")
            raise RecordError("not a regular file")
        if limit is not None and (found := path.stat().st_size) > limit:
            raise RecordError(f"the file has {found} bytes, over the limit of {limit}")
    except (OSError, ValueError) as err:
        raise RecordError(f"can't read the file: {err}") from err
