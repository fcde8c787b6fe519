"""Reading batches: ours, the floor that memory sets, and other readers, of the same samples.

::

    python benchmarks/loading.py                        what needs no other environment, a quarter of an hour
    python benchmarks/loading.py --rivals ffcv=/some/venv/bin/python mds=/other/venv/bin/python
    python benchmarks/loading.py --only ours floor

See benchmarks/README.md, section "Loading"; for ours against another commit, `turns.py`.
"""

import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import frame
from case import BUSY_SECONDS
from cases import CASES, Reader, start
from loading_data import make_singles
from page_cache import Ballast, disk_bytes, evict
from rivals.environments import REQUIREMENTS, parse_rivals

FLOOR = "floor, 2 processes"
"""What the ratios of the table refer to."""
OURS = "ours, 2 processes"
FFCV = "FFCV, 2 threads"
BUSY = (FLOOR, "ours, 2", "ours in DataLoader, 2", "FFCV", "np.memmap full")
"""Timed beside the busy trainer."""
ROOM = 6 << 30
"""Bytes of memory that a reader finds free beside what its files take: enough for huge pages to be found at once."""


class Bench:
    """Readers, what was measured of each, and the order in which that is done.

    Args:
        folder: of the datasets.
        pythons: the interpreters of those that need another one, by name.
        seconds: how long whole epochs are timed, at least.
    """

    def __init__(self, folder: Path, pythons: dict[str, str], seconds: float) -> None:
        self._folder, self._pythons, self._seconds = folder, pythons, seconds
        self._titles: dict[str, str] = {}
        """Name and version of each reader that can run, by its name."""
        self._found: dict[tuple[str, str], list[float]] = defaultdict(list)
        """By measure and reader, of each round: "warm", "busy" and "cold" (the start of workers included) are samples per
        second; "cpu" is milliseconds of the processors per sample of warm epochs."""
        self._ballast = Ballast()

    def check(self, name: str, expected: Sequence[str]) -> None:
        """Compare every sample that a reader delivers, and take it in unless it can't run."""
        files = self._files(name)
        try:
            if files and not files.exists():
                with self._start(name) as reader:
                    reader.ask("prepare")
            with self._start(name) as reader:
                checked = reader.ask("check")
        except RuntimeError as err:
            print(f"{name}: not run: {err}")
            return
        came, wanted = Counter(checked["digests"]), Counter(expected)
        wrong, is_part = (came - wanted).total(), name.startswith(("floor", "resize"))
        if wrong or not (is_part or came == wanted):
            raise SystemExit(
                f"{name}: {wrong} samples are wrong or came twice, {came.total()} of {len(expected)} came"
            )
        print(f"{name}: {came.total()} samples byte-identical", flush=True)
        self._titles[name] = f"{name} {checked['version']}".strip()

    def round(self, number: int) -> None:
        """Time every reader once in a new process, beginning with another one each time.

        Nothing else's files are in the page cache meanwhile, nor its buffers in memory: all of them together have no room
        on many machines, and what is warm must be there.
        """
        evict(self._folder)
        names = list(self._titles)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if files := self._files(name):
                self._ballast.leave(disk_bytes(files) + ROOM)
            with self._start(name) as reader:
                self._time(name, reader)
            if files and (stayed := evict(files)):
                print(f"{name}: {stayed} pages stayed in the cache", flush=True)

    def _time(self, name: str, reader: Reader) -> None:
        if self._files(name):
            self._found["cold", name].append(reader.read(0).rate)
        # Each process maps what it has not read before.
        reader.read(self._seconds)
        warm = reader.read(self._seconds)
        self._found["warm", name].append(warm.rate)
        self._found["cpu", name].append(warm.cpu)
        if name.startswith(BUSY):
            self._found["busy", name].append(reader.read(self._seconds, busy=True).rate)

    def _start(self, name: str) -> AbstractContextManager[Reader]:
        return start(name, self._folder, self._pythons.get(name, sys.executable))

    def _files(self, name: str) -> Path | None:
        files = CASES[name].files
        return (self._folder / files).resolve() if files else None

    def ratios(self, measure: str, name: str, base: str) -> list[float]:
        """Return the ratios of two readers in each round; [] where one was not measured so."""
        pairs = zip(self._found[measure, name], self._found[measure, base], strict=False)
        return [ours / theirs for ours, theirs in pairs]

    def medians(self, wanted: str) -> dict[str, float]:
        """Return the median of each reader of which that was measured."""
        return {
            name: statistics.median(values)
            for (measure, name), values in self._found.items()
            if measure == wanted and values
        }

    def print_table(self) -> None:
        """Print a row for each reader."""
        frame.print_head(
            "reader", "samples/s", "of the floor", "CPU ms a sample", "busy trainer", "cold samples/s"
        )
        for name, title in self._titles.items():
            warm, cpu, busy, cold = (
                self._found[measure, name] for measure in ("warm", "cpu", "busy", "cold")
            )
            of_floor, of_busy = (
                frame.spread(self.ratios(measure, name, FLOOR), 2) for measure in ("warm", "busy")
            )
            worked = of_busy if name != FLOOR else f"takes {frame.spread(busy)}"
            frame.print_row(
                title, frame.spread(warm), of_floor, frame.spread(cpu, 2), worked, frame.spread(cold)
            )

    def bars(self) -> list[frame.Bar]:
        """Return each aim with its ratios, where the readers that it needs were measured."""
        threads, in_loader = "ours, 2 threads", "ours in DataLoader, 2 workers"
        compact, memmap = "ours, compact images, 2 threads", "np.memmap full, 2 workers"
        rates = self.medians("cold")
        cold = max((name for name in rates if not name.startswith("ours")), key=rates.get, default="")
        bars = [
            ("warm, times FFCV", self.ratios("warm", OURS, FFCV), 2.2),
            ("warm, of the floor with 2 processes", self.ratios("warm", OURS, FLOOR), 0.95),
            ("warm, of the floor with 2 threads", self.ratios("warm", threads, "floor, 2 threads"), 0.95),
            ("compact, of raw, 2 threads", self.ratios("warm", compact, threads), 0.65),
            (f"in DataLoader, times {memmap}", self.ratios("warm", in_loader, memmap), 2.5),
            ("busy trainer, of what it can take", self.ratios("busy", OURS, FLOOR), 0.95),
            (f"cold, start included, times {cold}", self.ratios("cold", OURS, cold), 2),
            ("cold, of ours in DataLoader", self.ratios("cold", OURS, in_loader), 1),
            ("CPU per sample, of the floor's", self.ratios("cpu", OURS, FLOOR), -1.15),
        ]
        return [bar for bar in bars if bar[1]]


def main() -> None:
    parser = frame.parser_of(__doc__, samples=256, rounds=3, seconds=2.0)
    rivals = f"also time these: {', '.join(REQUIREMENTS)}"
    parser.add_argument("--rivals", nargs="*", metavar="NAME=PYTHON", default=[], help=rivals)
    parser.add_argument("--only", nargs="+", metavar="START", default=[""], help="cases whose names start so")
    parser.add_argument("--facts", type=Path, help="write medians here, for tests/support/readme_table.py")
    options = parser.parse_args()
    if options.samples < 128 or options.samples % 64:
        parser.error("--samples is a multiple of 64, and 128 at least: the floor keeps 128 rows in memory")
    known = parse_rivals(options.rivals)
    pythons = {name: known[entry.rival] for name, entry in CASES.items() if entry.rival in known}
    names = [
        name
        for name, entry in CASES.items()
        # What pairs take is compared with another commit alone.
        if name.startswith(tuple(options.only))
        and not name.startswith("ours, pairs")
        and (not entry.rival or name in pythons)
    ]
    if not names:
        parser.error("--only names no reader that can be timed here; pairs are timed by turns.py")
    frame.print_about()
    with frame.scratch(options.folder) as folder:
        expected = make_singles(folder, options.samples)
        bench = Bench(folder, pythons, options.seconds)
        for name in names:
            bench.check(name, expected)
        for number in range(options.rounds):
            bench.round(number)
        print(
            f"{options.samples} samples, {options.rounds} rounds; a busy trainer works {BUSY_SECONDS} s a batch"
        )
        bench.print_table()
        frame.print_bars(bench.bars())
        if options.facts:
            options.facts.write_text(json.dumps(bench.medians("warm"), indent=1))


if __name__ == "__main__":
    main()
