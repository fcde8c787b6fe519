"""Where tasks run: in this process, or in spawned ones; with a progress bar that counts scenes as they are done."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from preprocess.errors import PreprocessError

ResultT = TypeVar("ResultT")
Tick = Callable[[], None]

_REFRESH_SECONDS = 0.2


class WorkerError(PreprocessError):
    """Raised when a worker process died: killed, or crashed in a decoder."""


class Pool:
    """Runs `function(task, tick)` for tasks; `tick` moves the progress bar by one scene.

    Attributes:
        depth: how many tasks to keep under way.
    """

    def __init__(
        self, executor: Executor, function: Callable[..., Any], counter: Any, depth: int, bar: Any
    ) -> None:
        self._executor = executor
        self._function = function
        self._counter = counter
        self._bar = bar
        self._skipped = 0
        self.depth = depth

    def submit(self, task: object) -> Future[Any]:
        """Start a task."""
        if isinstance(self._executor, SerialExecutor):
            return self._executor.submit(self._function, task)
        with _interrupts_ignored():
            return self._executor.submit(self._function, task)

    def skip(self, num_scenes: int) -> None:
        """Count scenes as done that were converted before."""
        self._skipped += num_scenes
        if not self._bar.disable:
            # The rate is of this run's work.
            self._bar.initial += num_scenes
        self._refresh()

    def result(self, future: Future[ResultT]) -> ResultT:
        """Wait for a task, keeping the progress bar alive.

        Raises:
            WorkerError: the process that ran it died.
        """
        while not wait([future], timeout=_REFRESH_SECONDS).done:
            self._refresh()
        self._refresh()
        try:
            return future.result()
        except BrokenProcessPool as err:
            raise WorkerError(
                "a worker process died (killed for memory, or crashed in a decoder): "
                "run the same command again to go on, with fewer --workers if memory is short. "
                "A script that converts with several workers does so under `if __name__ == '__main__':`"
            ) from err

    def _refresh(self) -> None:
        self._bar.update(self._skipped + self._counter.value - self._bar.n)


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `function` and return its finished future; an exception is raised here."""
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class _Serial:
    """The counter and the task function of a run in one process."""

    def __init__(self, function: Callable[[Any, Tick], Any], bar: Any) -> None:
        self.value = 0
        self._function = function
        self._bar = bar

    def run(self, task: object) -> Any:
        return self._function(task, self._tick)

    def _tick(self) -> None:
        self.value += 1
        self._bar.update()


@contextmanager
def open_pool(
    workers: int, num_scenes: int, function: Callable[[Any, Tick], Any], *, progress: bool
) -> Iterator[Pool]:
    """Yield a pool of `workers` processes (1: this one) that run `function`; an exception ends them at once."""
    with tqdm(
        total=num_scenes, unit="scene", disable=not progress, smoothing=0.05, dynamic_ncols=True
    ) as bar:
        if workers <= 1:
            serial = _Serial(function, bar)
            yield Pool(SerialExecutor(), serial.run, serial, depth=1, bar=bar)
            return
        context = multiprocessing.get_context("spawn")
        counter = context.Value("Q", 0)
        executor = ProcessPoolExecutor(workers, context, _start_worker, (function, counter))
        try:
            yield Pool(executor, _run_in_worker, counter, depth=2 * workers, bar=bar)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        executor.shutdown()


_worker_function: Callable[[Any, Tick], Any]
_worker_counter: Any


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C, from their first instruction on.

    Ctrl-C reaches every process of the terminal; the main process decides what it means.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(function: Callable[[Any, Tick], Any], counter: Any) -> None:
    global _worker_function, _worker_counter
    _worker_function, _worker_counter = function, counter
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main one is gone, or it would go on writing beside the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _run_in_worker(task: object) -> Any:
    return _worker_function(task, _tick_from_worker)


def _tick_from_worker() -> None:
    with _worker_counter.get_lock():
        _worker_counter.value += 1
