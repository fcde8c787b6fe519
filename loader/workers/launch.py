"""Workers, seen from the trainer's side: how they are started, asked, waited for and ended.

A process is started as a new interpreter, neither forked nor `multiprocessing`-spawned: it shares no lock and no CUDA
context with the trainer, the trainer's script needs no `if __name__ == "__main__"`, and a closed channel ends it,
so it never outlives the trainer. Signals that are sent to every process of a job don't reach it.
"""

import errno
import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from ..buffers.slots import MAX_STANDARD, Slots, above_standard, unnamed_file
from ..format.limits import describe_limit
from ..format.signals import signal_name
from .channel import Channel, QueueChannel, SocketChannel
from .worker import Reply, Setup, Task, serve

SECONDS_TO_END = 5
"""Workers that don't end by themselves are killed then."""

SECONDS_TO_DIE = 1
"""A process that waits for a disk that is gone does not even die; nobody waits longer for it."""

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
worker = import_module(package + ".workers.worker")
gc.freeze()
gc.enable()
worker.main(*map(int, sys.argv[1:]))
"""

_PACKAGE = __name__.removesuffix(".workers.launch")
_FOLDER = Path(__file__).parents[1]

_PRINTED_CHARACTERS = 4000

TASK_BYTES, SAMPLE_BYTES = 1 << 10, 40
"""What a task, and each of its samples, takes at most in the buffer of a socket."""

MOST_SENT_BYTES = 1 << 16
"""Sent to a worker and not answered yet: less than that buffer has room for."""


class Worker(ABC):
    """One worker, asked and heard by a channel."""

    what: str
    """"process" or "thread"."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # How much was sent for each batch that was asked for and is not filled yet.
        self._sent_bytes: deque[int] = deque()
        self._arrived: deque[Reply] = deque()

    def send(self, task: Task, timeout: float | None = None) -> None:
        """Ask for a batch; before that, wait for others where not so much may be under way.

        Raises:
            RuntimeError: the worker is gone, or has not filled a batch within `timeout` seconds.
        """
        size = TASK_BYTES + SAMPLE_BYTES * len(task.picks)
        # A worker that waits for its reply to be received reads nothing meanwhile: both would wait for ever.
        while self._sent_bytes and sum(self._sent_bytes) + size > MOST_SENT_BYTES:
            self._arrived.append(self._take(timeout))
        try:
            self._channel.send(task)
        except EOFError as err:
            raise self._gone() from err
        self._sent_bytes.append(size)

    def count_unfinished(self) -> int:
        """Return how many of the batches that were asked for are not filled yet.

        Raises:
            RuntimeError: the worker is gone.
        """
        while self._sent_bytes and self._channel.has_message():
            self._arrived.append(self._take(None))
        return len(self._sent_bytes)

    def receive(self, timeout: float | None = None) -> Reply:
        """Wait for the next batch that was asked for, for at most `timeout` seconds where that is given.

        Raises:
            RuntimeError: the worker is gone, or the time is over.
        """
        return self._arrived.popleft() if self._arrived else self._take(timeout)

    def _take(self, timeout: float | None) -> Reply:
        try:
            reply: Reply = self._channel.receive(timeout)
        except EOFError as err:
            raise self._gone() from err
        except TimeoutError as err:
            raise RuntimeError(
                f"the BatchLoader timed out: a worker {self.what} has not filled a batch within {timeout} s; does it wait for "
                "a disk or a server that does not answer?"
            ) from err
        self._sent_bytes.popleft()
        return reply

    def ask_to_end(self) -> None:
        """Let the worker end, when it has filled what it fills now."""
        # Closing alone would not reach it where a process that was forked meanwhile holds the socket, too.
        with suppress(EOFError):
            self._channel.send(None)
        self._channel.close()

    @abstractmethod
    def join(self, seconds: float) -> None:
        """Wait until the worker has ended; a process that has not after `seconds` is killed."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, as far as that can be done."""

    @abstractmethod
    def forget(self) -> None:
        """Let go of the worker of the process that this one was forked from, without a word to it."""

    def _gone(self) -> RuntimeError:
        return RuntimeError(f"a worker {self.what} of the BatchLoader died{self._describe_death()}")

    def _describe_death(self) -> str:
        """Return how the worker ended by itself, as the end of a sentence."""
        return ""


class _ProcessWorker(Worker):
    """A worker that is a process; `printed` is the file that it prints to until it is ready, `stores` what it reads."""

    what = "process"

    def __init__(
        self,
        channel: Channel,
        process: "subprocess.Popen[bytes]",
        printed: IO[bytes],
        stores: Sequence[str],
    ) -> None:
        super().__init__(channel)
        self._process = process
        self._printed = printed
        self._stores = stores

    def _describe_death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            # Its end of the channel is closed a moment before.
            self._process.wait(SECONDS_TO_END)
        ended = describe_status(self._process.returncode, self._stores)
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace").strip()
        if not printed:
            return ended
        return f"{ended}, before it could fill anything. It printed:\n{printed[-_PRINTED_CHARACTERS:]}"

    def join(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._printed.close()

    def kill(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_DIE)
        self._printed.close()

    def forget(self) -> None:
        # It is no child of this process, which must not wait for it.
        self._process.returncode = 0
        self._printed.close()
        self._channel.close()


class _ThreadWorker(Worker):
    """A worker that is a thread."""

    what = "thread"

    def __init__(self, channel: Channel, thread: threading.Thread) -> None:
        super().__init__(channel)
        self._thread = thread

    def join(self, seconds: float) -> None:
        # A loader may be collected in a worker of its own.
        if self._thread is not threading.current_thread():
            # One that waits for a disk can't be killed: it goes on, with memory that nobody uses any more.
            self._thread.join(seconds)

    def kill(self) -> None:
        """Leave the thread: its closed channel ends it, once it is done with what it fills."""

    def forget(self) -> None:
        """Let go of nothing: a process that was forked has no such thread."""


def describe_status(status: int | None, stores: Sequence[str]) -> str:
    """Return how a process that read stores ended, by its exit status as `subprocess` has it, as the end of a sentence.

    >>> describe_status(-9, ["coco.zarr"])
    ': killed by SIGKILL; for memory?'
    """
    if status is None:
        return ": it closed its end, and did not end itself"
    if status >= 0:
        return f": it ended with exit status {status}"
    advice: dict[int, str] = {
        signal.SIGKILL: "; for memory?",
        signal.SIGBUS: f": a file of {' or '.join(stores)} shrank while it was read, or its disk failed. Was it written "
        "over? `resizeonce verify` tells which file it is",
    }
    return f": killed by {signal_name(-status)}{advice.get(-status, '')}"


def start_workers(count: int, mode: str, setup: Setup, slots: Slots) -> Sequence[Worker]:
    """Start workers of one kind.

    Raises:
        RuntimeError: the system refuses; none is left.
    """
    start = _start_process if mode == "process" else _start_thread
    workers: list[Worker] = []
    try:
        workers.extend(start(setup, slots) for _ in range(count))
    except BaseException as err:
        end_workers(workers)
        if isinstance(err, OSError):
            raise RuntimeError(
                f"a worker process of the BatchLoader can't be started: {describe_limit(err) or err}"
            ) from err
        raise
    return workers


def end_workers(workers: Sequence[Worker]) -> None:
    """End workers side by side; where that is interrupted, by a second Ctrl-C, none is left either."""
    try:
        for worker in workers:
            worker.ask_to_end()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0))
    except BaseException:
        for worker in workers:
            worker.kill()
        raise


def _start_process(setup: Setup, slots: Slots) -> Worker:
    with ExitStack() as on_failure, ExitStack() as handed_over:
        ours, theirs = (above_standard(end.detach()) for end in socket.socketpair())
        on_failure.callback(os.close, ours)
        handed_over.callback(os.close, theirs)
        printed = on_failure.enter_context(os.fdopen(unnamed_file(), "w+b"))
        # Where modules are looked for; arguments may not be so long.
        path = handed_over.enter_context(os.fdopen(unnamed_file(), "w+b"))
        pickle.dump((sys.path, _PACKAGE, str(_FOLDER)), path)
        path.seek(0)
        stderr = _stderr()
        handed_over.callback(os.close, stderr)
        process = _popen((theirs, slots.descriptor, stderr), path, printed)
        on_failure.pop_all()
    channel = SocketChannel(ours)
    with suppress(EOFError):
        # One that is gone already is found when it is asked for a batch.
        channel.send(setup)
    return _ProcessWorker(
        channel, process, printed, list(dict.fromkeys(store.name for store in setup.stores))
    )


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


def _start_thread(setup: Setup, slots: Slots) -> Worker:
    """Start a thread that fills slots, with stores of its own: an open store is not shared between threads."""
    ours, theirs = QueueChannel.pair()
    own: Setup = pickle.loads(pickle.dumps(setup))

    def run() -> None:
        try:
            serve(theirs, own, slots)
        finally:
            theirs.close()

    thread = threading.Thread(target=run, name="BatchLoader", daemon=True)
    try:
        thread.start()
    except BaseException:
        # It may run already, and would wait for ever.
        ours.close()
        raise
    return _ThreadWorker(ours, thread)
