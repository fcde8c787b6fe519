"""The worker processes that this process has started."""

from contextlib import suppress
from pathlib import Path


def children(process: int | str = "self") -> list[int]:
    """Return the ids of the processes that fill batches for this one; until it has forked into them, of what is going to."""
    found = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        # A thread, or a process, may end at any moment.
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in map(int, thread.read_text().split()):
                with suppress(FileNotFoundError, ProcessLookupError):
                    if ".workers.fork_server" in Path(f"/proc/{pid}/cmdline").read_text():
                        found += children(pid) or [pid]
    return found
