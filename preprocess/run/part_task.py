"""One part as a task: small, picklable, and written by whichever process gets it."""

import secrets
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...loader.format.errors import PreprocessError, StoreError
from ...loader.format.layout import JOB_FILE, part_name
from ..config import Config
from ..shortage import ADVICE
from ..sources.base import Scene, Source
from ..sources.records import Frame, Reject, Skip
from ..store.filesystem import writing
from ..store.part_writer import PartSummary, PartWriter
from ..store.plan import Plan
from ..store.root import digest_of
from ..tensors.engine import EngineName, open_engine
from ..tensors.recipe import make_tensors
from .processes import tick as tick_of_process
from .raw_data_guard import RawDataGuard
from .sift import read_scene

MAX_DEATHS_OF_SCENE = 2
"""A scene in which so many processes died is rejected. One death may be chance: another process may take the memory."""


MAX_SHORT_SCENES = 3
"""In so many scenes of a part memory may run out: they are rejected. Where it does in more, no scene is at fault."""


class ShortageError(PreprocessError):
    """Raised when memory runs out in one scene after the other."""


class _SceneMemoryError(MemoryError):
    """Raised when memory runs out in a scene, once that is counted."""


@dataclass(frozen=True, slots=True)
class PartTask:
    """All that a process needs to write one part."""

    store: Path
    part: int
    run: str
    """Names the run: what is left of dead processes is told apart by it."""
    first_scene: int
    scenes: tuple[Scene, ...]
    config: Config
    paired: bool
    max_samples: int | None
    stop_on_reject: bool
    engine: EngineName
    raw_data: RawDataGuard
    skips: tuple[Skip, ...]
    """What the dataset's index leaves out; counted in the first part of a plan."""
    plan_digest: str
    """Of the plan's file: a task that outlives its run must not write into the next one's store."""


@dataclass
class Tasks:
    """The parts of a plan, as tasks; scenes are taken from the source only when a task is made."""

    plan: Plan
    source: Source
    config: Config
    store: Path
    raw_data: RawDataGuard
    engine: EngineName
    stop_on_reject: bool

    def __post_init__(self) -> None:
        """Name the run, and take down which plan it is of."""
        self._run = secrets.token_hex(4)
        self._plan_digest = _digest_of_plan(self.store)

    def make(self, part: int, max_samples: int | None) -> PartTask:
        """Return the task that writes a part."""
        numbers = self.plan.scenes_of(part)
        return PartTask(
            store=self.store,
            part=part,
            run=self._run,
            first_scene=self.plan.first_scene + numbers.start,
            scenes=tuple(self.source[number] for number in numbers),
            config=self.config,
            paired=self.source.paired,
            max_samples=max_samples,
            stop_on_reject=self.stop_on_reject,
            engine=self.engine,
            raw_data=self.raw_data,
            skips=tuple(self.source.skips) if part == self.plan.first_part else (),
            plan_digest=self._plan_digest,
        )


def write_part(task: PartTask, tick: Callable[[], None] = tick_of_process) -> PartSummary:
    """Write one part and return what it holds; `tick` is called after each scene.

    Where memory runs out in a scene, the part is begun anew, as if the process had died of it.

    Raises:
        RejectedError: a record is bad, and the first reject is to stop the run.
        SourceError: the raw dataset is gone.
        StoreError: the file system refuses.
        ShortageError: memory runs out in one scene after the other.
    """
    shortages: Counter[int] = Counter()
    while len(shortages) <= MAX_SHORT_SCENES:
        with suppress(_SceneMemoryError):
            return _write_part(task, tick, shortages)
    keys = ", ".join(task.scenes[scene - task.first_scene].key for scene in shortages)
    raise ShortageError(
        f"memory ran out in {len(shortages)} scenes of {part_name(task.part)} ({keys}): {ADVICE}"
    )


def _write_part(task: PartTask, tick: Callable[[], None], shortages: Counter[int]) -> PartSummary:
    recipe, engine = task.config.recipe, open_engine(task.engine)
    with PartWriter(
        task.store,
        task.part,
        recipe,
        paired=task.paired,
        columns=task.config.store.columns,
        max_samples=task.max_samples,
        stop_on_reject=task.stop_on_reject,
        run=task.run,
    ) as writer:
        for skip in task.skips:
            writer.add(skip)
        deaths = writer.deaths()
        for number, scene in enumerate(task.scenes, start=task.first_scene):
            if writer.is_full:
                break
            writer.start_scene(number, scene.key)
            if reason := _reason_against(deaths[number], shortages[number]):
                writer.add(Reject(scene.key, "", "worker", reason))
            else:
                try:
                    for record in read_scene(scene, task.config, engine, writer.room):
                        if isinstance(record, Frame):
                            views = make_tensors(record.image, record.segmentations, recipe, engine)
                            writer.add_frame(record, views)
                        else:
                            writer.add(record)
                except MemoryError as err:
                    shortages[number] += 1
                    raise _SceneMemoryError from err
            tick()
        if writer.num_rejects:
            task.raw_data.check()
        if _digest_of_plan(task.store) != task.plan_digest:
            raise StoreError(f"{task.store} is being made by another command by now: this one ends")
        return writer.commit()


def _reason_against(num_deaths: int, num_shortages: int) -> str | None:
    """Return why a scene is not tried once more, None where it is."""
    if num_deaths >= MAX_DEATHS_OF_SCENE:
        return (
            f"{num_deaths} worker processes died while they converted this scene: killed for memory, crashed in a decoder, "
            "or stalled; look at its files, or try it with fewer --workers"
        )
    if num_shortages >= MAX_DEATHS_OF_SCENE:
        return (
            f"memory ran out {MAX_DEATHS_OF_SCENE} times while this scene was converted: look at its files, or raise the "
            "limit (ulimit -v, or the container's), remove the folder of this part and run the command again"
        )
    return None


def _digest_of_plan(store: Path) -> str:
    with writing(store):
        return digest_of((store / JOB_FILE).read_bytes())
