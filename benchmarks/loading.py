"""Reading batches: ours, the floor that memory sets, and other readers, of the same samples.

::

    python benchmarks/loading.py                        what needs no other environment, about four minutes
    python benchmarks/loading.py --rivals ffcv=/some/venv/bin/python mds=/other/venv/bin/python
    python benchmarks/loading.py --only ours floor

Each reader is a process of its own, `benchmarks/loading_cases.py`. Before it is timed, the digests of all samples of an
epoch are compared with the expected ones. Then all are timed in turns. See benchmarks/README.md, section "Loading".
"""

import argparse
import contextlib
import ctypes
import io
import json
import mmap
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from convert_data import draw_outlines, draw_photo
from loading_case import BUSY_SECONDS, FIRST_NAME, TENSORS, digest_row, expand, raw_name
from loading_cases import CASES, STORED
from PIL import Image
from pycocotools import mask as coco_mask

from loader.memory import available_bytes
from preprocess.config import parse_config
from preprocess.pipeline import RunOptions, convert

FLOOR = "floor, 2 processes"
"""What the ratios of the table refer to."""
SIZES = {"sa1b-sized": (1500, 2250), "coco-sized": (480, 640)}
NUM_SMALL = 64
"""Samples of the dataset that only resizing at train time reads."""
RIVALS = {
    "ffcv": "FFCV, 2 threads",
    "litdata": "LitData, 2 workers",
    "mds": "MosaicML Streaming, 2 workers",
    "webdataset": "WebDataset, 2 workers",
    "huggingface": "Hugging Face datasets, no workers",
    "safetensors": "safetensors, no workers",
    "lance": "Lance",
    "grain": "Grain, 16 threads",
}
SLOW = ("zarr-python", "resize")
"""Timed in every other round."""
ONLY_WITH_RIVALS = ("np.memmap compact, 2", "zarr-python, 2", "resize at train time, 640")
BUSY = (FLOOR, "ours, 2", "ours in DataLoader, 2", "FFCV", "np.memmap full")
"""Timed beside the busy trainer."""
AGAIN = ("FFCV", "ours, 2 threads")
"""Read cold for a second time, too: FFCV compiles for seconds in its first epoch, which longer ones would hide."""
QUICK_COLD = ("ours, 2", "np.memmap compact, no")
FOLDERS = {
    "ours": "store.zarr",
    "TensorStore": "store.zarr",
    "zarr-python": "store.zarr",
    "np.memmap full": "full",
    "np.memmap compact": "compact",
    "FFCV": "ffcv",
    "LitData": "litdata",
    "MosaicML": "mds",
    "WebDataset": "wds",
    "Hugging Face": "hf",
    "safetensors": "safetensors",
    "Lance": "lance",
    "Grain": "array_record",
    "resize at train time, 640": "coco-sized",
    "resize at train time, 2250": "sa1b-sized",
}
"""Where the bytes of a case lie."""


# ---------------------------------------------------------------------------------------------------------------
# Input


def draw_sample(number: int, size: tuple[int, int], folder: Path) -> None:
    """Write a crop of a photograph, half of them mirrored, and one mask, as SA-1B has them."""
    rng = np.random.default_rng(number)
    height, width = size
    photo = _photo(number % 8, (height * 6 // 5, width * 6 // 5))
    top, left = (int(rng.integers(0, full - part)) for full, part in zip(photo.shape[:2], size, strict=True))
    crop = photo[top : top + height, left : left + width, :: 1 if rng.integers(2) else -1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(crop)).save(stream, "JPEG", quality=90)
    path = folder / raw_name(number)
    path.write_bytes(stream.getvalue())
    rle = coco_mask.merge(coco_mask.frPyObjects(draw_outlines(number, 1, size), height, width))
    segmentation = {"size": [height, width], "counts": rle["counts"].decode()}
    content = {
        "image": {
            "image_id": FIRST_NAME + number,
            "width": width,
            "height": height,
            "file_name": path.name,
        },
        "annotations": [{"id": number * 100, "segmentation": segmentation}],
    }
    path.with_suffix(".json").write_text(json.dumps(content))


_photos: dict[tuple[int, tuple[int, int]], Any] = {}


def _photo(number: int, size: tuple[int, int]) -> Any:
    if (number, size) not in _photos:
        _photos[number, size] = np.asarray(draw_photo(number, size))
    return _photos[number, size]


def make_inputs(folder: Path, count: int) -> None:
    """Write the raw datasets, our store, the compact arrays and the expected digests."""
    if (folder / "expected.json").exists():
        return
    for name, size in SIZES.items():
        raw, number = folder / name, count if name == "sa1b-sized" else NUM_SMALL
        raw.mkdir(parents=True)
        for photo in range(8):
            _photo(photo, (size[0] * 6 // 5, size[1] * 6 // 5))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(partial(draw_sample, size=size, folder=raw), range(1, number + 1))
        config = parse_config({"source": {"name": "sa1b"}, "store": {"scenes_per_part": 64}})
        report = convert(config, raw, folder / f"{name}.zarr", RunOptions(workers=2))
        if report.num_rejects:
            raise SystemExit(
                f"{report.num_rejects} of the generated images were rejected; see {report.store}"
            )
    (folder / "store.zarr").symlink_to("sa1b-sized.zarr")
    expected = {name: export(folder, name) for name in SIZES}
    (folder / "expected.json").write_text(json.dumps(expected))


def export(folder: Path, name: str) -> dict[str, str]:
    """Read a store with zarr-python; return the digest of each sample by number, and keep compact arrays of the large one.

    The digests are of what plain numpy makes of the stored rows, not of what our loader does.
    """
    parts: list[Any] = [
        zarr.open_group(path, mode="r") for path in sorted((folder / f"{name}.zarr").glob("part-*"))
    ]
    rows: list[Any] = [{key: part[path] for key, path in STORED.items()} for part in parts]
    counts = [part["masks"].shape[0] for part in rows]
    files: dict[str, Any] = {}
    if name == "sa1b-sized":
        (folder / "places.json").write_text(json.dumps(counts))
        (folder / "compact").mkdir()
    digests: dict[str, str] = {}
    for part, count in zip(rows, counts, strict=True):
        prompts = part["prompt_masks"][:]
        for row in range(count):
            sample = {key: np.asarray(part[key][row]) for key in TENSORS if key != "prompt_masks"}
            sample["prompt_masks"] = prompts[row].view(np.uint8)
            sample["masks"] = np.packbits(sample["masks"], axis=1)
            if name == "sa1b-sized":
                for key, array in sample.items():
                    if key not in files:
                        shape = (sum(counts), *array.shape)
                        files[key] = np.lib.format.open_memmap(
                            folder / "compact" / f"{key}.npy", mode="w+", dtype=np.uint8, shape=shape
                        )
                    files[key][len(digests)] = array
            tensors = expand(sample)
            digests[str(len(digests) + 1)] = digest_row([tensors[key].numpy() for key in TENSORS])
    return digests


# ---------------------------------------------------------------------------------------------------------------
# A reader, and what its processes use


class Reader:
    """One case in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        script = Path(__file__).with_name("loading_cases.py")
        self._log = (folder / "log.txt").open("ab")
        self._process = subprocess.Popen(
            [python, str(script), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.version = self._answer()["version"]

    def ask(self, do: str, seconds: float = 0) -> dict[str, Any]:
        """Have something done.

        Raises:
            RuntimeError: it could not be done.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, "seconds": seconds}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def processes(self) -> list[int]:
        """Return the process and all its descendants."""
        found, todo = [], [self._process.pid]
        while todo:
            process = todo.pop()
            found.append(process)
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{process}/task").glob("*/children"):
                    todo += map(int, children.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Return user and system time of the tree, those that have ended included."""
        ticks = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return MiB of the tree, shared pages in proportion, without the page cache of mapped files."""
        kib = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    if line.startswith(("Pss_Anon", "Pss_Shmem")):
                        kib += int(line.split()[1])
        return kib / 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextlib.contextmanager
def watched(reader: Reader) -> Iterator[list[float]]:
    """Look at a reader's memory every fifth of a second; yield the list of what was seen."""
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            seen.append(reader.memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def evict(folder: Path) -> int:
    """Drop the files of a folder from the page cache; return how many pages stayed."""
    libc = ctypes.CDLL(None, use_errno=True)
    stayed = 0
    for path in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
            pages = np.zeros(-(-len(memory) // mmap.PAGESIZE), np.uint8)
            start = ctypes.c_char.from_buffer(memory)
            libc.mincore(
                ctypes.c_void_p(ctypes.addressof(start)),
                ctypes.c_size_t(len(memory)),
                ctypes.c_void_p(pages.ctypes.data),
            )
            stayed += int((pages & 1).sum())
            del start
            memory.close()
    return stayed


CLAIMED = 6 << 30
"""Bytes of memory that are touched before a cold epoch: more than any reader and what it reads take."""


def claim_memory() -> None:
    """Make the host of a virtual machine give memory that it took back, so that no reader waits for it.

    A guest tells its host which large pages are free (free page reporting); touching them again is ten times slower than
    memory is, and happens to whoever comes next. Memory that was let go a moment ago is used first.
    """
    size = min(CLAIMED, available_bytes() // 2)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 0


@dataclass
class Result:
    """What was measured of one case."""

    version: str = ""
    memory: float = 0
    rates: dict[int, float] = field(default_factory=dict)
    """Samples per second by round."""
    cpu: list[float] = field(default_factory=list)
    """Milliseconds per sample."""
    busy: list[float] = field(default_factory=list)
    """Samples per second that the busy trainer got."""
    cold: list[float] = field(default_factory=list)
    cold_again: list[float] = field(default_factory=list)
    """In a second epoch, all that has to be started or compiled being there."""
    disk: float = 0
    """MiB per sample."""


# ---------------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, folder: Path, names: Sequence[str], pythons: dict[str, str], seconds: float) -> None:
        self._folder, self._pythons, self._seconds = folder, pythons, seconds
        self.names = list(names)
        self.results = {name: Result() for name in names}
        self._readers: dict[str, Reader] = {}
        self._expected: dict[str, dict[str, str]] = json.loads((folder / "expected.json").read_text())

    def check(self) -> None:
        """Start the readers and compare every sample that they deliver; drop those that can't run."""
        for name in list(self.names):
            try:
                reader = self._open(name)
                if (where := self._files(name)) and not where.exists():
                    reader.ask("prepare")
                    reader.close()
                    reader = self._open(name)
                if where:
                    # The page cache is to hold it as this reader reads it, and not as it was written.
                    evict(where)
                with watched(reader) as seen:
                    digests = reader.ask("check")["digests"]
            except RuntimeError as err:
                print(f"  {name}: not run: {err} (see {self._folder / 'log.txt'})")
                self.names.remove(name)
                continue
            self._readers[name] = reader
            result, where = self.results[name], self._files(name)
            result.version, result.memory = reader.version, max(seen, default=reader.memory())
            expected = self._expected["coco-sized" if "640" in name else "sa1b-sized"]
            whole = not name.startswith(("floor", "resize"))
            wrong = [key for key, digest in digests.items() if expected.get(key) != digest]
            if wrong or (whole and digests.keys() != expected.keys()):
                raise SystemExit(
                    f"{name} delivers other samples: {len(wrong)} wrong, {len(digests)} of {len(expected)}"
                )
            if where:
                size = sum(path.stat().st_blocks * 512 for path in where.rglob("*") if path.is_file())
                count = NUM_SMALL if "640" in name else len(expected)
                result.disk = size / count / 2**20
            print(f"  {name}: {len(digests)} samples byte-identical, {result.memory:.0f} MiB", flush=True)

    def warm(self, rounds: int) -> None:
        for number in range(rounds):
            for name in self.names[number % len(self.names) :] + self.names[: number % len(self.names)]:
                if name.startswith(SLOW) and number % 2:
                    continue
                reader, result = self._readers[name], self.results[name]
                before = reader.cpu_seconds()
                done = reader.ask("time", self._seconds)
                result.cpu.append(1000 * (reader.cpu_seconds() - before) / done["samples"])
                result.rates[number] = done["samples"] / done["seconds"]
            print(f"  round {number + 1} of {rounds} at {time.strftime('%H:%M:%S')}", flush=True)

    def busy(self, rounds: int) -> None:
        """Time the busy trainer; the floor's entry is what it can take, the same batch again and again."""
        for _ in range(rounds):
            for name in self.names:
                if name.startswith(BUSY):
                    done = self._readers[name].ask("busy", self._seconds)
                    self.results[name].busy.append(done["samples"] / done["seconds"])

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def cold(self, rounds: int, names: Sequence[str]) -> None:
        for _ in range(rounds):
            for name in names:
                where = self._files(name)
                assert where is not None
                reader = self._open(name)
                if stayed := evict(where):
                    print(f"  {name}: {stayed} pages stayed in the cache", flush=True)
                claim_memory()
                done = reader.ask("time", 0)
                result = self.results[name]
                result.cold.append(done["samples"] / done["seconds"])
                print(f"  cold: {name} {result.cold[-1]:.0f}", flush=True)
                if name.startswith(AGAIN):
                    reader.ask("forget")
                    if stayed := evict(where):
                        print(f"  {name}: {stayed} pages stayed in the cache", flush=True)
                    claim_memory()
                    done = reader.ask("time", 0)
                    result.cold_again.append(done["samples"] / done["seconds"])
                reader.close()

    def ratio(self, name: str, base: str) -> list[float]:
        """Return the ratios of two rates in each round that both were in."""
        if name not in self.names or base not in self.names:
            return []
        ours, theirs = self.results[name].rates, self.results[base].rates
        return [ours[number] / theirs[number] for number in ours if number in theirs]

    def table(self) -> None:
        print(
            "\n| reader | samples/s | of the floor | CPU ms | busy trainer | cold samples/s | MiB memory | MiB disk |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name in self.names:
            result = self.results[name]
            busy = ""
            if result.busy and self.results[FLOOR].busy:
                shares = [a / b for a, b in zip(result.busy, self.results[FLOOR].busy, strict=True)]
                busy = spread(shares, 2) if name != FLOOR else f"takes {spread(result.busy)}"
            cells = [
                f"{name} {result.version}".strip() if result.version else name,
                spread(result.rates.values()),
                spread(self.ratio(name, FLOOR), 2),
                spread(result.cpu, 2),
                busy,
                spread(result.cold),
                f"{result.memory:.0f}",
                f"{result.disk:.2f}" if result.disk else "",
            ]
            print(f"| {' | '.join(cells)} |")
        for name, result in self.results.items():
            if result.cold_again:
                print(f"\n{name}, a second cold epoch: {spread(result.cold_again)}")

    def medians(self) -> dict[str, float]:
        """Return the warm samples per second of each reader."""
        return {name: statistics.median(self.results[name].rates.values()) for name in self.names}

    def bars(self) -> None:
        print("\nbars")
        ours = "ours, 2 processes"
        self._bar("warm, times FFCV (processes)", self.ratio(ours, RIVALS["ffcv"]), 2.2)
        self._bar("warm, of the floor with 2 processes", self.ratio(ours, FLOOR), 0.95)
        self._bar(
            "warm, of the floor with 2 threads", self.ratio("ours, 2 threads", "floor, 2 threads"), 0.95
        )
        self._bar(
            "DataLoader with 2 workers, times np.memmap there",
            self.ratio("ours in DataLoader, 2 workers", self._best("np.memmap", ", 2 workers")),
            2.5,
        )
        cpu = [
            a / b
            for a, b in zip(
                self.results.get(ours, Result()).cpu, self.results.get(FLOOR, Result()).cpu, strict=False
            )
        ]
        self._bar("CPU per sample, of the floor's (at most)", cpu, 1.15, at_most=True)
        busy = [
            a / b
            for a, b in zip(
                self.results.get(ours, Result()).busy, self.results.get(FLOOR, Result()).busy, strict=False
            )
        ]
        self._bar("busy trainer, of what it can take", busy, 0.95)
        cold = {
            name: result.cold
            for name, result in self.results.items()
            if result.cold and not name.startswith("ours")
        }
        if cold and (own := self.results.get(ours, Result()).cold):
            best = max(cold, key=lambda name: statistics.median(cold[name]))
            ratios = [a / b for a, b in zip(own, cold[best], strict=True)]
            self._bar(f"cold, start included, times {best}", ratios, 2)
        threads = self.results.get("ours, 2 threads", Result()).cold_again
        if ffcv := self.results.get(RIVALS["ffcv"], Result()).cold_again:
            ratios = [a / b for a, b in zip(threads, ffcv, strict=False)]
            self._bar("cold, second epoch, times FFCV (threads)", ratios, 2)

    def _bar(self, what: str, ratios: Sequence[float], bar: float, *, at_most: bool = False) -> None:
        if ratios:
            median = statistics.median(ratios)
            met = median <= bar if at_most else median >= bar
            print(f"  {'met   ' if met else 'MISSED'} {what:<62}{spread(ratios, 2):>20}  bar {bar}")

    def _best(self, start: str, end: str) -> str:
        found = [name for name in self.names if name.startswith(start) and name.endswith(end)]
        return max(
            found, key=lambda name: statistics.median(self.results[name].rates.values() or [0]), default=""
        )

    def _open(self, name: str) -> Reader:
        return Reader(name, self._pythons.get(name, sys.executable), self._folder)

    def _files(self, name: str) -> Path | None:
        folders = [folder for start, folder in FOLDERS.items() if name.startswith(start)]
        return (self._folder / folders[0]).resolve() if folders else None


def spread(values: Any, digits: int = 0) -> str:
    """Return the median with the extremes, "" of nothing."""
    values = list(values)
    if not values:
        return ""
    low, middle, high = (f"{what(values):.{digits}f}" for what in (min, statistics.median, max))
    return f"{middle} ({low}-{high})"


def parse_rivals(options: Sequence[str]) -> dict[str, str]:
    """Return the interpreter of each rival by the name of its case."""
    pythons = dict(option.split("=", 1) for option in options)
    if unknown := pythons.keys() - RIVALS.keys():
        raise SystemExit(f"unknown rival {sorted(unknown)}; known: {', '.join(RIVALS)}")
    return {RIVALS[name]: python for name, python in pythons.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rivals", nargs="+", metavar="NAME=PYTHON", help=f"also time these: {', '.join(RIVALS)}"
    )
    parser.add_argument("--only", nargs="+", metavar="START", help="only cases whose names start so")
    parser.add_argument("--folder", type=Path, help="keep the datasets here, and use them again")
    parser.add_argument(
        "--samples", type=int, default=256, help="a multiple of 64, 128 at least; default: 256"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case in a round, at least")
    parser.add_argument("--facts", type=Path, help="write medians here, for benchmarks/readme.py")
    options = parser.parse_args()
    if options.samples < 128 or options.samples % 64:
        parser.error("--samples is a multiple of 64, and 128 at least: the floor keeps 128 rows in memory")
    pythons = parse_rivals(options.rivals or [])
    names = [name for name in CASES if name not in RIVALS.values() or name in pythons]
    if not options.rivals:
        names = [name for name in names if not name.startswith(ONLY_WITH_RIVALS)]
    if options.only:
        names = [name for name in names if name.startswith(tuple(options.only))]
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = time.perf_counter()
        make_inputs(folder, options.samples)
        print(
            f"{options.samples} samples, made in {time.perf_counter() - started:.0f} s; checking", flush=True
        )
        bench = Bench(folder, names, pythons, options.seconds)
        try:
            bench.check()
            bench.warm(options.rounds)
            bench.table()
            bench.bars()
            print(f"\nthe busy trainer works {1000 * BUSY_SECONDS:.0f} ms on each batch", flush=True)
            bench.busy(3)
        finally:
            bench.close()
        cold = [
            name
            for name in bench.names
            if not name.startswith(("floor", *SLOW)) and (options.rivals or name.startswith(QUICK_COLD))
        ]
        bench.cold(options.cold_rounds, cold)
        bench.table()
        bench.bars()
        if options.facts:
            options.facts.write_text(json.dumps(bench.medians(), indent=1))
        print(f"\n{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
