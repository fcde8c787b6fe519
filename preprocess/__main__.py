"""The command line's entry: `resizeonce`, and `python -m resizeonce.preprocess`."""

import errno
import io
import os
import sys
from pathlib import Path

from ..loader.format.errors import PreprocessError
from .shortage import ADVICE, is_shortage
from .signals import exit_code, raise_on_termination

_UNPRINTED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system answers to what is printed into a file on a full disk, or to a terminal that is gone."""


def run() -> None:
    """Run the command line; Ctrl-C, a lack of memory and a full disk end it without a traceback, also while modules are imported."""
    _open_standard_files()
    raise_on_termination()
    try:
        Path.cwd()
    except OSError as err:
        print(
            f"error: the current folder can't be found ({err.strerror}): it was removed, perhaps; change to one that is there",
            file=sys.stderr,
        )
        sys.exit(1)
    try:
        from .cli import main

        main(prog_name="resizeonce")
    except KeyboardInterrupt as err:
        sys.exit(exit_code(err))
    except PreprocessError as err:
        # Commands report their own: this is RESIZEONCE_CORE, met where a module loads its core.
        print(f"error: {err}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, OSError, RuntimeError, ImportError) as err:
        if is_shortage(err):
            reason = f"memory ran out ({str(err) or type(err).__name__}): {ADVICE}"
        elif isinstance(err, OSError) and err.errno in _UNPRINTED and err.filename is None:
            # What concerns a file of a store or a dataset was reported before, with its name.
            reason = (
                f"can't print: {err.strerror}; see where the output of this command goes, then give it again"
            )
        else:
            raise
        print(f"error: {reason}", file=sys.stderr, flush=True)
        # What is done at the end would fail again, or wait for ever: printing the rest, starting a thread to wait for it.
        os._exit(1)
    finally:
        _drop_unsaid()


def _drop_unsaid() -> None:
    """Drop what could not be written to stderr, as to a full disk: Python would try again as it ends, and exit with 120."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _open_standard_files() -> None:
    """Make the three standard files fit to be printed to; those that are closed lead nowhere, in workers, too.

    Else the next file that is opened, such as one of rows, gets the number, and what a library prints goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As Python does on stderr: names and classes may have letters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    run()
