"""Whether the raw dataset is still there: when its disk is taken away, every file of it seems to be missing.

Files that can't be read are rejects, and a run goes on without them. A mount that vanished must not be mistaken for
a million of those.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...loader.format.errors import SourceError
from ..sources.files.raw_files import RawPath

MAX_WITNESSES = 16


@dataclass(frozen=True, slots=True)
class RawDataGuard:
    """Some names below a dataset's root that were there when it was opened."""

    root: RawPath
    witnesses: tuple[Path, ...]

    @classmethod
    def of(cls, root: RawPath) -> "RawDataGuard":
        """Take down a few names: of the root's entries, and the first of what lies in each that can be listed.

        Of a remote root none: there a server that is gone is not mistaken for a file that is.
        """
        if not isinstance(root, Path):
            return cls(root, ())
        try:
            entries = _some_entries(root, MAX_WITNESSES)
        except OSError as err:
            raise SourceError(f"can't read {root}: {err.strerror}; check --root") from err
        inner = []
        for entry in entries:
            # It may have nothing to do with the dataset; whoever needs it says so.
            with suppress(OSError):
                inner += _some_entries(entry, 1)
        return cls(root, (*entries, *inner))

    def check(self) -> None:
        """Raise `SourceError` if one of them is gone."""
        for witness in self.witnesses:
            if not os.path.lexists(witness):
                raise SourceError(
                    f"{witness} was there and is gone: is {self.root} still mounted? What could not be read was not "
                    "listed as rejected; run the same command again to go on with it"
                )


def _some_entries(folder: Path, count: int) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in islice(entries, count)]
