"""MosaicML Streaming: a writer for each process in a folder of its own, then one index (its guide on parallel writing)."""

import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

from case import BATCH_SIZE, COMPACT_SHAPES, TorchCase, compact_rows, expand
from numpy.typing import NDArray
from plain import SHAPES, RawImage, make_sample

WORKERS = 2


def _import_streaming() -> Any:
    """Import it without torchvision: it asks for it, but writing and reading arrays need nothing of it."""
    for name in ("", ".transforms", ".transforms.functional", ".datasets"):
        module = ModuleType(f"torchvision{name}")
        module.__getattr__ = lambda attribute: MagicMock(name=attribute)
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules.setdefault(module.__name__, module)
    sys.modules["torchvision.datasets"].VisionDataset = type("VisionDataset", (), {})
    return import_module("streaming")


streaming = _import_streaming()


def _columns(shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    return {name: f"ndarray:uint8:{','.join(map(str, shape))}" for name, shape in shapes.items()}


class _Samples(streaming.StreamingDataset):
    def __getitem__(self, at: Any) -> Any:
        return expand(super().__getitem__(at))


class Mds(TorchCase):
    """Its dataset, which shuffles by itself, in torch's loader."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder, workers)
        streaming.base.util.clean_stale_shared_memory()

    def prepare(self) -> None:
        with streaming.MDSWriter(out=str(self.folder / "mds"), columns=_columns(COMPACT_SHAPES)) as out:
            for compact in compact_rows(self.folder):
                out.write(compact)

    def dataset(self) -> Any:
        return _Samples(local=str(self.folder / "mds"), shuffle=True, batch_size=BATCH_SIZE)

    def options(self) -> dict[str, Any]:
        return {}


def _write_share(raws: list[RawImage], out: str) -> None:
    with streaming.MDSWriter(out=out, columns=_columns(SHAPES)) as writer:
        for raw in raws:
            writer.write(make_sample(raw))


def write(raws: list[RawImage], out: Path) -> None:
    shares = [raws[place::WORKERS] for place in range(WORKERS)]
    folders = [str(out / str(place)) for place in range(WORKERS)]
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        pool.starmap(_write_share, zip(shares, folders, strict=True))
    streaming.base.util.merge_index([f"{folder}/index.json" for folder in folders], str(out))


def read(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    dataset = streaming.StreamingDataset(local=str(out), shuffle=False, batch_size=1)
    for number in range(len(dataset)):
        sample = dataset[number]
        yield [sample[name] for name in SHAPES]
