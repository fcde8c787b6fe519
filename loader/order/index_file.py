"""The file in which an index is kept: what it is of, then its arrays, each as `np.save` writes it. It may be anybody's."""

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..format.errors import StoreError
from ..format.regular_files import open_binary

ReadArray = Callable[[str, tuple[int, ...]], NDArray[Any]]
"""Takes the dtype and the shape that the next array of the file must have."""


def save_index(path: Path, identity: str, arrays: Sequence[NDArray[Any]]) -> None:
    """Write an index; the file is there whole, or not at all.

    Raises:
        StoreError: the file system refuses.
    """
    # Ranks in containers that share a disk may have one process number.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with unfinished.open("xb") as file:
            for array in (np.array(identity), *arrays):
                np.save(file, array)
        unfinished.replace(path)
    except OSError as err:
        # numpy says only how much it could not write.
        raise StoreError(
            f"the index can't be written to {path}: {err.strerror or f'the disk is full ({err})'}; make room, or name another file"
        ) from err
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def open_index(path: Path, identity: str) -> Iterator[ReadArray]:
    """Give what reads the arrays of an index, one after the other. A `ValueError` of who reads them says what is wrong.

    Raises:
        StoreError: the file is of another index, or can't be what was written.
    """
    try:
        with open_binary(path) as file:
            if _read_array(file, f"<U{len(identity)}", ()) != identity:
                raise _OtherIndexError
            yield partial(_read_array, file)
    except _OtherIndexError as err:
        raise StoreError(
            f"{path} is the index of another store or subset: remove it or name another"
        ) from err
    except (OSError, ValueError) as err:
        raise StoreError(f"{path} is no index, or damaged ({err}): remove it") from err


class _OtherIndexError(Exception):
    """Raised where a file is an index, but not the one that is asked for."""


def _read_array(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the next array of a file that `np.save` wrote, which must be of this type and shape: no more is read of it.

    Raises:
        ValueError: it is another.
    """
    wanted = np.dtype(dtype)
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of another version of numpy's format")
        found = np.lib.format.read_array_header_1_0(file)
    except TokenError as err:
        raise ValueError(str(err)) from err
    if found[2].kind == "U" and wanted.kind == "U" and found[2] != wanted:
        raise _OtherIndexError
    if (found[0], found[2]) != (shape, wanted):
        raise ValueError(f"it has {found[2]} {list(found[0])}, expected {wanted} {list(shape)}")
    content = file.read(wanted.itemsize * math.prod(shape))
    return np.frombuffer(content, wanted).reshape(shape)
