"""What is wrong with a config or a record; `loader.format.errors` has the base of the tree and what is wrong with a store.

`RecordError` is turned into a `Reject` where records are read.
"""

from ..loader.format.errors import PreprocessError


class ConfigError(PreprocessError):
    """Raised when a config file, a key in it or an option can't be used."""


class EngineError(PreprocessError):
    """Raised when an engine, or an arithmetic of it, can't be had on this machine."""


class WorkerError(PreprocessError):
    """Raised when worker processes can't be started or are lost."""


class RecordError(PreprocessError):
    """Raised when one image, mask or pair can't be used.

    `stage` names the step that found out: "index", "read", "decode", "mask" or "pair".
    """

    def __init__(self, reason: str, stage: str = "read") -> None:
        super().__init__(reason)
        self.reason = reason
        self.stage = stage


class DecodeError(RecordError):
    """Raised when a raw file can't be decoded to the pixels or records that it should hold."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, stage="decode")


class MisfitError(DecodeError):
    """Raised when a picture is not of the size that its annotation describes."""


class MissingFileError(RecordError):
    """Raised when there is no raw file of the name that a record gives."""


class SegmentationError(RecordError):
    """Raised when a segmentation can't be turned into a mask."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, stage="mask")
