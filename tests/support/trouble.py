"""Scenes that do harm while they are read, around those of a sound dataset."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resizeonce.preprocess.decode.images import ImageDecoder, decode_image
from resizeonce.preprocess.sources.base import Scene, Source
from resizeonce.preprocess.sources.records import Record

if TYPE_CHECKING:
    # Each worker process that reads such a scene imports this module, and would spend a third of its start on pytest.
    import pytest


@dataclass(frozen=True)
class Harm:
    """What a scene does before it is read, up to `times` times; each time is noted in `folder`, across processes."""

    folder: Path
    action: Callable[[], None]
    times: int = 1_000_000
    spared: int = 0
    """A process that must not be harmed: what it reads of harmful scenes is a failure. -1 for none."""


@dataclass(frozen=True)
class HarmfulScene:
    scene: Scene
    harm: Harm

    @property
    def key(self) -> str:
        return self.scene.key

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        assert os.getpid() != self.harm.spared, "a harmful scene was read by the process of the tests"
        self.harm.folder.mkdir(exist_ok=True)
        done = len(list(self.harm.folder.iterdir()))
        if done < self.harm.times:
            (self.harm.folder / f"{done}-{os.getpid()}").touch()
            self.harm.action()
        yield from self.scene.read(decode)


class Harmful(Source):
    """A source, some of whose scenes do harm."""

    def __init__(self, source: Source, harms: Mapping[int, Harm]) -> None:
        self._source = source
        self.dataset_type, self.paired = source.dataset_type, source.paired
        self.rejects, self.skips = source.rejects, source.skips
        self._harms = harms

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Scene:
        scene = self._source[index]
        return HarmfulScene(scene, self._harms[index]) if index in self._harms else scene

    def fingerprint(self) -> dict[str, str]:
        return self._source.fingerprint()


def harm_scenes(monkeypatch: "pytest.MonkeyPatch", harms: Mapping[int, Harm]) -> None:
    """Let every source that a conversion opens have these scenes, by number."""
    from resizeonce.preprocess.run import convert

    sound = convert.open_source
    spare = {number: replace(harm, spared=harm.spared or os.getpid()) for number, harm in harms.items()}
    monkeypatch.setattr(convert, "open_source", lambda config, root: Harmful(sound(config, root), spare))


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def stall() -> None:
    time.sleep(3600)
