"""The fork server: an interpreter that forks into all workers, waits for them, and tells the trainer how each of them ended.

It is the worker processes' parent, and imports no torch. `loader.workers.processes` is the trainer's side of it.
"""

import os
import resource
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress

from ..format.limits import describe_limit
from .channel import SocketChannel
from .worker import work

EXIT = struct.Struct("<ii")
"""What the trainer is told of a worker that ended: its number, and its exit status as `subprocess` has it."""

ALL_FORKED = EXIT.pack(-1, 0)
"""What it is told first."""

KILL_WORKERS = signal.SIGALRM
"""The signal by which the trainer has all workers killed: they are the server's children, which alone knows that their numbers
are still theirs. Before it has any it ends the server."""


def main(slots: int, stderr: int, exits: int, *channels: int) -> None:
    """Fork into a worker for each channel, and wait for them; arguments are descriptors.

    What is printed before goes to a file: it tells the trainer why workers could not start.
    """
    _prepare()
    workers: dict[int, int] = {}
    signal.signal(KILL_WORKERS, lambda *_: _kill(list(workers)))
    for number, channel in enumerate(channels):
        try:
            process = os.fork()
        except OSError as err:
            raise SystemExit(f"worker {number} can't be started: {describe_limit(err) or err}") from err
        if not process:
            signal.signal(KILL_WORKERS, signal.SIG_DFL)
            os.dup2(stderr, 2)
            # Whoever else held the end of a channel would keep its other end from being told that this one is closed.
            for other in (stderr, exits, *channels[number + 1 :]):
                os.close(other)
            work(SocketChannel(channel), slots)
            break
        os.close(channel)
        workers[process] = number
    else:
        os.close(slots)
        _print_to(stderr)
        # The trainer may be gone.
        with suppress(ConnectionError):
            _report(workers, exits)
    _end()


def _prepare() -> None:
    """Set what workers inherit."""
    # Each mapped file keeps a descriptor open, and systems that allow half a million begin with 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if hasattr(os, "SCHED_BATCH"):
        # A worker that wakes up waits for a free core rather than take that of the trainer's thread from it.
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # Where the trainer ignores it, no child of this process could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {KILL_WORKERS})
    # Or each worker would write it once more.
    _flush()


def _kill(processes: Sequence[int]) -> None:
    for process in processes:
        # Until it was waited for, its number is that of no other process.
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _report(workers: dict[int, int], exits: int) -> None:
    """Wait for the workers, and tell of each how it ended."""
    os.write(exits, ALL_FORKED)
    while workers:
        process, status = os.wait()
        number = workers.pop(process, None)
        # What ran at Python's start may have left a child as well.
        if number is not None:
            os.write(exits, EXIT.pack(number, os.waitstatus_to_exitcode(status)))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()


def _end() -> None:
    """End at once: Python's own end takes its modules apart, and would copy the memory that workers share for that."""
    _flush()
    os._exit(0)


def _print_to(descriptor: int) -> None:
    """Print there from now on, and there first what was printed until now, into a file."""
    printed = os.pread(2, os.fstat(2).st_size, 0)
    os.ftruncate(2, 0)
    os.dup2(descriptor, 2)
    # Who reads it may be gone.
    with suppress(OSError):
        os.write(2, printed)
    os.close(descriptor)
