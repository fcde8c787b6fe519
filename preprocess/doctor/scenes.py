"""Reads scenes as a conversion does, and counts what a store would take, reject and leave out, and what is doubtful."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ...loader.format.recipe import Recipe
from ..config import Config
from ..run.forecast import SceneSize, measure_records
from ..run.processes import tick as tick_of_process
from ..run.sift import read_scene
from ..sources.base import Scene
from ..sources.records import Frame, Record, Reject, Skip
from ..tensors.engine import Engine, EngineName, open_engine
from .doubts import doubts_of
from .tally import Tally


@dataclass(frozen=True, slots=True)
class ScenesTask:
    """Some scenes, for whichever process gets them."""

    numbers: tuple[int, ...]
    scenes: tuple[Scene, ...]
    config: Config
    engine: EngineName


def look_at_scenes(task: ScenesTask, tick: Callable[[], None] = tick_of_process) -> Tally:
    """Return what some scenes hold; `tick` is called after each."""
    engine, tally = open_engine(task.engine), Tally()
    for number, scene in zip(task.numbers, task.scenes, strict=True):
        try:
            tally.add(_look_at_scene(number, scene, task.config, engine))
        except MemoryError:
            advice = "look at its files, or raise the limit (ulimit -v)"
            tally.add(lost_scene(scene, f"memory ran out while this scene was read: {advice}"))
        tick()
    return tally


def lost_scene(scene: Scene, reason: str) -> Tally:
    """Return what a scene counts for that can't be read without harm."""
    tally = Tally(num_scenes=1, size=SceneSize(rejects=1))
    tally.add_reject(Reject(scene.key, "", "worker", reason))
    return tally


def _look_at_scene(number: int, scene: Scene, config: Config, engine: Engine) -> Tally:
    tally = Tally(num_scenes=1)
    counted = _counted(read_scene(scene, config, engine), tally, number, config.recipe, engine)
    tally.size = measure_records(counted, config.recipe, engine, config.store.columns)
    return tally


def _counted(
    records: Iterable[Record], tally: Tally, number: int, recipe: Recipe, engine: Engine
) -> Iterator[Record]:
    """Pass records on, and count them."""
    lone: Frame | None = None
    num_frames = 0
    for record in records:
        if isinstance(record, Frame):
            for doubt in doubts_of(record, recipe, engine):
                tally.add_found(*doubt)
            # The frames of a video may well be alike.
            lone, num_frames = record, num_frames + 1
        elif isinstance(record, Reject):
            tally.add_reject(record)
        elif isinstance(record, Skip):
            tally.skips[record.reason] += record.count
        yield record
    if lone is not None and num_frames == 1:
        tally.add_picture(number, lone)
