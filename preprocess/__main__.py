"""The command line's entry: `resizeonce`, and `python -m preprocess`."""

import sys

from preprocess.interrupts import exit_code, raise_on_termination


def run() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while its modules are still being imported."""
    raise_on_termination()
    try:
        from preprocess.cli import main

        main(prog_name="resizeonce")
    except KeyboardInterrupt as err:
        sys.exit(exit_code(err))


if __name__ == "__main__":
    run()
