"""The exception tree of both packages: its base, and what is wrong with a store or a URL. `preprocess.errors` has the others.

::

    PreprocessError              anything this project reports on purpose
    ├── ConfigError              a config file or an option is wrong
    ├── SourceError              a raw dataset can't be opened at all
    │   └── ConnectionLostError  a remote one could be, and no longer answers
    ├── RecordError              one record is bad: it becomes a reject, the run goes on
    │   ├── DecodeError          a raw file can't be decoded to what it should hold
    │   │   └── MisfitError      a picture is not of the size that its annotation describes
    │   ├── MissingFileError     a raw file that a record names is not there
    │   └── SegmentationError    a mask as written can't be a mask
    └── StoreError               a store is missing, incomplete, damaged or another one
        ├── DamageError          its bytes are not those that were written
        └── FormatVersionError   a store of a format this version does not read

Only the command line reports `PreprocessError` to a user.
"""


class PreprocessError(Exception):
    """Base of every error this project raises on purpose; the message says what to do."""


class SourceError(PreprocessError):
    """Raised when a raw dataset can't be opened: a root, an index or a whole annotation file."""


class ConnectionLostError(SourceError):
    """Raised when a remote dataset stops answering: it ends the run, and the same command goes on where it stopped."""


class StoreError(PreprocessError):
    """Raised when a store is missing, incomplete, damaged, or not the one a command made."""


class DamageError(StoreError):
    """Raised when bytes of a part are not those that were written, or are gone.

    What can't be fetched, opened or mapped for now is no damage.

    Attributes:
        finding: which file, and what is wrong with it.
    """

    def __init__(self, finding: str) -> None:
        super().__init__(finding)
        self.finding = finding

    def __str__(self) -> str:
        return f"{self.finding}; run `resizeonce verify` on the store, then convert the part again"


class FormatVersionError(StoreError):
    """Raised when a store was written in a format version this one does not read."""
