"""LitData: what its `optimize` writes, read by its own loader."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import litdata
import numpy as np
from case import BATCH_SIZE, TENSORS, Arrays, Case, compact_arrays, count_rows, expand
from numpy.typing import NDArray
from plain import SHAPES, RawImage, make_sample

CHUNK = "64MB"
WORKERS = 2


def read_compact(place: tuple[str, int]) -> dict[str, Any]:
    folder, row = place
    stored = compact_arrays(Path(folder))
    return {name: np.array(array[row]) for name, array in stored.items()}


class _Samples(litdata.StreamingDataset):
    def __getitem__(self, at: Any) -> Any:
        sample = super().__getitem__(at)
        return expand({name: np.asarray(sample[name]) for name in TENSORS})


class LitData(Case):
    """Its dataset in its loader."""

    def prepare(self) -> None:
        places = [(str(self.folder), row) for row in range(count_rows(self.folder))]
        out = str(self.folder / "litdata")
        litdata.optimize(
            fn=read_compact, inputs=places, output_dir=out, chunk_bytes=CHUNK, num_workers=1, verbose=False
        )

    @cached_property
    def _loader(self) -> Any:
        dataset = _Samples(str(self.folder / "litdata"), shuffle=True, drop_last=False)
        return litdata.StreamingDataLoader(
            dataset, batch_size=BATCH_SIZE, num_workers=self.workers, persistent_workers=True
        )

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


def write(raws: list[RawImage], out: Path) -> None:
    litdata.optimize(
        fn=make_sample,
        inputs=raws,
        output_dir=str(out),
        chunk_bytes=CHUNK,
        num_workers=WORKERS,
        verbose=False,
    )


def read(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    dataset = litdata.StreamingDataset(str(out))
    for number in range(len(dataset)):
        sample = dataset[number]
        yield [np.asarray(sample[name]) for name in SHAPES]
