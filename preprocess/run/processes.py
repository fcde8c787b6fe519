"""An executor of spawned processes that outlives them: one that dies or stalls is replaced, and its task begun again.

`concurrent.futures.ProcessPoolExecutor` gives up all tasks when one process dies, and doesn't say whose fault it was.
Here each process is such an executor of its own, fed by a thread.
"""

import atexit
import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, TypeVar

from ...loader.format.signals import signal_name
from ..errors import WorkerError
from ..safe_path import starting_processes

ResultT = TypeVar("ResultT")

MAX_DEATHS = 20
"""Processes that a task may cost without getting further. A scene is given up after its second: more else is wrong."""

MAX_STARTS = 3
"""Processes in a row that may die before they begin: one may be killed, but a script without a guard loses all."""

PREPARE_SECONDS = 300.0
"""How long a process may prepare itself before that counts for its task: imports from a slow disk are no stall."""

_POLL_SECONDS = 1.0
_BURY_SECONDS = 30.0

_log = logging.getLogger("resizeonce")


class DeadWorkerError(WorkerError):
    """Raised when a task costs more worker processes than it may."""


@dataclass(frozen=True, slots=True)
class _Job:
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    max_deaths: int


_NO_GUARD = (
    "a script that converts with several workers does so under `if __name__ == '__main__':`; "
    "see above what the processes printed"
)


class ProcessExecutor(Executor):
    """Runs each task in one of `workers` spawned processes, which end with this one and ignore Ctrl-C.

    A `with` block kills them when it is left: what was asked for is there by then, or nobody wants it any more.

    Args:
        workers: how many processes; they start at once.
        stall_seconds: how long a task may go on without a `tick` before its process is taken for dead.
        prepare: what each process does before its first task, such as imports; a task finds out itself if it fails.
    """

    def __init__(
        self, workers: int, stall_seconds: float, prepare: Callable[[], object] | None = None
    ) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            # A process of a worker imports the script that started it, and has come to this line of it again.
            raise WorkerError(_NO_GUARD)
        with starting_processes():
            self._ticks = multiprocessing.get_context("spawn").Array("Q", workers, lock=False)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stall_seconds = stall_seconds
        self._prepare = prepare
        self._workers: list[_Worker] = []
        # Ctrl-C may come before a `with` block is entered, and Python's own end waits for processes that nobody ends.
        atexit.register(self._kill)
        for number in range(workers):
            self._workers.append(_Worker(self, number))

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)

    @property
    def ticks(self) -> int:
        """How many ticks the tasks made; those of a task that is begun again count once."""
        return sum(self._ticks)

    def submit(self, function: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """Start a task when a process is free; `function` can be imported, and takes no keywords."""
        if kwargs:
            raise TypeError("tasks take no keyword arguments")
        return self._submit(function, args, MAX_DEATHS)

    def submit_once(self, function: Callable[..., ResultT], /, *args: Any) -> Future[ResultT]:
        """Start a task that is not begun again when its process dies."""
        return self._submit(function, args, 1)

    def _submit(
        self, function: Callable[..., ResultT], args: tuple[Any, ...], max_deaths: int
    ) -> Future[ResultT]:
        future: Future[ResultT] = Future()
        self._jobs.put(_Job(future, function, args, max_deaths))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end after what was submitted; with `cancel_futures` kill them at once."""
        if cancel_futures:
            self._kill()
        for _ in self._workers:
            self._jobs.put(None)
        if wait:
            for worker in self._workers:
                worker.thread.join()
        atexit.unregister(self._kill)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()


class _Worker:
    """One process after the other, fed by a thread that waits for each of its tasks."""

    def __init__(self, pool: ProcessExecutor, number: int) -> None:
        self._pool = pool
        self._number = number
        self._ticks = pool._ticks
        self._executor: ProcessPoolExecutor | None = None
        self._process: Any = None
        self._prepared: Future[object] | None = None
        self._is_killed = False
        # A daemon: where the main thread fails, the interpreter must not wait for a task without an end.
        self.thread = threading.Thread(target=self._serve, name=f"worker-{number}", daemon=True)
        self.thread.start()

    def kill(self) -> None:
        self._is_killed = True
        self._kill_process()

    def _serve(self) -> None:
        # A process inherits the mask of the thread that starts it. Ctrl-C reaches every process of a terminal, and
        # the main one decides what it means.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        # Before there is a task: starting takes a second, which the main process needs for its own start. Where it
        # fails, the first task tries again, and says so.
        with suppress(Exception):
            self._start(max_starts=1)
        while (job := self._pool._jobs.get()) is not None:
            if self._is_killed:
                job.future.cancel()
            elif job.future.set_running_or_notify_cancel():
                try:
                    job.future.set_result(self._run(job))
                except BaseException as err:  # Whatever it is, it belongs to whoever waits for the task.
                    job.future.set_exception(err)
        if self._executor is not None:
            self._executor.shutdown()

    def _run(self, job: _Job) -> Any:
        deaths, furthest = 0, -1
        while deaths < job.max_deaths:
            before = self._ticks[self._number]
            executor = self._start()
            try:
                task = executor.submit(job.function, *job.arguments)
                if self._prepared is not None:
                    wait([self._prepared], timeout=PREPARE_SECONDS)
                return self._wait_for(task)
            except BrokenProcessPool as err:
                self._bury()
                done = self._ticks[self._number] - before
                deaths, furthest = (1, done) if done > furthest else (deaths + 1, furthest)
                self._ticks[self._number] = before
                self._executor = None
                if self._is_killed:
                    raise WorkerError("the worker processes were ended") from err
                _log.warning("a worker process %s", self._cause_of_death())
        raise DeadWorkerError(
            f"{job.max_deaths} worker processes died of one task, the last one {self._cause_of_death()}: "
            "run the same command again to go on, with fewer --workers if memory is short"
        )

    def _start(self, max_starts: int = MAX_STARTS) -> ProcessPoolExecutor:
        """Return the executor of a process that runs, or raise `WorkerError`."""
        if self._process is not None and connection.wait([self._process.sentinel], 0):
            # It died while it had nothing to do: of no task.
            self._executor = None
        starts = 0
        while self._executor is None:
            context = multiprocessing.get_context("spawn")
            starts += 1
            try:
                with starting_processes():
                    executor = ProcessPoolExecutor(1, context, _begin, (self._ticks, self._number))
                    begun = executor.submit(os.getpid)
                pid = begun.result()
                if self._pool._prepare is not None:
                    self._prepared = executor.submit(self._pool._prepare)
            except BrokenProcessPool as err:
                if starts < max_starts and not self._is_killed:
                    continue
                raise WorkerError(f"worker processes die before they can begin: {_NO_GUARD}") from err
            children = multiprocessing.active_children()
            self._process = next((child for child in children if child.pid == pid), None)
            self._executor = executor
        if self._is_killed:
            self._kill_process()
        return self._executor

    def _wait_for(self, future: Future[Any]) -> Any:
        """Wait for a task as long as it makes ticks; kill its process when it stalls."""
        ticks, since = self._ticks[self._number], time.monotonic()
        while not wait([future], timeout=_POLL_SECONDS).done:
            if self._ticks[self._number] != ticks:
                ticks, since = self._ticks[self._number], time.monotonic()
            elif time.monotonic() - since > self._pool._stall_seconds:
                _log.warning(
                    "a worker process made no progress for %.0f s and is ended", self._pool._stall_seconds
                )
                self._kill_process()
                since = time.monotonic()
        return future.result()

    def _bury(self) -> None:
        """Wait until a dead process is gone altogether, with all that it held locked, and how it ended is known."""
        deadline = time.monotonic() + _BURY_SECONDS
        # Not joined: the pool's own thread may be the one that the system tells, and passes that on a moment later.
        while self._process is not None and self._process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def _kill_process(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _cause_of_death(self) -> str:
        code = None if self._process is None else self._process.exitcode
        if code is None or code >= 0:
            return "died" if code is None else f"ended with exit code {code}"
        name = signal_name(-code)
        causes = {"SIGKILL": "killed, perhaps for memory", "SIGSEGV": "a crash in a decoder"}
        return f"died of {name} ({causes.get(name, 'a crash or a signal from outside')})"


_own_ticks: Any = None
_own_number = 0


def tick() -> None:
    """Count one step of the task that this process runs; nothing where it is no worker."""
    if _own_ticks is not None:
        _own_ticks[_own_number] += 1


def _begin(ticks: Any, number: int) -> None:
    global _own_ticks, _own_number
    _own_ticks, _own_number = ticks, number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main one is gone, or it would go on writing beside the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
