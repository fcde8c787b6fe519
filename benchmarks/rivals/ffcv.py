"""Other projects' readers, with formats of their own: the compact form, which was the faster one for each of them."""

import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from loading_case import (
    BATCH_SIZE,
    COMPACT_SHAPES,
    TENSORS,
    Arrays,
    Case,
    TorchCase,
    compact_arrays,
    count_rows,
    expand,
    normalize,
)


class Mds(TorchCase):
    """MosaicML streaming."""

    def __init__(self, folder: Path, workers: int) -> None:
        sys.path.append(str(Path(__file__).parent))
        from convert_rivals import stub_torchvision

        stub_torchvision()
        import streaming

        super().__init__(folder, workers)
        self._streaming = streaming
        streaming.base.util.clean_stale_shared_memory()

    def prepare(self) -> None:
        columns = {name: f"ndarray:uint8:{','.join(map(str, s))}" for name, s in COMPACT_SHAPES.items()}
        stored = compact_arrays(self.folder)
        with self._streaming.MDSWriter(
            out=str(self.folder / "mds"), columns=columns | {"index": "int"}
        ) as out:
            for row in range(count_rows(self.folder)):
                out.write({name: np.array(stored[name][row]) for name in TENSORS} | {"index": row + 1})

    def dataset(self) -> Any:
        class Samples(self._streaming.StreamingDataset):
            def __getitem__(self, at: Any) -> Any:
                sample = super().__getitem__(at)
                return expand(sample) | {"index": sample["index"]}

        return Samples(local=str(self.folder / "mds"), shuffle=True, batch_size=BATCH_SIZE)

    def options(self) -> dict[str, Any]:
        return {}


def read_compact(place: tuple[str, int]) -> dict[str, Any]:
    folder, row = place
    stored = compact_arrays(Path(folder))
    return {name: np.array(array[row]) for name, array in stored.items()} | {"index": row + 1}


class LitData(Case):
    """LitData's optimised datasets."""

    def __init__(self, folder: Path, workers: int) -> None:
        import litdata

        super().__init__(folder)
        self._litdata, self._workers = litdata, workers

    def prepare(self) -> None:
        # Found again by name in the processes that it starts.
        sys.path.append(str(Path(__file__).parent))
        from loading_rivals import read_compact

        self._litdata.optimize(
            fn=read_compact,
            inputs=[(str(self.folder), row) for row in range(count_rows(self.folder))],
            output_dir=str(self.folder / "litdata"),
            chunk_bytes="64MB",
            num_workers=1,
            verbose=False,
        )

    @cached_property
    def _loader(self) -> Any:
        class Samples(self._litdata.StreamingDataset):
            def __getitem__(self, at: Any) -> Any:
                sample = super().__getitem__(at)
                return expand({name: np.asarray(sample[name]) for name in TENSORS}) | {
                    "index": sample["index"]
                }

        dataset = Samples(str(self.folder / "litdata"), shuffle=True, drop_last=False)
        return self._litdata.StreamingDataLoader(
            dataset, batch_size=BATCH_SIZE, num_workers=self._workers, persistent_workers=True
        )

    def batches(self, epoch: int) -> Iterable[Arrays]:
        return iter(self._loader)


class WebDataset(TorchCase):
    """WebDataset: tar files of .npy members, read in sequence and shuffled in a buffer."""

    def __init__(self, folder: Path, workers: int) -> None:
        import webdataset

        super().__init__(folder, workers)
        self._wds = webdataset

    def prepare(self) -> None:
        stored, out = compact_arrays(self.folder), self.folder / "wds"
        out.mkdir(exist_ok=True)
        with self._wds.ShardWriter(f"{out}/%05d.tar", maxcount=24, verbose=0) as sink:
            for row in range(count_rows(self.folder)):
                arrays = {f"{name}.npy": np.array(stored[name][row]) for name in TENSORS}
                sink.write({"__key__": f"{row + 1:06}"} | arrays)

    def dataset(self) -> Any:
        def finish(sample: dict[str, Any]) -> dict[str, Any]:
            arrays = {name: sample[f"{name}.npy"] for name in TENSORS}
            return expand(arrays) | {"index": int(sample["__key__"])}

        urls = sorted(map(str, (self.folder / "wds").glob("*.tar")))
        return self._wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(32).decode().map(finish)

    def options(self) -> dict[str, Any]:
        # It shuffles by itself.
        return {}


class Ffcv(Case):
    """FFCV. The arithmetic is a table of the 256 values: its compiler's fast-math would change the last bits."""

    def __init__(self, folder: Path, workers: int) -> None:
        import_module("ffcv.writer")

        super().__init__(folder)
        self._workers = workers

    def prepare(self) -> None:
        from ffcv.fields import IntField, NDArrayField
        from ffcv.writer import DatasetWriter

        stored = compact_arrays(self.folder)
        (self.folder / "ffcv").mkdir(exist_ok=True)

        class Samples:
            def __len__(self) -> int:
                return len(stored["masks"])

            def __getitem__(self, row: int) -> tuple[Any, ...]:
                return (*(np.array(stored[name][row]) for name in TENSORS), row + 1)

        fields = {name: NDArrayField(np.dtype("uint8"), shape) for name, shape in COMPACT_SHAPES.items()}
        # Pages of the default 8 MiB would stay half empty.
        writer = DatasetWriter(
            str(self.folder / "ffcv" / "all.beton"),
            fields | {"index": IntField()},
            num_workers=1,
            page_size=1 << 28,
        )
        writer.from_indexed_dataset(Samples(), chunksize=8)

    @cached_property
    def _loader(self) -> Any:
        from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
        from ffcv.loader import Loader, OrderOption

        normalizing, widening, unpacking = ffcv_operations()
        pipelines: dict[str, list[Any]] = {
            "pixel_values": [NDArrayDecoder(), normalizing()],
            "g_pixel_values": [NDArrayDecoder()],
            "prompt_masks": [NDArrayDecoder(), widening()],
            "masks": [NDArrayDecoder(), unpacking()],
            "index": [IntDecoder()],
        }
        return Loader(
            str(self.folder / "ffcv" / "all.beton"),
            batch_size=BATCH_SIZE,
            num_workers=self._workers,
            order=OrderOption.RANDOM,
            pipelines=pipelines,
        )

    def batches(self, epoch: int) -> Iterator[Arrays]:
        for batch in self._loader:
            yield dict(zip([*TENSORS, "index"], batch, strict=True))


def ffcv_operations() -> tuple[Any, Any, Any]:
    """Return FFCV's operations that make float32 of a compact sample, compiled and parallel."""
    from dataclasses import replace

    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
    from ffcv.pipeline.operation import Operation

    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    table = np.ascontiguousarray(normalize(levels)[:, 0])

    class ToFloat(Operation):
        def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
            return given

        def declare_state_and_memory(self, previous_state: Any) -> Any:
            shape, dtype = self.shape(previous_state.shape), np.dtype("float32")
            state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
            return state, AllocationQuery(shape, dtype)

    class Normalizing(ToFloat):
        def generate_code(self) -> Any:
            my_range = Compiler.get_iterator()

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

    return Normalizing, Widening, Unpacking
