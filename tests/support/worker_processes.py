"""The worker processes that this process has started."""

from pathlib import Path


def children() -> list[int]:
    """Return the ids of the processes that fill batches for this one."""
    threads = Path("/proc/self/task").glob("*/children")
    pids = [int(pid) for thread in threads for pid in thread.read_text().split()]
    return [pid for pid in pids if ".workers.worker" in Path(f"/proc/{pid}/cmdline").read_text()]
