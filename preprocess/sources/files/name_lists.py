"""Lists of names in text files, a name a line, as `train.txt` and the lists of videos of many datasets are."""

from collections.abc import Container
from pathlib import Path

from ....loader.format.errors import SourceError
from ...errors import RecordError
from ..records import Reject
from .raw_files import RawPath, read_text

MAX_LIST_BYTES = 1 << 24
"""Largest list that is read."""


def read_names(root: RawPath, name: str, option: str) -> list[str]:
    """Return the names that `root / name` lists, each once, in its order; blank lines are passed over. `option` is the config's."""
    try:
        lines = read_text(root / name, MAX_LIST_BYTES).splitlines()
    except (RecordError, UnicodeDecodeError) as err:
        raise SourceError(f"can't read {root / name}: {err}; check --root and {option}") from err
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def read_video_ids(
    root: RawPath, name: str, prefix: str, known: Container[str] = ()
) -> tuple[list[str], list[Reject]]:
    """Return the video ids that `root / name` lists, and what can be none: an id is the name of a folder.

    Args:
        root: the dataset's root.
        name: the list, relative to it: ids with space between them, or with a "/" behind each.
        prefix: keys of rejects begin with it.
        known: ids in which there may be spaces, where they are a line of the list.
    """
    lines = read_names(root, name, "video_list")
    listed = (word for line in lines for word in ([line] if line.rstrip("/") in known else line.split()))
    words = (word.rstrip("/") or word for word in listed)
    video_ids, rejects = [], []
    for word in dict.fromkeys(words):
        if word == ".." or Path(word).name != word:
            reason = f"{word!r} is no video id: expected the name of a folder"
            rejects.append(Reject(f"{prefix}/{word}", name, "index", reason))
        else:
            video_ids.append(word)
    return video_ids, rejects
