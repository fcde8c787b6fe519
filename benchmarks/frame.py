"""The frame of the benchmarks: options, turns, ratios within a round, tables under commit and machine, bars, and what processes take."""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

HERE = Path(__file__).parent
Name = TypeVar("Name")


def parser_of(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser with `--folder` and an option for each default."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    return parser


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """Yield an empty folder that is removed at the end."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        yield Path(made).absolute()


def clean(folder: Path) -> None:
    """Remove what was written and let the disk settle, so that no round pays for the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()


def python_of(checkout: Path) -> str:
    """Return the interpreter of another checkout, which must have an environment."""
    python = checkout / os.environ.get("VENV", ".venv") / "bin/python"
    if not python.exists():
        raise SystemExit(f"{checkout} has no environment: run `make install` there")
    return str(python)


def ask(module: str, *arguments: object, python: str = sys.executable) -> Any:
    """Return what a module of this folder prints last, as JSON, in a fresh interpreter, perhaps another one.

    Raises:
        RuntimeError: it failed; the message is the last line of what it said.
    """
    command = [str(Path(python).absolute()), "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(last_line(done.stderr, done.returncode))
    return json.loads(done.stdout.strip().splitlines()[-1])


def last_line(said: str, status: int) -> str:
    """Return why a process failed."""
    return (said.strip().splitlines() or [f"it ended with {status}"])[-1]


def cpu_seconds() -> float:
    """Return the processor time of this process and of all that it started, those that have ended included."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for process in descendants(os.getpid()):
        with suppress(OSError):
            stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            spent += sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
    return spent


@dataclass
class Times:
    """Seconds per item of one thing that is timed, by round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Processor time: what another load on the machine changes least, and waiting for the disk not at all."""

    def add(self, items: int, call: Callable[[], object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        call()
        self.wall.append((time.perf_counter() - started) / items)
        self.cpu.append((cpu_seconds() - cpu) / items)

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def cells(self) -> tuple[str, str, str]:
        """Return rate, milliseconds and milliseconds of processor time, for a table."""
        rates = [1 / one for one in self.wall]
        rate = spread(rates, 0 if min(rates) > 100 else 1)
        milliseconds = spread((1000 * one for one in self.wall), 1)
        return rate, milliseconds, f"{1000 * statistics.median(self.cpu):.2f}"


class Turn(NamedTuple):
    """What is timed when its turn comes."""

    items: int
    call: Callable[[], object]
    before: Callable[[], object] = lambda: None
    """Not timed."""


def take_turns(turns: Mapping[Name, Turn], rounds: int, *, untimed: int = 0) -> dict[Name, Times]:
    """Time each thing once a round; the first rounds may go without."""
    times = {name: Times() for name in turns}
    for number in range(untimed + rounds):
        for name, turn in turns.items():
            turn.before()
            (times[name] if number >= untimed else Times()).add(turn.items, turn.call)
    return times


def ratios(slow: Times, fast: Times) -> list[float]:
    """Return how many times as long one took as the other in each round."""
    return [a / b for a, b in zip(slow.wall, fast.wall, strict=True)]


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Return the median with the extremes, "" of nothing."""
    if not (ordered := sorted(values)):
        return ""
    return f"{statistics.median(ordered):.{digits}f} ({ordered[0]:.{digits}f}-{ordered[-1]:.{digits}f})"


def print_about() -> None:
    """Print commit and machine, to stand above tables."""
    cpu = Path("/proc/cpuinfo").read_text()
    names = re.findall("^model name\\s*: (.*)", cpu, re.MULTILINE) or [platform.machine()]
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in cpu] or [
        "no AVX2"
    ]
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    machine = f"{len(os.sched_getaffinity(0))} x {names[0]} with {vectors[0]}, {size:.0f} GB"
    system = f"Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"
    print(f"{commit_of(HERE)}, {time.strftime('%-d %B %Y')}; {machine}, {system}", flush=True)


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, and whether files are not as it has them."""
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty= with changes", "--exclude=*"]
    return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "no commit"


def print_head(*cells: object) -> None:
    print()
    print_row(*cells)
    print("|" + "---|" * len(cells))


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_times(title: str, times: Mapping[str, Times], base: str) -> None:
    """Print a table of rates and times; ratios are of the rate of `base`, and of what it does in a second of processors."""
    print_head(title, "a second", "ms each", "processor ms", f"of {base}", "by processor time")
    for name, one in times.items():
        of_cpu = statistics.median(times[base].cpu) / statistics.median(one.cpu)
        print_row(name, *one.cells(), spread(ratios(times[base], one), 2), f"{of_cpu:.2f}")


Bar = tuple[str, Sequence[float], float]
"""What is compared, its ratios, and how large their median should be; a negative one says how large at most."""


def print_bars(bars: Iterable[Bar]) -> None:
    """Print whether each is met."""
    print_head("bar", "", "measured", "")
    for what, found, bar in bars:
        median = statistics.median(found)
        limit, is_met = (f"at most {-bar}", median <= -bar) if bar < 0 else (bar, median >= bar)
        print_row(what, limit, spread(found, 2), "yes" if is_met else "**no**")


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    found: list[int] = []
    # It may end at any moment.
    with suppress(OSError):
        # Each is listed by the thread that started it.
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found
