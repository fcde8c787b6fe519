"""Looks at a raw dataset as a conversion would read it, and says what is wrong with it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from ...loader.remote.protocol import shown
from ..config import Config, load_config
from ..findings import Diagnosis, Scenes
from ..remote.path import open_root
from ..run.convert import open_source
from ..run.forecast import scale_up, spread_scenes
from ..run.options import STALL_SECONDS
from ..run.processes import DeadWorkerError, ProcessExecutor
from ..run.raw_data_guard import RawDataGuard
from ..sources.base import Source
from ..tensors.engine import default_engine, describe_engine
from .scenes import ScenesTask, look_at_scenes, lost_scene
from .summary import list_findings
from .tally import Tally

MAX_CHUNK = 16
"""Scenes that a process gets at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """How to look."""

    sample: int | None = None
    """How many scenes to look at, evenly spread; all by default."""
    workers: int = 1
    """Processes; 1 looks in this one."""
    progress: bool = False
    """Whether to show a progress bar on stderr."""


def diagnose(
    config: Config | Path | str,
    root: Path | str,
    options: DoctorOptions | None = None,
    overrides: Iterable[str] = (),
) -> Diagnosis:
    """Look at a raw dataset by the readers and the reasons of a conversion; nothing is written.

    Args:
        config: what would be built; or the name of a shipped config, or the TOML file, that says so.
        root: the raw dataset's folder, or the URL of one.
        options: how to look.
        overrides: what to set on top of a config that is named, each `section.key=value`.

    Raises:
        PreprocessError: the config can't be used, or the dataset can't be opened at all.
    """
    options = options or DoctorOptions()
    name = "" if isinstance(config, Config) else str(config)
    config = config if isinstance(config, Config) else load_config(config, overrides)
    source = open_source(config, root)
    guard = RawDataGuard.of(open_root(root))
    numbers = range(len(source)) if options.sample is None else spread_scenes(len(source), options.sample)
    tally = Tally()
    with tqdm(
        total=len(numbers), unit="scene", disable=not options.progress, smoothing=0.05, dynamic_ncols=True
    ) as bar:
        for found in _look(source, numbers, config, options.workers):
            tally.add(found)
            bar.set_postfix_str(f"{tally.size.rejects:,} rejects", refresh=False)
            bar.update(found.num_scenes)
    if tally.size.rejects:
        guard.check()
    scenes = Scenes(total=len(source), looked_at=tally.num_scenes)
    return Diagnosis(
        config=name or config.source,
        root=shown(str(root)),
        scenes=scenes,
        findings=list_findings(tally, source, config.recipe),
        forecast=asdict(scale_up(tally.size, tally.num_scenes, source)),
    )


def _look(source: Source, numbers: Sequence[int], config: Config, workers: int) -> Iterator[Tally]:
    """Yield what scenes hold, some at a time, in their order."""
    engine = default_engine()
    # So many that each process gets several: videos differ in length.
    chunk = 1 if workers <= 1 else max(1, min(MAX_CHUNK, len(numbers) // (8 * workers)))
    chunks = (tuple(numbers[first : first + chunk]) for first in range(0, len(numbers), chunk))
    tasks = (ScenesTask(some, tuple(source[number] for number in some), config, engine) for some in chunks)
    if workers <= 1:
        yield from map(look_at_scenes, tasks)
        return
    prepare = partial(describe_engine, engine)
    with ProcessExecutor(workers, STALL_SECONDS, prepare) as executor:
        window: deque[tuple[ScenesTask, Future[Tally]]] = deque()
        while True:
            for task in islice(tasks, 2 * workers - len(window)):
                window.append((task, executor.submit_once(look_at_scenes, task)))
            if not window:
                return
            yield from _settle(executor, *window.popleft())


def _settle(executor: ProcessExecutor, task: ScenesTask, future: Future[Tally]) -> Iterator[Tally]:
    """Wait for some scenes; where their process died, look at each alone."""
    try:
        yield future.result()
    except DeadWorkerError:
        if len(task.scenes) == 1:
            yield lost_scene(task.scenes[0], "a worker process died while it read this scene")
            return
        for number, scene in zip(task.numbers, task.scenes, strict=True):
            alone = ScenesTask((number,), (scene,), task.config, task.engine)
            yield from _settle(executor, alone, executor.submit_once(look_at_scenes, alone))
