"""A table of what is said about objects: `expressions.csv` with a header, or `expressions.jsonl`.

::

    name,object,text                            {"name": "0001", "object": 3, "text": "the cup"}
    0001,3,the cup on the left
"""

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ....loader.format.errors import SourceError
from ...errors import RecordError
from ..records import Reject
from .json_files import JSON_ERRORS
from .raw_files import RawPath, is_file_there, read_text

MAX_TABLE_BYTES = 1 << 29
"""Largest table that is read."""

MAX_TEXT_LENGTH = 10_000
"""Longest phrase that is read, in characters."""

FILES = ("expressions.csv", "expressions.jsonl")


class Phrase(NamedTuple):
    """A row of the table."""

    name: str
    """The image's, as the table has it."""
    object_id: str
    """"" where the image has one object only."""
    text: str
    line: int


class _Row(msgspec.Struct, frozen=True, gc=False):
    name: str
    text: str
    object: str | int | None = None


_ROW = msgspec.json.Decoder(_Row)


def read_phrases(root: RawPath, prefix: str) -> tuple[str, list[Phrase], list[Reject]]:
    """Return the table's name in the dataset's root, "" where there is none, its rows, and the lines that are none."""
    there = [name for name in FILES if is_file_there(root / name)]
    if len(there) > 1:
        raise SourceError(f"{root} has both {' and '.join(there)}: which counts is not known; keep one")
    if not there:
        return "", [], []
    [name] = there
    try:
        text = read_text(root / name, MAX_TABLE_BYTES)
        rows = list(_read_csv(text) if name.endswith(".csv") else _read_jsonl(text))
    except (RecordError, UnicodeDecodeError, csv.Error) as err:
        raise SourceError(f"can't read {root / name}: {err}") from err
    phrases = [row for row in rows if isinstance(row, Phrase)]
    rejects = [Reject(prefix, name, "index", row) for row in rows if isinstance(row, str)]
    return name, phrases, rejects


def _read_csv(text: str) -> Iterator[Phrase | str]:
    """Yield the rows, or what is wrong with one."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [cell.strip().lower() for cell in next(rows, [])]
    if not {"name", "text"} <= set(header):
        raise RecordError(f"its first line is {','.join(header)[:200]!r}, expected name,object,text")
    if twice := [name for name in ("name", "object", "text") if header.count(name) > 1]:
        raise RecordError(f"its first line names the column {twice[0]} twice: which counts is not known")
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            found = f"line {rows.line_num} has {len(row)} cells, its header {len(header)}"
            yield f"{found}: a text with a comma stands in quotes"
            continue
        cells = dict(zip(header, row, strict=True))
        yield _check(Phrase(cells["name"], cells.get("object", "").strip(), cells["text"], rows.line_num))


def _read_jsonl(text: str) -> Iterator[Phrase | str]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _ROW.decode(line)
        except JSON_ERRORS as err:
            yield f"line {number} is no {{name, object, text}}: {err}"
            continue
        yield _check(Phrase(row.name, "" if row.object is None else str(row.object), row.text, number))


def _check(phrase: Phrase) -> Phrase | str:
    if not phrase.text.strip():
        return f"line {phrase.line} has no text"
    if len(phrase.text) > MAX_TEXT_LENGTH:
        return f"line {phrase.line} has a text of {len(phrase.text)} characters, over the limit of {MAX_TEXT_LENGTH}"
    return phrase._replace(name=phrase.name.strip())
