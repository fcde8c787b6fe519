"""Worker processes, seen from the trainer's side: how they are started, how each of them ended, and how all are killed.

A fork server (`loader.workers.fork_server`) is started as a new interpreter and forks into all of them once it has imported
what they need: they take the memory, and the processor time, of one start. It is neither forked from the trainer nor
`multiprocessing`-spawned: it shares no lock and no CUDA context with it, the trainer's script needs no
`if __name__ == "__main__"`, and a closed channel ends a worker, so none outlives the trainer but one that waits for a
disk that does not answer. Signals that are sent to every process of a job don't reach them.
"""

import errno
import fcntl
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from ..buffers.slots import MAX_STANDARD, Slots, above_standard, unnamed_file
from ..format.signals import signal_name
from .channel import SocketChannel
from .fork_server import EXIT, KILL_WORKERS
from .handle import Worker
from .worker import Setup

SECONDS_TO_LEARN = 5
"""How a worker ended is told a moment after its end of the channel is closed."""

SECONDS_TO_DIE = 1
"""A process that waits for a disk that is gone does not even die; nobody waits longer for it, and then for the server."""

FOR_THE_TRAINER = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
"""Signals that schedulers and terminals send to all processes of a job. The trainer decides what they mean; a worker that
died of one would end the step that the trainer wants to finish."""

_START = """
import gc, os, pickle, sys
# What modules are made of stays: to look through it while it grows takes a fifth of the start.
gc.disable()
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
sys.path[:], package, folder = pickle.load(sys.stdin.buffer)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
# Not by a search: what else is called so on the path is nobody's here.
outer, _, _ = package.rpartition(".")
sys.modules[outer] = ModuleType(outer)
sys.modules[outer].__path__ = []
spec = spec_from_file_location(package, os.path.join(folder, "__init__.py"))
sys.modules[package] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[package])
from importlib import import_module
server = import_module(package + ".workers.fork_server")
gc.freeze()
gc.enable()
server.main(*map(int, sys.argv[1:]))
"""

_PACKAGE = __name__.removesuffix(".workers.processes")
_FOLDER = Path(__file__).parents[1]

_PRINTED_CHARACTERS = 4000


class ForkServer:
    """The process that forked into the workers and waits for them.

    Args:
        process: its own.
        exits: a connection from which to read how each worker ended.
        printed: the file that it prints to until it has forked.
        stores: what the workers read.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", exits: IO[bytes], printed: IO[bytes], stores: Sequence[str]
    ) -> None:
        self._process = process
        self._exits = exits
        self._poll = select.poll()
        self._poll.register(exits, select.POLLIN)
        self._printed = printed
        self._stores = stores
        # -1 stands for that all are forked.
        self._statuses: dict[int, int] = {}

    def describe_end(self, number: int) -> str:
        """Return how a worker ended by itself, as the end of a sentence."""
        deadline = time.monotonic() + SECONDS_TO_LEARN
        try:
            while number not in self._statuses:
                self._hear(deadline)
        except TimeoutError:
            return describe_status(None, self._stores)
        except EOFError:
            is_known = -1 not in self._statuses and not self._exits.closed
            return self._describe_start() if is_known else describe_status(None, self._stores)
        return describe_status(self._statuses[number], self._stores)

    def _describe_start(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_DIE)
        ended = describe_status(self._process.returncode, self._stores)
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace").strip()
        if not printed:
            return ended
        return f"{ended}, before it could fill anything. It printed:\n{printed[-_PRINTED_CHARACTERS:]}"

    def join(self, seconds: float) -> None:
        """Wait until all workers have ended; those that have not after `seconds` are killed."""
        deadline = time.monotonic() + seconds
        try:
            # Not by `Popen.wait` with a time-out, which only looks every 50 ms.
            while not self._exits.closed:
                self._hear(deadline)
        except EOFError:
            self._wait()
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Have all workers killed, and wait until they are; a server that does not do it is killed itself."""
        if self._exits.closed:
            return
        self._process.send_signal(KILL_WORKERS)
        deadline = time.monotonic() + SECONDS_TO_DIE
        with suppress(EOFError, TimeoutError):
            while True:
                self._hear(deadline)
        self._process.kill()
        self._wait()

    def forget(self) -> None:
        """Let go of what is no child of this process, which must not wait for it."""
        self._process.returncode = 0
        self._close()

    def _hear(self, deadline: float) -> None:
        """Wait until a worker ends.

        Raises:
            EOFError: all have ended, or the server has, or this end is closed.
            TimeoutError: none did.
        """
        left = max(deadline - time.monotonic(), 0)
        if not self._exits.closed and not self._poll.poll(1000 * left):
            raise TimeoutError(f"no worker ended within {left} s")
        # A signal handler may close the loader meanwhile. A record is written in one piece, and so short that it comes as a whole.
        if self._exits.closed or not (record := self._exits.read(EXIT.size)):
            raise EOFError("the fork server has ended")
        number, status = EXIT.unpack(record)
        self._statuses[number] = status

    def _wait(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_DIE)
        self._close()

    def _close(self) -> None:
        self._printed.close()
        self._exits.close()


class ProcessWorker(Worker):
    """A worker that is a process, one of those of a fork server."""

    what = "process"

    def __init__(self, channel: SocketChannel, server: ForkServer, number: int) -> None:
        super().__init__(channel)
        self._server = server
        self._number = number

    def _describe_death(self) -> str:
        return self._server.describe_end(self._number)

    def join(self, seconds: float) -> None:
        """Wait until all processes have ended; those that have not after `seconds` are killed."""
        self._server.join(seconds)

    def kill(self) -> None:
        """Kill it, and the others."""
        self._channel.close()
        self._server.kill()

    def forget(self) -> None:
        """Let go of the processes of the one that this one was forked from."""
        self._server.forget()
        self._channel.close()


def describe_status(status: int | None, stores: Sequence[str]) -> str:
    """Return how a process that read stores ended, by its exit status as `subprocess` has it, as the end of a sentence.

    >>> describe_status(-9, ["coco.zarr"])
    ': killed by SIGKILL; for memory?'
    """
    if status is None:
        return ": how it ended is not known"
    if status >= 0:
        return f": it ended with exit status {status}"
    advice: dict[int, str] = {
        signal.SIGKILL: "; for memory?",
        signal.SIGBUS: f": a file of {' or '.join(stores)} shrank while it was read, or its disk failed. Was it written "
        "over? `resizeonce verify` tells which file it is",
    }
    return f": killed by {signal_name(-status)}{advice.get(-status, '')}"


def start_processes(count: int, setup: Setup, slots: Slots) -> Sequence[Worker]:
    """Start workers that are processes.

    Raises:
        OSError: the system refuses; none is left.
        RuntimeError: Python does not know its own program.
    """
    with ExitStack() as on_failure, ExitStack() as handed_over:

        def hand_over_an_end() -> tuple[int, int]:
            """Return the ends of a new connection, ours and the one that is handed over."""
            ours, theirs = (above_standard(end.detach()) for end in socket.socketpair())
            handed_over.callback(os.close, theirs)
            return ours, theirs

        ours, their_exits = hand_over_an_end()
        exits = on_failure.enter_context(os.fdopen(ours, "rb", buffering=0))
        channels, their_channels = [], []
        for _ in range(count):
            ours, theirs = hand_over_an_end()
            channels.append(SocketChannel(ours))
            their_channels.append(theirs)
            on_failure.callback(channels[-1].close)
        printed = on_failure.enter_context(os.fdopen(unnamed_file(), "w+b"))
        # Where modules are looked for; arguments may not be so long.
        path = handed_over.enter_context(os.fdopen(unnamed_file(), "w+b"))
        pickle.dump((sys.path, _PACKAGE, str(_FOLDER)), path)
        path.seek(0)
        stderr = _stderr()
        handed_over.callback(os.close, stderr)
        process = _popen((slots.descriptor, stderr, their_exits, *their_channels), path, printed)
        stores = list(dict.fromkeys(store.name for store in setup.stores))
        server = ForkServer(process, exits, printed, stores)
        on_failure.callback(server.kill)
        # Or nobody would be told that the other side has closed them.
        handed_over.close()
        for channel in channels:
            with suppress(EOFError):
                # One that is gone already is found when it is asked for a batch.
                channel.send(setup)
        on_failure.pop_all()
    return [ProcessWorker(channel, server, number) for number, channel in enumerate(channels)]


def _stderr() -> int:
    """Return a descriptor of what the trainer's errors are written to; where it has closed that, as a daemon does, of nothing."""
    if sys.__stderr__ is None:
        return above_standard(os.open(os.devnull, os.O_WRONLY))
    try:
        return fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, MAX_STANDARD + 1)
    except OSError as err:
        if err.errno != errno.EBADF:
            raise
        return above_standard(os.open(os.devnull, os.O_WRONLY))


def _popen(handed_over: Sequence[int], path: IO[bytes], printed: IO[bytes]) -> "subprocess.Popen[bytes]":
    if not sys.executable:
        raise RuntimeError(
            "this Python does not know its own program (sys.executable), so no worker process can be started: give "
            'BatchOptions(mode="thread")'
        )
    # A process begins with the mask of the thread that starts it: from its first instruction on, these wait for ever.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_TRAINER)
    try:
        return subprocess.Popen(
            [sys.executable, *interpreter_flags(), "-c", _START, *map(str, handed_over)],
            pass_fds=handed_over,
            # No worker multiplies matrices, and numpy's threads for that would wait for work by turning in circles.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            stdin=path,
            stderr=printed,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def interpreter_flags() -> list[str]:
    """Return the options with which a Python program runs nothing that this one would not.

    Those of this process, as `multiprocessing` hands them on: under `-I` a worker takes nothing from PYTHONPATH either. And
    `-P`, since a module in the folder that happens to be the current one is nobody's here.
    """
    flags = sys.flags
    is_given = {
        "-I": flags.isolated,
        "-E": flags.ignore_environment,
        "-s": flags.no_user_site,
        "-S": flags.no_site,
        "-P": True,
        "-B": flags.dont_write_bytecode,
    }
    found = [option for option, given in is_given.items() if given]
    found += ["-O"] * flags.optimize
    found += [f"-W{warning}" for warning in sys.warnoptions]
    for name, value in sys._xoptions.items():
        found += ["-X", name if value is True else f"{name}={value}"]
    return found
