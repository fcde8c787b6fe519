"""Ctrl-C, SIGTERM, by which schedulers pre-empt a job, and SIGHUP, of a terminal that is closed: all end a run in order."""

import signal
from types import FrameType


class TerminatedError(KeyboardInterrupt):
    """Raised in the main thread when the process is asked to end by another signal than that of Ctrl-C.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def raise_on_termination() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, so that it removes what is half written."""
    signal.signal(signal.SIGTERM, _raise)
    # Under nohup it is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _raise)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the shell's exit code for a process that a signal ended."""
    return 128 + (error.number if isinstance(error, TerminatedError) else signal.SIGINT)


def _raise(number: int, _: FrameType | None) -> None:
    raise TerminatedError(number)
