"""What the parts of a store say together: whether its totals and its list of rejects are their sums, and keys are unique."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import JOB_FILE, REJECTS_FILE, TABLES
from ...loader.format.metadata import Root
from ...loader.format.regular_files import open_binary
from ..sources.records import Reject
from ..store.root import MAX_LINE_BYTES
from .files import MAX_BYTES, stop_where_refused
from .findings import RESTORE, Finding


def check_totals(store: Path, root: Root, parts: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Yield where the root's totals are not the sums of its parts, whose attributes are given in order."""
    wanted: dict[str, Any] = {table: sum(part["rows"].get(table, 0) for part in parts) for table in TABLES}
    for name in root.totals:
        if name not in TABLES:
            wanted[name] = _sum([part.get(name) for part in parts], root.totals[name])
    if (store / JOB_FILE).exists():
        # A store that is appended to gets its new list of rejects just before its new root.
        wanted["rejects"] = root.totals.get("rejects")
    else:
        stages = Counter(wanted.get("rejects", {}))
        index_rejects, faults = _index_rejects(store, root)
        yield from faults
        wanted["rejects"] = dict(stages + Counter(index_rejects))
    for name in sorted(wanted.keys() | root.totals.keys()):
        if root.totals.get(name) != wanted[name]:
            found = f"totals.{name} is {root.totals.get(name)}"
            yield Finding(
                check="totals", array="zarr.json", found=found, expected=f"{wanted[name]}", advice=RESTORE
            )


def _index_rejects(store: Path, root: Root) -> tuple[list[str], list[Finding]]:
    """Return the stages of what the dataset's index rejected: the list of rejects without those of the parts; and what is wrong."""
    try:
        with ExitStack() as stack:
            lists = [store / entry.name / REJECTS_FILE for entry in root.parts]
            sizes = [path.stat().st_size if path.exists() else 0 for path in lists]
            if not (store / REJECTS_FILE).exists():
                return [], [] if not sum(sizes) else [_wrong("it is missing, and parts have rejects")]
            whole = stack.enter_context(open_binary(store / REJECTS_FILE))
            left = os.fstat(whole.fileno()).st_size - sum(sizes)
            if left < 0 or left > MAX_BYTES:
                return [], [_wrong("its last lines are not the rejects of the parts")]
            stages = [msgspec.json.decode(line, type=Reject).stage for line in _lines(whole, left)]
            for path, size in zip(lists, sizes, strict=True):
                if size and not _is_next(whole, path):
                    return [], [_wrong("its last lines are not the rejects of the parts")]
            return stages, []
    except OSError as err:
        stop_where_refused(err, store / REJECTS_FILE)
        return [], [_wrong(f"can't be read: {err}")]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        return [], [_wrong(f"a line is no reject: {err}")]


def _wrong(found: str) -> Finding:
    return Finding(check="rejects", array=REJECTS_FILE, found=found, advice=RESTORE)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the lines in the next `size` bytes."""
    while size > 0 and (line := file.readline(min(size, MAX_LINE_BYTES))):
        size -= len(line)
        yield line


def _is_next(file: BinaryIO, path: Path) -> bool:
    """Whether the next bytes of a file are all of another one."""
    with open_binary(path) as other:
        return all(file.read(len(piece)) == piece for piece in iter(lambda: other.read(1 << 20), b""))


def _sum(values: Sequence[Any], total: int | dict[str, int]) -> Any:
    """Return the sum of the parts' numbers or counts; None where a part has no such value."""
    if any(type(value) is not type(total) for value in values):
        return None
    if isinstance(total, int):
        return sum(values)
    counts: Counter[str] = Counter()
    for value in values:
        counts.update(value)
    return dict(counts)


def hash_of(key: str) -> int:
    """Return 64 bits of a key that are the same in every process, unlike `hash`."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def find_repeated(parts: Sequence[NDArray[np.uint64]]) -> Iterator[tuple[int, int]]:
    """Yield part and row of each image whose key an earlier part has; repetitions within a part are none.

    Of each part the hashes of its images' keys are given, uint64 [I]: of millions of images no text is kept. All are sorted at
    once: to look for each part's in those before it takes the square of their number.
    """
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    begins = np.cumsum([0, *map(len, parts)])
    part_of = np.repeat(np.arange(len(parts)), np.diff(begins))
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    for row in np.flatnonzero(part_of > part_of[first[places]]).tolist():
        yield part_of.item(row), row - begins.item(part_of.item(row))
