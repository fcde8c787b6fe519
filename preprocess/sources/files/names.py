"""Names in annotation files as other systems write them.

A file is looked for by its name as it stands. Only where none is there, two differences that change nothing of what is
meant are tried: a backslash for a slash, as Windows has it, and the other form of composed letters, which Macs change
when they unpack an archive. Other differences are only pointed to.
"""

import unicodedata
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ...errors import MissingFileError, RecordError
from .raw_files import RawPath, read_file, resolve_inside

MAX_SPELLINGS = 16
"""How many spellings of a name are tried; each is a request where the dataset is remote."""

_IMAGE_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG")


def read_named(folder: RawPath, *names: str) -> tuple[str, bytes]:
    """Return the name by which a file lies in `folder`, and its bytes.

    It is the first of `names` that is there, or else another spelling of the first of them.

    Raises:
        RecordError: as `resolve_inside` and `read_file` do; of a missing file, what may be wrong with its name.
    """
    missing: list[MissingFileError] = []
    for name in dict.fromkeys(names):
        try:
            return name, read_file(resolve_inside(folder, name))
        except MissingFileError as err:
            missing.append(err)
    for spelling in _spellings(names[0]):
        if _is_there(folder, spelling):
            return spelling, read_file(resolve_inside(folder, spelling))
    looked_for = f", looked for as {', '.join(dict.fromkeys(names))}" if len(missing) > 1 else ""
    raise MissingFileError(f"{missing[0].reason}{looked_for}{_advise(folder, names[0])}") from missing[0]


def _spellings(name: str) -> Iterator[str]:
    r"""Yield other spellings of a name, but not itself.

    >>> list(_spellings("images\\000.jpg"))
    ['images/000.jpg']
    """
    plain = [name, name.replace("\\", "/")]
    tried = {name}
    for path in plain:
        forms = [
            dict.fromkeys((part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)))
            for part in path.split("/")
        ]
        for parts in islice(product(*forms), MAX_SPELLINGS):
            spelling = "/".join(parts)
            if spelling not in tried:
                tried.add(spelling)
                yield spelling


def _is_there(folder: RawPath, name: str) -> bool:
    """Whether a file of this name lies in a folder."""
    try:
        return resolve_inside(folder, name).is_file()
    except (OSError, RecordError):
        return False


def _advise(folder: RawPath, name: str) -> str:
    """Return what is odd about the name of a file that is not there, to be put behind a reason; "" for nothing.

    Files of similar names are looked for on this machine's disks only: elsewhere each look is a request.
    """
    advice = ""
    slashed = name.replace("\\", "/")
    if "://" in name:
        advice = ": the name is an address; download the picture, and give the name of its file"
    elif slashed != name:
        advice = f": the name holds a backslash, as paths of Windows do, and {slashed!r} is not there either"
    if not isinstance(folder, Path):
        return advice
    path = PurePosixPath(slashed)
    plain = unquote(name)
    others = [str(path.with_suffix(suffix)) for suffix in _IMAGE_SUFFIXES] if path.name else []
    similar = {plain: "with percent-encoding undone", path.name: "without the folders before it"}
    similar |= dict.fromkeys(
        (*others, name.lower(), name.upper()), "with another ending or in other letter case"
    )
    for other, difference in similar.items():
        if other != name and _is_there(folder, other):
            return f"{advice}; {other!r} is there, {difference}"
    return advice
