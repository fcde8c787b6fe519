"""Kills conversions at random moments, again and again: `python tests/fuzz/soak.py KILLS [SEED]`.

Each conversion is a command of its own. It is killed - its main process, a worker, all of them, or by Ctrl-C - and
given again until it is done. After each kill no name in the store may be torn; at the end every byte is compared with
a run that nobody disturbed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS, tree_digest

VICTIMS = ("main", "main", "worker", "all", "interrupt")

FINISHED = (0, 3)
"""Exit codes of a run that came to its end: some of the datasets have rejects."""

KILLED = (-signal.SIGKILL, 130, -signal.SIGINT)
"""Exit codes of a run that was killed, or interrupted, the last of them while the interpreter was ending."""

SIZES = ("pixel_values.size=56", "g_pixel_values.size=128", "masks.size=128")


@dataclass
class Soak:
    """A dataset, the bytes that its store must have, and what was done so far."""

    name: str
    root: Path
    out: Path
    whole: dict[str, str]
    seconds: float
    """How long an undisturbed run takes."""
    working: float
    """How much of that is after its first sign of work."""
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def until_done(self, most: int) -> None:
        """Convert once, disturbed up to `most` times."""
        shutil.rmtree(self.out, ignore_errors=True)
        for turn in range(most + 1):
            code, said = self._disturb() if turn < most else self._run_to_the_end()
            self._check_names()
            if code in FINISHED:
                break
            if code not in KILLED and not is_interrupted_start(said):
                self.faults.append(f"{self.name}: exit code {code}: {said}")
                return
        if tree_digest(self.out) != self.whole:
            self.faults.append(f"{self.name}: other bytes than those of an undisturbed run")

    def _disturb(self) -> tuple[int, str]:
        """Run the command and kill it at a random moment, which may come too late; return how it ended."""
        victim = self.chance.choice(VICTIMS)
        process = start(self.name, self.root, self.out, self.chance.choice((1, 2)))
        if self.chance.random() < 0.7:
            # Most of the time goes into starting: wait for the first sign of work.
            while process.poll() is None and not (self.out / ".attempts").exists():
                time.sleep(0.002)
            time.sleep(self.chance.uniform(0, self.working))
        else:
            time.sleep(self.chance.uniform(0, self.seconds))
        if process.poll() is None and strike(process, victim, self.chance):
            self.kills[victim] += 1
        _, said = process.communicate(timeout=300)
        return process.returncode, said[-2000:]

    def _run_to_the_end(self) -> tuple[int, str]:
        process = start(self.name, self.root, self.out, 2)
        _, said = process.communicate(timeout=300)
        return process.returncode, said[-2000:]

    def _check_names(self) -> None:
        """Whatever has a final name must be whole."""
        for part in self.out.glob("part-*"):
            found = {f"{part.name}/{name}": digest for name, digest in tree_digest(part).items()}
            wanted = {name: digest for name, digest in self.whole.items() if name.startswith(f"{part.name}/")}
            if found != wanted:
                self.faults.append(f"{self.name}: {part.name} is torn")


def is_interrupted_start(said: str) -> bool:
    """Tell whether Ctrl-C came before the interpreter was ready to run anything of ours, which is its own way to end."""
    return "init_import_site" in said and said.rstrip().endswith("KeyboardInterrupt")


def start(name: str, root: Path, out: Path, workers: int) -> "subprocess.Popen[str]":
    """Start the command that converts a dataset, in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "resizeonce.preprocess",
        "convert",
        str(CONFIGS / f"{name}.toml"),
        "--root",
        str(root),
    ]
    command += ["--out", str(out), "--workers", str(workers), "--set", "store.scenes_per_part=1"]
    # It starts faster, and most of the time goes into starting.
    command += ["--engine", "pillow"]
    for size in SIZES:
        command += ["--set", f"recipe.{size}"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def strike(process: "subprocess.Popen[str]", victim: str, chance: random.Random) -> bool:
    """Kill; return whether there was somebody to kill."""
    if victim == "main":
        process.kill()
    elif victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    else:
        workers = children_of(process.pid)
        if not workers:
            return False
        try:
            os.kill(chance.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            return False
    return True


def children_of(pid: int) -> list[int]:
    """Return a process's children, whichever of its threads started them."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def prepare(name: str, folder: Path, seed: int, pictures: int = 6) -> Soak:
    """Write a dataset, convert it undisturbed, and return the two."""
    root, whole = folder / name, folder / f"{name}-whole.zarr"
    WRITERS[name](root, [picture_of(120 + 10 * number, 160, number) for number in range(pictures)])
    began = time.monotonic()
    process = start(name, root, whole, 2)
    while process.poll() is None and not (whole / ".attempts").exists():
        time.sleep(0.002)
    ready = time.monotonic()
    _, said = process.communicate(timeout=300)
    assert process.returncode in FINISHED, said
    ended = time.monotonic()
    out = folder / f"{name}.zarr"
    chance = random.Random(f"{name} {seed}")
    return Soak(name, root, out, tree_digest(whole), ended - began, ended - ready, chance)


def soak(names: Sequence[str], kills: int, seed: int, folder: Path) -> list[Soak]:
    """Kill `kills` times, in turn over the datasets."""
    soaks = [prepare(name, folder, seed) for name in names]
    while sum(each.kills.total() for each in soaks) < kills and not any(each.faults for each in soaks):
        each = min(soaks, key=lambda each: each.kills.total())
        each.until_done(most=each.chance.randint(1, 8))
        done = sum(each.kills.total() for each in soaks)
        print(f"{done} of {kills} kills, {each.name} is whole after {dict(each.kills)}", flush=True)
    return soaks


def main(kills: int, seed: int) -> int:
    """Soak every source; return how many faults were found."""
    # A command that a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as name:
        soaks = soak(tuple(WRITERS), kills, seed, Path(name))
    faults = [fault for each in soaks for fault in each.faults]
    for each in soaks:
        print(f"{each.name:12} {dict(each.kills)}")
    print("\n".join(faults) or "every store has the bytes of an undisturbed run")
    return len(faults)


if __name__ == "__main__":
    given = [*sys.argv[1:], "0"]
    sys.exit(main(int(given[0]), int(given[1])) > 0)
