"""How a conversion is run: what a command's options say beside what to convert."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..tensors.engine import EngineName, default_engine
from .forecast import Forecast

STALL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a conversion; nothing here but `limit` and `append` changes what is written."""

    workers: int = 1
    """Processes; 1 converts in this one. With an executor: how many tasks it runs at a time."""
    executor: Executor | None = None
    """Where the parts are written, by processes that see the same files; by default, processes of this machine."""
    limit: int | None = None
    """How many samples to write at most, in the order of the dataset."""
    append: bool = False
    """Whether to add to a finished store those scenes that it lacks."""
    overwrite: bool = False
    """Whether a store that is there already is removed first."""
    on_error: Literal["record", "fail"] = "record"
    """Whether a bad record is listed and left out, or stops the run."""
    engine: EngineName | None = None
    """What does the work, to the same bytes; by default the fast one where it is installed."""
    stall_seconds: float = STALL_SECONDS
    """How long a scene may take before the worker process is taken for dead."""
    progress: bool = False
    """Whether to show a progress bar on stderr."""
    scratch: Path | str | None = None
    """Where the parts of a store with a URL are written before they are published; by default in a cache folder."""
    force: bool = False
    """Whether to start although the disk seems too small."""
    announce: Callable[[Forecast], None] | None = None
    """Called with what the store will take, before anything is converted."""

    @property
    def engine_name(self) -> EngineName:
        """The engine that is asked for, or the default one."""
        return self.engine or default_engine()
