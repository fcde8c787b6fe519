"""Where this project keeps what it can make again."""

import os
from pathlib import Path


def user_cache() -> Path:
    """Return `$XDG_CACHE_HOME/resizeonce`, or `~/.cache/resizeonce`.

    Raises:
        RuntimeError: there is neither, as in some containers.
    """
    return (Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resizeonce").expanduser()
