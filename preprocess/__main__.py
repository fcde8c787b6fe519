"""The command line's entry: `resizeonce`, and `python -m resizeonce.preprocess`."""

import os
import sys

from ..loader.format.errors import PreprocessError
from .shortage import ADVICE, is_shortage
from .signals import exit_code, raise_on_termination


def run() -> None:
    """Run the command line; Ctrl-C and a lack of memory end it without a traceback, also while modules are being imported."""
    raise_on_termination()
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
        if not is_shortage(err):
            raise
        print(
            f"error: memory ran out ({str(err) or type(err).__name__}): {ADVICE}", file=sys.stderr, flush=True
        )
        # What libraries do at the end, such as starting a thread to wait for it, would fail again, or wait for ever.
        os._exit(1)


if __name__ == "__main__":
    run()
