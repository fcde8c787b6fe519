"""Where a conversion runs: on a given executor, in processes of this machine, or in this very process."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from ...loader.format.recipe import Arithmetic
from ..tensors.engine import describe_engine
from .options import RunOptions
from .processes import ProcessExecutor

ResultT = TypeVar("ResultT")
ExecutorT = TypeVar("ExecutorT", bound=Executor)


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """Run `function` and return its finished future; an exception is raised here."""
        future: Future[ResultT] = Future()
        future.set_result(function(*args, **kwargs))
        return future


@contextmanager
def started_executor(run: RunOptions) -> Iterator[Executor | None]:
    """Yield where to run, None where that is one process: which one is known later.

    Several processes begin to start here, while this one opens the dataset.
    """
    if run.executor is not None or run.workers <= 1:
        yield run.executor
        return
    with _open_processes(run) as executor:
        yield executor
        # Whatever they did is done, and what they still do is their start: nobody needs to wait for it.
        executor.shutdown(cancel_futures=True)


@contextmanager
def run_executor(early: Executor | None, run: RunOptions, *, isolated: bool) -> Iterator[Executor]:
    """Yield where to run; `isolated` leaves this process out of it, because an earlier run died, perhaps of a scene."""
    if run.executor is not None:
        yield run.executor
    elif early is not None:
        with ending(early):
            yield early
    elif isolated:
        with _open_processes(run) as executor:
            yield executor
    else:
        yield SerialExecutor()


@contextmanager
def _open_processes(run: RunOptions) -> Iterator[ProcessExecutor]:
    prepare = partial(describe_engine, run.engine_name)
    with ending(ProcessExecutor(run.workers, run.stall_seconds, prepare)) as executor:
        yield executor


def engine_of(executor: Executor, run: RunOptions, arithmetic: Arithmetic | None) -> str:
    """Open the engine where the work is done, and return its description.

    On a foreign executor the machine of this process speaks for the others.

    Raises:
        EngineError: there is no such engine, or it has not the recipe's arithmetic.
    """
    if isinstance(executor, ProcessExecutor):
        return executor.submit(describe_engine, run.engine_name, arithmetic).result()
    return describe_engine(run.engine_name, arithmetic)


@contextmanager
def ending(executor: ExecutorT) -> Iterator[ExecutorT]:
    """Yield an executor of processes that end with the block; an exception ends them at once."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()
