"""FFCV. The arithmetic is a table of the 256 values: its compiler's fast-math would change the last bits."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from case import BATCH_SIZE, COMPACT_SHAPES, TENSORS, Arrays, Case, compact_arrays, normalize
from ffcv.fields import NDArrayField
from ffcv.fields.decoders import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.writer import DatasetWriter
from numpy.typing import NDArray
from plain import SHAPES, RawImage, make_sample

WORKERS = 2
_LEVELS = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
TABLE = np.ascontiguousarray(normalize(_LEVELS)[:, 0])


class ToFloat(Operation):
    def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        return given

    def declare_state_and_memory(self, previous_state: Any) -> Any:
        shape, dtype = self.shape(previous_state.shape), np.dtype("float32")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
        return state, AllocationQuery(shape, dtype)


class Normalizing(ToFloat):
    def generate_code(self) -> Any:
        my_range, table = Compiler.get_iterator(), TABLE

        def normalize_all(images: Any, out: Any) -> Any:
            for i in my_range(images.shape[0]):
                for channel in range(3):
                    for y in range(images.shape[2]):
                        for x in range(images.shape[3]):
                            out[i, channel, y, x] = table[channel, images[i, channel, y, x]]
            return out[: images.shape[0]]

        normalize_all.is_parallel = True
        return normalize_all


class Widening(ToFloat):
    def generate_code(self) -> Any:
        my_range = Compiler.get_iterator()

        def widen_all(masks: Any, out: Any) -> Any:
            for i in my_range(masks.shape[0]):
                out[i] = masks[i]
            return out[: masks.shape[0]]

        widen_all.is_parallel = True
        return widen_all


class Unpacking(ToFloat):
    def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        return given[0], given[1] * 8

    def generate_code(self) -> Any:
        my_range = Compiler.get_iterator()

        def unpack_all(masks: Any, out: Any) -> Any:
            for i in my_range(masks.shape[0]):
                for y in range(masks.shape[1]):
                    for x in range(masks.shape[2]):
                        for bit in range(8):
                            out[i, y, x * 8 + bit] = (masks[i, y, x] >> (7 - bit)) & 1
            return out[: masks.shape[0]]

        unpack_all.is_parallel = True
        return unpack_all


class Ffcv(Case):
    """Its loader, with threads."""

    def prepare(self) -> None:
        stored = compact_arrays(self.folder)
        (self.folder / "ffcv").mkdir()

        class Samples:
            def __len__(self) -> int:
                return len(stored["masks"])

            def __getitem__(self, row: int) -> tuple[Any, ...]:
                return tuple(np.array(stored[name][row]) for name in TENSORS)

        fields = {name: NDArrayField(np.dtype("uint8"), shape) for name, shape in COMPACT_SHAPES.items()}
        # Pages of the default 8 MiB would stay half empty.
        writer = DatasetWriter(
            str(self.folder / "ffcv" / "all.beton"),
            fields,
            num_workers=1,
            page_size=1 << 28,
        )
        writer.from_indexed_dataset(Samples(), chunksize=8)

    @cached_property
    def _loader(self) -> Any:
        pipelines: dict[str, list[Any]] = {
            "pixel_values": [NDArrayDecoder(), Normalizing()],
            "g_pixel_values": [NDArrayDecoder()],
            "prompt_masks": [NDArrayDecoder(), Widening()],
            "masks": [NDArrayDecoder(), Unpacking()],
        }
        return Loader(
            str(self.folder / "ffcv" / "all.beton"),
            batch_size=BATCH_SIZE,
            num_workers=self.workers,
            order=OrderOption.RANDOM,
            pipelines=pipelines,
        )

    def batches(self, epoch: int) -> Iterator[Arrays]:
        for batch in self._loader:
            yield dict(zip(TENSORS, batch, strict=True))


class _RawSamples:
    """What `from_indexed_dataset` takes."""

    def __init__(self, raws: list[RawImage]) -> None:
        self._raws = raws

    def __len__(self) -> int:
        return len(self._raws)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], ...]:
        return tuple(make_sample(self._raws[index]).values())


def write(raws: list[RawImage], out: Path) -> None:
    out.mkdir(parents=True)
    fields = {name: NDArrayField(np.dtype("uint8"), shape) for name, shape in SHAPES.items()}
    writer = DatasetWriter(str(out / "all.beton"), fields, num_workers=WORKERS)
    # By default a worker takes 100 samples at a time: with few hundred of them, one worker would end up waiting.
    writer.from_indexed_dataset(_RawSamples(raws), chunksize=8)


def read(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    loader = Loader(
        str(out / "all.beton"),
        batch_size=1,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        pipelines={name: [NDArrayDecoder()] for name in SHAPES},
    )
    for batch in loader:
        yield [np.array(array[0]) for array in batch]
