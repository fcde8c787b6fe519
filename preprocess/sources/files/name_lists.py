"""Lists of names in text files, a name a line, as `train.txt` and the lists of videos of many datasets are."""

from ....loader.format.errors import SourceError
from ...errors import RecordError
from .contents import check_text
from .raw_files import RawPath, read_file

MAX_LIST_BYTES = 1 << 24
"""Largest list that is read."""


def read_names(root: RawPath, name: str, option: str) -> list[str]:
    """Return the names that `root / name` lists, each once, in its order; blank lines are passed over.

    Args:
        root: the dataset's root.
        name: the list, relative to it.
        option: what the config calls it.

    Raises:
        SourceError: the list can't be read.
    """
    try:
        content = read_file(root / name, MAX_LIST_BYTES)
        check_text(content)
        lines = content.decode("utf-8-sig").splitlines()
    except (RecordError, UnicodeDecodeError) as err:
        raise SourceError(f"can't read {root / name}: {err}; check --root and {option}") from err
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
