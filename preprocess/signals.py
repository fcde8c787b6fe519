"""Ctrl-C, and SIGTERM, by which schedulers pre-empt a job: both end a run in order."""

import signal


class TerminatedError(KeyboardInterrupt):
    """Raised in the main thread when the process is asked to end by SIGTERM."""


def raise_on_termination() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that it removes what is half written."""
    signal.signal(signal.SIGTERM, _raise)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the shell's exit code for a process that a signal ended."""
    return 128 + (signal.SIGTERM if isinstance(error, TerminatedError) else signal.SIGINT)


def _raise(*_: object) -> None:
    raise TerminatedError
