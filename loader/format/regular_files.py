"""Files of a store are regular ones, or links to regular ones: a pipe or a device would hang or fill who reads it.

Opened without waiting and looked at afterwards, so that nobody can swap the file between the look and the reading.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: (errno.EISDIR, "a folder"),
    stat.S_IFIFO: (errno.EINVAL, "a pipe"),
    stat.S_IFCHR: (errno.EINVAL, "a device"),
    stat.S_IFBLK: (errno.EINVAL, "a device"),
    stat.S_IFSOCK: (errno.EINVAL, "a socket"),
}


class TooLargeError(OSError):
    """Raised when a document is larger than any that this project writes."""


def open_regular(path: Path) -> int:
    """Return a descriptor of a file, read-only.

    Raises:
        OSError: it can't be opened, or is no regular file.
    """
    # Without waiting for somebody to write into a pipe, and without taking a terminal.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return descriptor
    os.close(descriptor)
    number, name = _KINDS.get(kind, (errno.EINVAL, "no file"))
    raise OSError(number, f"it is {name}, expected a file", str(path))


def open_binary(path: Path) -> BinaryIO:
    """Return a file, to be read as bytes; errors are those of `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


def read_document(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a file of limited size.

    Raises:
        OSError: it can't be read, is no regular file, or (`TooLargeError`) is larger.
    """
    with open_binary(path) as file:
        content = file.read(max_bytes + 1)
    if content is None:
        # Of what calls itself a file and is a pipe at heart, as some below /proc.
        raise OSError(errno.EAGAIN, "it has nothing to read", str(path))
    if len(content) > max_bytes:
        raise TooLargeError(
            errno.EFBIG, f"it has more than the {max_bytes:,} bytes that it may have", str(path)
        )
    return content
