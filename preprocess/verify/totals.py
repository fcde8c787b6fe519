"""Whether a store's totals and its list of rejects are the sums of its parts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from preprocess.layout import JOB_FILE, REJECTS_FILE, TABLES
from preprocess.records import Reject
from preprocess.verify.findings import RESTORE, Finding
from preprocess.verify.root import Root


def check_totals(store: Path, root: Root, parts: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Yield where the root's totals are not the sums of its parts.

    Args:
        store: the store's folder.
        root: its attributes.
        parts: the attributes of every part, in order.
    """
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
        wanted["rejects"] = dict(stages + Counter(reject.stage for reject in index_rejects))
    for name in sorted(wanted.keys() | root.totals.keys()):
        if root.totals.get(name) != wanted[name]:
            found = f"totals.{name} is {root.totals.get(name)}"
            yield Finding(
                check="totals", array="zarr.json", found=found, expected=f"{wanted[name]}", advice=RESTORE
            )


def _index_rejects(store: Path, root: Root) -> tuple[list[Reject], list[Finding]]:
    """Return what the dataset's index rejected: the list of rejects without those of the parts; and what is wrong."""
    own = b"".join(_read(store / entry.name / REJECTS_FILE) for entry in root.parts)
    content = _read(store / REJECTS_FILE)
    if not content.endswith(own):
        text = "its last lines are not the rejects of the parts"
        return [], [Finding(check="rejects", array=REJECTS_FILE, found=text, advice=RESTORE)]
    try:
        lines = content[: len(content) - len(own)].splitlines()
        return [msgspec.json.decode(line, type=Reject) for line in lines], []
    except msgspec.DecodeError as err:
        return [], [Finding(check="rejects", array=REJECTS_FILE, found=f"a line is no reject: {err}")]


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


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
