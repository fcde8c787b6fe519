"""What lies in a dataset's folders and is not read: counted by its kind, with the first name of each."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from preprocess.records import Skip

SYSTEM_FILE = "file of macOS or Windows, no data"

ARCHIVE = "archive or compressed file, not read: unpack it"

UNFINISHED = "unfinished download, not read"

_UNFINISHED_SUFFIXES = (".part", ".partial", ".crdownload", ".aria2", ".download", ".incomplete", ".filepart")

ARCHIVE_SUFFIXES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
    ".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst",
)  # fmt: skip

SAME_FILE = "image with the same file as an earlier one; both are kept"
"""Counted although nothing is left out: it may be one picture twice, or the wrong one of two."""

_EXAMPLE = ", such as "


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is one that an operating system puts beside data, and an archive takes along.

    >>> is_system_file("._00000.png"), is_system_file("00000.png")
    (True, False)
    """
    return name.startswith("._") or name.lower() in ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")


def archive_stem(name: str) -> str:
    """Return an archive's name without its ending, "" of a file that is none.

    >>> archive_stem("sa_000001.tar.gz")
    'sa_000001'
    """
    suffix = max((end for end in ARCHIVE_SUFFIXES if name.lower().endswith(end)), key=len, default="")
    return name[: -len(suffix)] if suffix else ""


def suffix_of(name: str) -> str:
    """Return the ending of a name, in small letters.

    >>> suffix_of("clips/A.MOV")
    '.mov'
    """
    return PurePosixPath(name).suffix.lower()


class LeftOut:
    """Counts files by what they are.

    Args:
        kind_of: says what a file of this name is, for a person to act on; "" where it is nothing of the dataset.
    """

    def __init__(self, kind_of: Callable[[str], str]) -> None:
        self._kind_of = kind_of
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def look_at(self, name: str, path: str) -> bool:
        """Count a file that is not read, if it is anything worth saying; return whether it was."""
        if is_system_file(name):
            kind = SYSTEM_FILE
        else:
            kind = UNFINISHED if name.lower().endswith(_UNFINISHED_SUFFIXES) else self._kind_of(name)
        if kind:
            self.add(kind, path)
        return bool(kind)

    def look_at_folder(self, name: str, path: str) -> bool:
        """Count a folder if it is one of an operating system; return whether it was."""
        if is_system_file(name):
            self.add(SYSTEM_FILE, path)
        return is_system_file(name)

    def add(self, kind: str, path: str, count: int = 1) -> None:
        """Count something that was found at `path`."""
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


def without_example(reason: str) -> str:
    """Return the constant part of a skip's reason."""
    return reason.partition(_EXAMPLE)[0]
