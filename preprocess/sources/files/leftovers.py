"""What lies in a dataset's folders and is not read: counted by its kind, with the first name of each."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from ..records import Skip, encodable

SYSTEM_FILE = "file of macOS or Windows, no data"

CHECKPOINTS = ".ipynb_checkpoints"
"""The folder in which Jupyter keeps old copies of what was edited beside it."""

COPIES = f"{CHECKPOINTS}, old copies by Jupyter, no data"

LOST_FOUND = "lost+found, a folder of the disk's own, no data"
"""At the top of a disk; its owner alone may list it."""

ARCHIVE = "archive or compressed file, not read: unpack it"

UNFINISHED = "unfinished download, not read"

SPLIT = "numbered part or copy of a file, not read: join parts in order (cat)"

TABLE = "table or list in a format that this dataset does not come in, not read"

_UNFINISHED_SUFFIXES = (
    ".part", ".partial", ".crdownload", ".aria2", ".download", ".incomplete", ".filepart", ".tmp",
)  # fmt: skip

_RSYNC = re.compile(r"\..+\.[a-z0-9]{2,5}\.[a-z0-9]{6}", re.ASCII | re.IGNORECASE)
"""As rsync calls a file while it is copied: .sa_000001.tar.Ab12cd."""

_SPLIT = re.compile(
    r".+\.(tar|tgz|gz|bz2|xz|zst|lz4|zip|7z|rar|jpe?g|png|webp|mp4|mov|json|csv|npz|npy)\.[0-9]{1,4}",
    re.ASCII | re.IGNORECASE,
)
"""As split and zip call parts, and wget a file that was there before."""

_COPY = re.compile(r" ?\([0-9]{1,3}\)$", re.ASCII)
"""What a browser puts behind the name of a file that was there before."""

ARCHIVE_SUFFIXES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
    ".tar.lz4", ".tar.lzma", ".zip", ".7z", ".rar",
    ".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma",
)  # fmt: skip

SAME_FILE = "image with the same file as an earlier one; both are kept"
"""Counted although nothing is left out: it may be one picture twice, or the wrong one of two."""

NOTE = "noted: "
"""What reasons begin with of which nothing is left out: they say what was taken for granted."""

SCALED_MASK = f"{NOTE}mask in another size than its image, which can be one picture with it"

_EXAMPLE = ", such as "


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is one that an operating system puts beside data, and an archive takes along.

    >>> is_system_file("._00000.png"), is_system_file("00000.png")
    (True, False)
    """
    return name.startswith("._") or name.lower() in ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")


def kind_of_program(name: str) -> str:
    """Return what a file or folder is that a system, a disk or Jupyter puts beside data by itself; "" of any other."""
    if is_system_file(name):
        return SYSTEM_FILE
    return {CHECKPOINTS: COPIES, "lost+found": LOST_FOUND}.get(name, "")


def archive_stem(name: str) -> str:
    """Return an archive's name without its ending, "" of a file that is none.

    >>> archive_stem("sa_000001.tar.gz")
    'sa_000001'
    >>> archive_stem("sa_000001.tar.00"), archive_stem("sa_000001.tar (1)")
    ('sa_000001', 'sa_000001')
    """
    plain = _COPY.sub("", name.removesuffix(split_number(name)))
    suffix = max((end for end in ARCHIVE_SUFFIXES if plain.lower().endswith(end)), key=len, default="")
    return plain[: -len(suffix)] if suffix else ""


def split_number(name: str) -> str:
    """Return the number at the end of the name of a part or copy of a file, "" of any other.

    >>> split_number("sav_000.tar.001"), split_number("sa_1.jpg")
    ('.001', '')
    """
    return PurePosixPath(name).suffix if _SPLIT.fullmatch(name) else ""


def kind_anywhere(name: str) -> str:
    """Return what a file is that no dataset holds, whatever its place; "" of any other."""
    if kind := kind_of_program(name):
        return kind
    if name.lower().endswith(_UNFINISHED_SUFFIXES) or _RSYNC.fullmatch(name):
        return UNFINISHED
    if archive_stem(name):
        return ARCHIVE
    if split_number(name):
        return SPLIT
    return TABLE if suffix_of(name) in (".jsonl", ".parquet") else ""


def suffix_of(name: str) -> str:
    """Return the ending of a name, in small letters.

    >>> suffix_of("clips/A.MOV")
    '.mov'
    """
    return PurePosixPath(name).suffix.lower()


class LeftOut:
    """Counts files by what they are.

    Args:
        kinds: what a file is whose name ends so, in small letters, for a person to act on.
        other: what any other one is; "" where it is nothing of the dataset.
    """

    def __init__(self, kinds: Mapping[str, str] = MappingProxyType({}), other: str = "") -> None:
        self._kinds = kinds
        self._other = other
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def look_at(self, name: str, path: str) -> bool:
        """Count a file that is not read, if it is anything worth saying; return whether it was."""
        kind = kind_anywhere(name)
        if kind not in (SYSTEM_FILE, UNFINISHED):
            kind = self._kinds.get(suffix_of(name), self._other) or kind
        if kind:
            self.add(kind, path)
        return bool(kind)

    def look_at_folder(self, name: str, path: str) -> bool:
        """Count a folder, or a file, if a system, a disk or Jupyter puts it beside data; return whether it was."""
        if kind := kind_of_program(name):
            self.add(kind, path)
        return bool(kind)

    def add(self, kind: str, path: str, count: int = 1) -> None:
        """Count something that was found at `path`."""
        path = encodable(path)
        self._counts[kind] += count
        self._first[kind] = min(path, self._first.get(kind, path))

    @property
    def skips(self) -> tuple[Skip, ...]:
        """What was counted; all but the files of operating systems with an example."""
        return tuple(
            Skip(kind if kind == SYSTEM_FILE else f"{kind}{_EXAMPLE}{self._first[kind]}", count)
            for kind, count in sorted(self._counts.items())
        )


def describe_skips(skips: Iterable[Skip]) -> str:
    """Return what was counted in words, to be put behind a message that nothing usable was found."""
    found = "; ".join(f"{skip.count} x {skip.reason}" for skip in skips)
    return f" ({found})" if found else ""


def split_example(reason: str) -> tuple[str, str]:
    """Return the constant part of a skip's reason, and the example that it names, "" where it names none."""
    kind, _, example = reason.partition(_EXAMPLE)
    return kind, example
