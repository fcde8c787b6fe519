"""Reading batches: ours, the floor that memory sets, and other readers, of the same samples.

::

    python benchmarks/loading.py                        what needs no other environment, a quarter of an hour
    python benchmarks/loading.py --rivals ffcv=/some/venv/bin/python mds=/other/venv/bin/python
    python benchmarks/loading.py --only ours floor
    python benchmarks/loading.py --against ../before --only "ours, 2" "ours, pairs" --rounds 8

Each reader is a process of its own, `cases.py`. Before it is timed, the digests of all samples of an epoch are compared with the
expected ones. In each round, all come in turns: a new process, a cold epoch, then warm ones. With `--against` they are ours and
those of another checkout, in its environment, on the same stores. See benchmarks/README.md, section "Loading".
"""

import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import frame
from case import BUSY_SECONDS
from cases import CASES, PAIRS_STORE
from loading_data import make_paired, make_singles
from page_cache import Ballast, disk_bytes, evict
from reader import Reader
from rivals.environments import REQUIREMENTS, parse_rivals

FLOOR = "floor, 2 processes"
"""What the ratios of the table refer to."""
OURS = "ours, 2 processes"
FFCV = "FFCV, 2 threads"
BEFORE = "before: "
"""What the name of a case of the other checkout begins with."""
ONLY_WITH_RIVALS = ("np.memmap compact, 2", "zarr-python, 2")
BUSY = (FLOOR, "ours, 2", "ours in DataLoader, 2", "FFCV", "np.memmap full")
"""Timed beside the busy trainer, in the first three rounds."""
ROOM = 6 << 30
"""Bytes of memory that a reader finds free beside what its files take: enough for huge pages to be found at once."""

Measure = Literal["warm", "cpu", "busy", "cold"]
"""Samples per second of whole epochs; milliseconds of the processors per sample; samples per second that the busy trainer
got; samples per second of a cold epoch, the start of workers included."""


@dataclass
class Result:
    """What was measured of one reader."""

    version: str = ""
    memory: float = 0.0
    """The most that was seen while checking, in MB."""
    rounds: dict[Measure, dict[int, float]] = field(default_factory=dict)
    """What was measured in each round."""

    def note(self, measure: Measure, number: int, value: float) -> None:
        self.rounds.setdefault(measure, {})[number] = value

    def values(self, measure: Measure) -> list[float]:
        return list(self.rounds.get(measure, {}).values())


class Bench:
    """Readers, what was measured of each, and the order in which that is done.

    Args:
        folder: of the datasets.
        names: of the readers.
        pythons: the interpreters of those that need another one, by name.
        seconds: how long whole epochs are timed, at least.
    """

    def __init__(self, folder: Path, names: Sequence[str], pythons: dict[str, str], seconds: float) -> None:
        self._folder, self._pythons, self._seconds = folder, pythons, seconds
        self.results = {name: Result() for name in names}
        self._ballast = Ballast()

    def check(self) -> None:
        """Compare every sample that each reader delivers; drop those that can't run."""
        for name, result in list(self.results.items()):
            where = self._files(name)
            try:
                if where and not where.exists():
                    with closing(self._open(name)) as reader:
                        reader.ask("prepare")
                with closing(self._open(name)) as reader:
                    digests, result.memory = reader.check()
                    result.version = result.version or reader.version
            except RuntimeError as err:
                log = (self._folder / "log.txt").read_text(errors="replace").strip().splitlines()[-1:]
                print(f"{name}: not run: {err} {log}")
                del self.results[name]
                continue
            pairs = "pairs" in name
            expected = json.loads((self._folder / f"{'pairs' if pairs else 'singles'}.json").read_text())
            wrong = [key for key, digest in digests.items() if expected.get(key) != digest]
            is_part = name.startswith(("floor", "resize"))
            if wrong or not (is_part or digests.keys() == expected.keys()):
                raise SystemExit(
                    f"{name}: {len(wrong)} samples are wrong, {len(digests)} of {len(expected)} came"
                )
            print(f"{name}: {len(digests)} samples byte-identical", flush=True)
        evict(self._folder)

    def round(self, number: int) -> None:
        """Time every reader once, beginning with another one each time."""
        names = list(self.results)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            self._visit(name, number)

    def _visit(self, name: str, number: int) -> None:
        """Time one reader in a new process: cold, then warm.

        Nothing else's files are in the page cache meanwhile, nor its buffers in memory: all of them together have no room
        on many machines, and what is warm must be there.
        """
        result, where, case = self.results[name], self._files(name), name.removeprefix(BEFORE)
        with closing(self._open(name)) as reader:
            if where:
                self._forget(name, where)
                result.note("cold", number, reader.time().rate)
            # Each process maps what it has not read before.
            reader.ask("time", self._seconds)
            warm = reader.time(self._seconds)
            result.note("warm", number, warm.rate)
            result.note("cpu", number, warm.cpu)
            if case.startswith(BUSY) and number < 3:
                result.note("busy", number, reader.time(self._seconds, busy=True).rate)
        if where:
            evict(where)

    def _forget(self, name: str, where: Path) -> None:
        """Drop a reader's files from the page cache, and leave as much memory as they and it need."""
        if stayed := evict(where):
            print(f"{name}: {stayed} pages stayed in the cache", flush=True)
        self._ballast.leave(disk_bytes(where) + ROOM)

    def _open(self, name: str) -> Reader:
        return Reader(name.removeprefix(BEFORE), self._pythons.get(name, sys.executable), self._folder)

    def _files(self, name: str) -> Path | None:
        files = CASES[name.removeprefix(BEFORE)].files
        return (self._folder / files).resolve() if files else None

    def ratios(self, measure: Measure, name: str, base: str) -> list[float]:
        """Return the ratios of two readers in each round that both were in."""
        if name not in self.results or base not in self.results:
            return []
        ours, theirs = (self.results[one].rounds.get(measure, {}) for one in (name, base))
        return [ours[number] / theirs[number] for number in ours if number in theirs]

    def best(self, measure: Measure, *, but: tuple[str, ...]) -> str:
        """Return the fastest of the readers whose names don't begin so, by the median; "" of none."""
        found = {
            name: statistics.median(values)
            for name, result in self.results.items()
            if not name.startswith(but) and (values := result.values(measure))
        }
        return max(found, key=lambda name: found[name], default="")

    def print_table(self) -> None:
        """Print a row for each reader."""
        measured = (
            "samples/s",
            "of the floor",
            "CPU ms a sample",
            "busy trainer",
            "cold samples/s",
            "MB memory",
        )
        frame.print_head("reader", *measured)
        for name, result in self.results.items():
            busy = frame.spread(self.ratios("busy", name, FLOOR), 2)
            frame.print_row(
                f"{name} {result.version}".strip(),
                frame.spread(result.values("warm")),
                frame.spread(self.ratios("warm", name, FLOOR), 2),
                frame.spread(result.values("cpu"), 2),
                busy if name != FLOOR else f"takes {frame.spread(result.values('busy'))}",
                frame.spread(result.values("cold")),
                f"{result.memory:.0f}",
            )

    def bars(self) -> list[frame.Bar]:
        """Return each aim with its ratios, where the readers that it needs were measured."""
        threads, in_loader = "ours, 2 threads", "ours in DataLoader, 2 workers"
        compact, memmap = "ours, compact images, 2 threads", "np.memmap full, 2 workers"
        cold = self.best("cold", but=("ours", BEFORE))
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
        bars += [
            (f"{name}: of before", self.ratios("warm", name, BEFORE + name), 0.97) for name in self.results
        ]
        return [bar for bar in bars if bar[1]]


def main() -> None:
    parser = frame.parser_of(__doc__, samples=256, rounds=3, seconds=2.0)
    rivals = f"also time these: {', '.join(REQUIREMENTS)}"
    parser.add_argument("--rivals", nargs="*", metavar="NAME=PYTHON", default=[], help=rivals)
    parser.add_argument("--only", nargs="+", metavar="START", default=[""], help="cases whose names start so")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="time ours and those of a checkout")
    parser.add_argument("--facts", type=Path, help="write medians here, for tests/support/readme_table.py")
    options = parser.parse_args()
    if options.samples < 128 or options.samples % 64:
        parser.error("--samples is a multiple of 64, and 128 at least: the floor keeps 128 rows in memory")
    known = parse_rivals(options.rivals)
    names = [name for name in CASES if name.startswith(tuple(options.only))]
    pythons = {}
    if options.against:
        names = [name for name in names if name.startswith("ours")]
        pythons = dict.fromkeys((BEFORE + name for name in names), frame.python_of(options.against))
        names = [one for name in names for one in (name, BEFORE + name)]
    else:
        pythons = {name: known[entry.rival] for name, entry in CASES.items() if entry.rival in known}
        names = [name for name in names if not CASES[name].rival or name in pythons]
        # What pairs take is compared with another commit alone.
        without = "ours, pairs" if known else ("ours, pairs", *ONLY_WITH_RIVALS)
        names = [name for name in names if not name.startswith(without)]
    frame.print_about()
    with frame.scratch(options.folder) as folder:
        (folder / "singles.json").write_text(json.dumps(make_singles(folder, options.samples)))
        if any(CASES[name.removeprefix(BEFORE)].files == PAIRS_STORE for name in names):
            (folder / "pairs.json").write_text(json.dumps(make_paired(folder)))
        bench = Bench(folder, names, pythons, options.seconds)
        for name in pythons.keys() & bench.results.keys() if options.against else ():
            bench.results[name].version = frame.commit_of(options.against)
        bench.check()
        for number in range(options.rounds):
            bench.round(number)
        print(
            f"{options.samples} samples, {options.rounds} rounds; a busy trainer works {BUSY_SECONDS} s a batch"
        )
        bench.print_table()
        frame.print_bars(bench.bars())
        if options.facts:
            facts = {name: statistics.median(result.values("warm")) for name, result in bench.results.items()}
            options.facts.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
