"""Reading batches: ours, the floor that memory sets, and other readers, of the same samples.

::

    python benchmarks/loading.py                        what needs no other environment, a quarter of an hour
    python benchmarks/loading.py --rivals ffcv=/some/venv/bin/python mds=/other/venv/bin/python
    python benchmarks/loading.py --only ours floor

Each reader is a process of its own, `benchmarks/loading_cases.py`. Before it is timed, the digests of all samples of an
epoch are compared with the expected ones. In each round, all come in turns: a new process, a cold epoch, then warm ones.
See benchmarks/README.md, section "Loading".
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from case import BUSY_SECONDS
from loading_cases import CASES, STORE
from loading_data import NUM_SMALL, make_inputs
from loading_reader import Reader
from loading_report import FLOOR, Result, medians, print_bars, print_table
from measure import spread
from page_cache import Ballast, disk_bytes, evict, read_directly
from rivals.environments import REQUIREMENTS, parse_rivals

SLOW = ("zarr-python", "resize")
"""Timed in every other round, and not cold."""
ONLY_WITH_RIVALS = ("np.memmap compact, 2", "zarr-python, 2", "resize at train time, 640")
BUSY = (FLOOR, "ours, 2", "ours in DataLoader, 2", "FFCV", "np.memmap full")
"""Timed beside the busy trainer, in the first three rounds."""
AGAIN = ("FFCV", "ours, 2 threads", "ours, compact images, 2 threads")
"""Read cold for a second time, too: FFCV compiles for seconds in its first epoch, which longer ones would hide."""
ROOM = 6 << 30
"""Bytes of memory that a reader finds free beside what its files take: enough for huge pages to be found at once."""


class Bench:
    """Readers, what was measured of each, and the order in which that is done.

    Args:
        folder: of the datasets.
        names: of the readers.
        pythons: the interpreters of the rivals.
        seconds: how long whole epochs are timed, at least.
    """

    def __init__(self, folder: Path, names: Sequence[str], pythons: dict[str, str], seconds: float) -> None:
        self._folder, self._pythons, self._seconds = folder, pythons, seconds
        self.results = {name: Result() for name in names}
        self.disk_rates: list[float] = []
        """Samples per second that the disk gives of our store, as plain bytes, in each round."""
        self._ballast = Ballast()
        self._expected: dict[str, dict[str, str]] = json.loads((folder / "expected.json").read_text())

    def check(self) -> None:
        """Compare every sample that each reader delivers; drop those that can't run."""
        for name, result in list(self.results.items()):
            where = self._files(name)
            try:
                if where and not where.exists():
                    with closing(self._open(name)) as reader:
                        reader.ask("prepare")
                with closing(self._open(name)) as reader, reader.watched() as seen:
                    digests = reader.ask("check")["digests"]
                    result.version, result.memory = reader.version, max(seen, default=reader.memory())
            except RuntimeError as err:
                print(f"  {name}: not run: {err} (see {self._folder / 'log.txt'})")
                del self.results[name]
                continue
            self._compare(name, digests)
            if where:
                count = NUM_SMALL if "640" in name else len(self._expected["sa1b-sized"])
                result.disk = disk_bytes(where) / count / 2**20
            print(f"  {name}: {len(digests)} samples byte-identical, {result.memory:.0f} MiB", flush=True)
        evict(self._folder)

    def _compare(self, name: str, digests: dict[str, str]) -> None:
        expected = self._expected["coco-sized" if "640" in name else "sa1b-sized"]
        whole = not name.startswith(("floor", "resize"))
        wrong = [key for key, digest in digests.items() if expected.get(key) != digest]
        if wrong or (whole and digests.keys() != expected.keys()):
            raise SystemExit(
                f"{name} delivers other samples: {len(wrong)} wrong, {len(digests)} of {len(expected)}"
            )

    def round(self, number: int) -> None:
        """Time every reader once, beginning with another one each time."""
        store = (self._folder / STORE).resolve()
        self.disk_rates.append(read_directly(store) * len(self._expected["sa1b-sized"]) / disk_bytes(store))
        names = list(self.results)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if not (name.startswith(SLOW) and number % 2):
                self._visit(name, number)

    def _visit(self, name: str, number: int) -> None:
        """Time one reader in a new process: cold, then warm.

        Nothing else's files are in the page cache meanwhile, nor its buffers in memory: all of them together have no room
        on many machines, and what is warm must be there.
        """
        result, where = self.results[name], self._files(name)
        with closing(self._open(name)) as reader:
            if where:
                self._forget(name, where)
            if where and not name.startswith(SLOW):
                result.note("cold", number, reader.time().rate)
                if name.startswith(AGAIN):
                    reader.ask("forget")
                    self._forget(name, where)
                    result.note("cold again", number, reader.time().rate)
            # Each process maps what it has not read before.
            reader.ask("time", self._seconds)
            warm = reader.time(self._seconds)
            result.note("warm", number, warm.rate)
            result.note("cpu", number, warm.cpu)
            if name.startswith(BUSY) and number < 3:
                result.note("busy", number, reader.time(self._seconds, busy=True).rate)
        if where:
            evict(where)

    def _forget(self, name: str, where: Path) -> None:
        """Drop a reader's files from the page cache, and leave as much memory as they and it need."""
        if stayed := evict(where):
            print(f"  {name}: {stayed} pages stayed in the cache", flush=True)
        self._ballast.leave(disk_bytes(where) + ROOM)

    def _open(self, name: str) -> Reader:
        return Reader(name, self._pythons.get(CASES[name].rival, sys.executable), self._folder)

    def _files(self, name: str) -> Path | None:
        return (self._folder / CASES[name].files).resolve() if CASES[name].files else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--rivals", nargs="*", metavar="NAME=PYTHON", help=f"also time these: {', '.join(REQUIREMENTS)}"
    )
    parser.add_argument("--only", nargs="+", metavar="START", help="only cases whose names start so")
    parser.add_argument("--folder", type=Path, help="keep the datasets here, and use them again")
    parser.add_argument(
        "--samples", type=int, default=256, help="a multiple of 64, 128 at least; default: 256"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of warm epochs in a round, at least")
    parser.add_argument("--facts", type=Path, help="write medians here, for benchmarks/readme.py")
    options = parser.parse_args()
    if options.samples < 128 or options.samples % 64:
        parser.error("--samples is a multiple of 64, and 128 at least: the floor keeps 128 rows in memory")
    pythons = parse_rivals(options.rivals or [])
    names = [name for name, entry in CASES.items() if not entry.rival or entry.rival in pythons]
    if not pythons:
        names = [name for name in names if not name.startswith(ONLY_WITH_RIVALS)]
    if options.only:
        names = [name for name in names if name.startswith(tuple(options.only))]
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = time.perf_counter()
        make_inputs(folder, options.samples)
        print(
            f"{options.samples} samples, made in {time.perf_counter() - started:.0f} s; checking", flush=True
        )
        bench = Bench(folder, names, pythons, options.seconds)
        bench.check()
        print(f"the busy trainer works {1000 * BUSY_SECONDS:.0f} ms on each batch", flush=True)
        for number in range(options.rounds):
            bench.round(number)
            print(f"  round {number + 1} of {options.rounds} at {time.strftime('%H:%M:%S')}", flush=True)
        print_table(bench.results)
        disk = spread(bench.disk_rates)
        print(f"\nthe disk, our store's bytes read directly by 4 threads: {disk} samples/s")
        print_bars(bench.results)
        if options.facts:
            options.facts.write_text(json.dumps(medians(bench.results), indent=1))
        print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
