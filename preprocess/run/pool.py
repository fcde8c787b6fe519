"""Where tasks run: in this process, in spawned ones, or on any executor; with a progress bar that counts scenes."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from .processes import ProcessExecutor, WorkerError, tick

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
ExecutorT = TypeVar("ExecutorT", bound=Executor)
Tick = Callable[[], None]

_REFRESH_SECONDS = 0.2


class Pool(Generic[TaskT, ResultT]):
    """Runs one function for many tasks, and counts the scenes that are done.

    Args:
        executor: where the tasks run.
        function: called with a task and what counts a scene of it.
        depth: how many tasks to keep under way.
        bar: the progress bar.
    """

    def __init__(
        self, executor: Executor, function: Callable[[TaskT, Tick], ResultT], depth: int, bar: Any
    ) -> None:
        self._executor = executor
        self._function = function
        self._bar = bar
        self._skipped = 0
        self._counted = 0
        self._submitted: list[Future[ResultT]] = []
        self.depth = depth

    def submit(self, task: TaskT) -> Future[ResultT]:
        """Start a task."""
        if isinstance(self._executor, SerialExecutor):
            return self._executor.submit(self._function, task, self._count_one)
        self._submitted = [future for future in self._submitted if not future.done()]
        self._submitted.append(self._executor.submit(self._function, task, tick))
        return self._submitted[-1]

    def cancel(self) -> None:
        """Keep tasks that have not begun from beginning."""
        for future in self._submitted:
            future.cancel()

    def skip(self, num_scenes: int) -> None:
        """Count scenes as done that were converted before."""
        self._skipped += num_scenes
        if not self._bar.disable:
            # The rate is of this run's work.
            self._bar.initial += num_scenes
        self._refresh()

    def result(self, future: Future[ResultT], num_scenes: int) -> ResultT:
        """Wait for a task of `num_scenes` scenes, keeping the progress bar alive.

        Raises:
            WorkerError: the executor lost the processes that ran it.
        """
        while not wait([future], timeout=_REFRESH_SECONDS).done:
            self._refresh()
        try:
            result = future.result()
        except BrokenExecutor as err:
            raise WorkerError(
                f"the executor lost its workers ({err}): run the same command again to go on"
            ) from err
        if not isinstance(self._executor, ProcessExecutor | SerialExecutor):
            # Other processes, perhaps on other machines, can't count for this one.
            self._counted += num_scenes
        self._refresh()
        return result

    def _count_one(self) -> None:
        self._counted += 1
        self._refresh()

    def _refresh(self) -> None:
        ticks = self._executor.ticks if isinstance(self._executor, ProcessExecutor) else self._counted
        self._bar.update(self._skipped + ticks - self._bar.n)


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """Run `function` and return its finished future; an exception is raised here."""
        future: Future[ResultT] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@contextmanager
def open_pool(
    executor: Executor,
    workers: int,
    function: Callable[[TaskT, Tick], ResultT],
    num_scenes: int,
    *,
    progress: bool,
) -> Iterator[Pool[TaskT, ResultT]]:
    """Yield a pool on an executor that runs `workers` tasks at a time."""
    with tqdm(
        total=num_scenes, unit="scene", disable=not progress, smoothing=0.05, dynamic_ncols=True
    ) as bar:
        # A task of this process is done when it is submitted; elsewhere the next one should be waiting already.
        depth = 1 if isinstance(executor, SerialExecutor) else 2 * workers
        yield Pool(executor, function, depth, bar)


@contextmanager
def ending(executor: ExecutorT) -> Iterator[ExecutorT]:
    """Yield an executor of processes that end with the block; an exception ends them at once."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()
