"""The segmentation CSV of OpenImages, grouped by image, and the CSV of class names.

The train CSV has 2.69 million rows in no useful order. It is read line by line, and three short texts and a box are kept
of each row, end to end in buffers: as Python objects they would take several times the memory.
"""

import csv
import io
import math
from array import array
from collections.abc import Iterator
from typing import NamedTuple, TextIO

import numpy as np

from ....loader.format.errors import SourceError
from ...errors import RecordError
from ...remote.local_copies import local_file
from ..records import Reject
from .raw_files import CHECK_SOURCE, HEAD_BYTES, RawPath, check_content, check_file, check_text, read_text
from .stated_boxes import StatedBox

MAX_CSV_BYTES = 1 << 33
"""Largest segmentation CSV that is read, several times the largest published one."""

MAX_LINE_LENGTH = 1 << 20
"""Longest line that is read; the clicks of one mask take some hundred characters."""

MAX_NAME_LENGTH = 200
"""Longest name of a file, an image or a box; file systems end at 255 bytes."""

MAX_CLASSES_BYTES = 1 << 26
"""Largest file of class names that is read."""

_COLUMNS = ("ImageID", "MaskPath", "LabelName", "BoxID")
_BOX_COLUMNS = ("BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax")
_NO_BOX = (math.nan, math.nan, math.nan, math.nan)


class Row(NamedTuple):
    """What is kept of a row, as text. `ImageID` was checked, the rest was not."""

    mask_path: str
    label: str
    box_id: str
    box: StatedBox | None = None
    """In shares of the picture's width and height."""

    @property
    def object_id(self) -> str:
        """Names the mask within its image, such as "m0bt9lr_143bac7b"."""
        return f"{self.label.replace('/', '')}_{self.box_id}"

    def check(self) -> None:
        """Raise `RecordError` unless each field can be part of a file name or a key."""
        for column, name in (
            ("MaskPath", self.mask_path),
            ("LabelName", self.label.replace("/", "")),
            ("BoxID", self.box_id),
        ):
            if not _is_bare(name):
                raise RecordError(
                    f"{column} is {name[:MAX_NAME_LENGTH]!r}, expected a bare name without a folder",
                    stage="index",
                )


class Rows:
    """The rows of each image, in the order of the image ids.

    Attributes:
        image_ids: each image that has a row, sorted.
        rejects: lines that are no row.
    """

    def __init__(self, root: RawPath, name: str) -> None:
        self.rejects: list[Reject] = []
        self._name = name
        self._texts = bytearray()
        self._ends = array("q", [0])
        self._boxes = array("f")
        path = root / name
        try:
            with local_file(path) as local:
                check_file(local, MAX_CSV_BYTES)
                with local.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                    check_content(head)
                    check_text(head)
                with local.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as text:
                    lines = _read_lines(text)
                    names = _read_header(next(lines, ""), path)
                    self._index(lines, names)
        except (OSError, RecordError) as err:
            raise SourceError(f"can't read {path}: {err}{CHECK_SOURCE}") from err

    def of_image(self, index: int) -> tuple[Row, ...]:
        """Return the rows of an image, by its place in `image_ids`, in the order of the file."""
        rows = self._order[self._starts[index] : self._starts[index + 1]]
        return tuple(self._row(row) for row in rows.tolist())

    def _row(self, number: int) -> Row:
        mask_path, label, box_id = (
            self._texts[self._ends[number] : self._ends[number + 1]].decode("utf-8").split("\0")
        )
        x0, y0, x1, y1 = self._boxes[4 * number : 4 * number + 4]
        # Of what is no number neither is true.
        box = (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
        return Row(mask_path, label, box_id, box)

    def mask_names(self) -> set[str]:
        """Return the MaskPath of every row."""
        return {self._row(number).mask_path for number in range(len(self))}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._ends) - 1

    def _index(self, lines: Iterator[str], names: list[str]) -> None:
        columns = [names.index(column) for column in _COLUMNS]
        box_columns = [names.index(column) for column in _BOX_COLUMNS if column in names]
        numbers: dict[str, int] = {}
        image_of_row = array("q")
        for place, line in enumerate(lines, start=2):
            if not line.strip():
                continue
            try:
                fields = _parse_line(line, columns)
            except RecordError as err:
                reason = f"line {place}: {err.reason}"
                self.rejects.append(Reject("openimages", self._name, "index", reason))
                continue
            image_id, *texts = (fields[column] for column in columns)
            image_of_row.append(numbers.setdefault(image_id, len(numbers)))
            self._texts += "\0".join(texts).encode("utf-8")
            self._ends.append(len(self._texts))
            self._boxes.extend(_parse_box(fields, box_columns))
        self.image_ids = sorted(numbers)
        rank = np.empty(len(numbers), np.int64)
        rank[[numbers[image_id] for image_id in self.image_ids]] = np.arange(len(numbers))
        images = rank[np.array(image_of_row, np.int64)]
        self._order = np.argsort(images, kind="stable")
        self._starts = np.searchsorted(images[self._order], np.arange(len(numbers) + 1))


def read_classes(path: RawPath) -> dict[str, str]:
    """Return the display name of each label: lines `/m/0bt9lr,Dog`, without a header. No file gives no names."""
    try:
        if not path.is_file():
            return {}
        text = read_text(path, MAX_CLASSES_BYTES, "backslashreplace")
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, RecordError) as err:
        raise SourceError(f"can't read the class names in {path}: {err}") from err
    except csv.Error as err:
        raise SourceError(f"{path} is no CSV of class names: {err}") from err
    names: dict[str, str] = {}
    for label, name in (row[:2] for row in rows if len(row) >= 2):
        if names.setdefault(label, name) != name:
            raise SourceError(
                f"{path} calls {label!r} both {names[label]!r} and {name!r}: which it is is not known"
            )
    if not names:
        raise SourceError(f"{path} has no line of a label and its name, such as /m/0bt9lr,Dog")
    return names


def _read_lines(file: TextIO) -> Iterator[str]:
    """Yield the lines; of a line over the limit only the beginning, without its line end."""
    while line := file.readline(MAX_LINE_LENGTH):
        yield line
        while len(line) == MAX_LINE_LENGTH and not line.endswith(("\n", "\r")):
            line = file.readline(MAX_LINE_LENGTH)


def _read_header(header: str, path: RawPath) -> list[str]:
    """Return the names of the columns, each of `_COLUMNS` among them."""
    names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(",")]
    if lacking := [column for column in _COLUMNS if column not in names]:
        raise SourceError(
            f"{path} lacks the column {', '.join(lacking)}; its first line is {header[:200]!r}, "
            "expected the header of a segmentation CSV"
        )
    if twice := [column for column in (*_COLUMNS, *_BOX_COLUMNS) if names.count(column) > 1]:
        raise SourceError(f"{path} has the column {twice[0]} twice: which counts is not known")
    return names


def _parse_line(line: str, columns: list[int]) -> list[str]:
    """Return all fields, after a look at those of `_COLUMNS`. Each line is parsed alone: a stray quote can't swallow the lines after it."""
    if len(line) == MAX_LINE_LENGTH or "\0" in line:
        raise RecordError(f"over {MAX_LINE_LENGTH - 1} characters, or a NUL: {line[:60]!r}")
    line = line.rstrip("\r\n")
    try:
        fields = next(csv.reader([line], strict=True)) if '"' in line else line.split(",")
    except csv.Error as err:
        raise RecordError(f"no CSV ({err}): {line[:60]!r}") from err
    if len(fields) <= max(columns):
        raise RecordError(f"{len(fields)} fields, expected at least {max(columns) + 1}: {line[:60]!r}")
    if not _is_bare(image_id := fields[columns[0]]):
        raise RecordError(f"ImageID is {image_id[:MAX_NAME_LENGTH]!r}, expected a bare name without a folder")
    return fields


def _parse_box(fields: list[str], columns: list[int]) -> tuple[float, float, float, float]:
    """Return a box, which is compared and never trusted; not-a-numbers where a column is not there, or holds no number."""
    try:
        x0, y0, x1, y1 = columns
        return float(fields[x0]), float(fields[y0]), float(fields[x1]), float(fields[y1])
    except (ValueError, IndexError):
        return _NO_BOX


def _is_bare(name: str) -> bool:
    """Whether a text is a plain file name: not empty, no folder, no drive, not too long."""
    return (
        0 < len(name.encode("utf-8")) <= MAX_NAME_LENGTH
        and name not in (".", "..")
        and not any(mark in name for mark in "/\\\0")
    )
