"""Whether a file that is no array is the one that was written."""

import hashlib
import os
from pathlib import Path

from ...loader.format.errors import StoreError
from ...loader.format.limits import describe_refused_read
from ...loader.format.metadata import ListedFile
from ...loader.format.regular_files import open_binary

MAX_BYTES = 4 << 30
"""Of such a file: a list of ten million rejects. A sparse file of terabytes takes no room, and a day to read."""


def stop_where_refused(error: Exception, path: Path) -> None:
    """Raise `StoreError` where an error says nothing of a file, but of what this process may: that is no damage."""
    if reason := describe_refused_read(error):
        raise StoreError(f"{path} can't be checked: {reason}") from error


def file_fault(path: Path, listed: ListedFile) -> str:
    """Return what is wrong with a file, "" for nothing."""
    try:
        with open_binary(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != listed.bytes:
                return f"{size} bytes, not the {listed.bytes} that were written"
            if size > MAX_BYTES:
                return f"{size} bytes, more than the {MAX_BYTES:,} that it may have"
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as err:
        stop_where_refused(err, path)
        return f"can't be read: {err.strerror or err}"
    return "" if digest.hexdigest() == listed.sha256 else f"{size} bytes that are not those that were written"
