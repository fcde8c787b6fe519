"""Where a conversion runs, if no executor is given: in processes of this machine, or in this very process."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from ..tensors.engine import describe_engine
from .options import RunOptions
from .processes import ProcessExecutor

ResultT = TypeVar("ResultT")


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """Run `function` and return its finished future; an exception is raised here."""
        future: Future[ResultT] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def start_processes(run: RunOptions) -> ProcessExecutor:
    """Start processes that get ready for a conversion while this one goes on."""
    return ProcessExecutor(run.workers, run.stall_seconds, partial(describe_engine, run.engine_name))


def engine_of(executor: Executor, run: RunOptions) -> str:
    """Open the engine where the work is done, and return its description.

    On a foreign executor the machine of this process speaks for the others.

    Raises:
        EngineError: there is no such engine.
    """
    if isinstance(executor, ProcessExecutor):
        return executor.submit(describe_engine, run.engine_name).result()
    return describe_engine(run.engine_name)
