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
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loading_case import BUSY_SECONDS
from loading_cases import CASES
from loading_data import NUM_SMALL, make_inputs
from loading_reader import Reader, claim_memory, evict, watched

FLOOR = "floor, 2 processes"
"""What the ratios of the table refer to."""
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
        "--rivals", nargs="*", metavar="NAME=PYTHON", help=f"also time these: {', '.join(RIVALS)}"
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
