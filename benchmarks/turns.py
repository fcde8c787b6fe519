"""Ours against another commit, warm: both readers live at once and take short turns, so that the machine's moods meet both.

::

    python benchmarks/turns.py ../before
    python benchmarks/turns.py ../before --only "ours, pairs" --rounds 8

The other checkout needs an environment (`make install`). See benchmarks/README.md, section "Against another commit".
"""

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import frame
from cases import CASES, Pace, start
from loading_data import make_paired, make_singles

TURNS = 6
"""Of each reader in a round."""


def take_turns(
    name: str, pythons: Sequence[str], folder: Path, seconds: float, *, swapped: bool
) -> list[list[Pace]]:
    """Return the turns of both readers in one round: both start anew, and each turn begins with the other one."""
    paces: list[list[Pace]] = [[], []]
    with ExitStack() as stack:
        first = [1, 0] if swapped else [0, 1]
        readers = {number: stack.enter_context(start(name, folder, pythons[number])) for number in first}
        for reader in readers.values():
            # After 64 batches the system puts pages of shared memory together, which takes a second or two for pairs.
            reader.read(15 * seconds)
        for turn in range(TURNS):
            for number in first if turn % 2 else first[::-1]:
                paces[number].append(readers[number].read(seconds))
    return paces


def print_case(name: str, rounds: Sequence[list[list[Pace]]]) -> None:
    """Print a row: medians of all turns, and of the ratios of neighbours in each round."""
    rates = [[pace.rate for paces in rounds for pace in paces[who]] for who in (0, 1)]
    of_rate, of_cpu = (
        [
            statistics.median(ours[field] / theirs[field] for ours, theirs in zip(*paces, strict=True))
            for paces in rounds
        ]
        for field in (0, 1)
    )
    is_met = "yes" if statistics.median(of_rate) >= 0.97 else "**no**"
    frame.print_row(
        name, *map(frame.spread, rates), *(frame.spread(of, 2) for of in (of_rate, of_cpu)), is_met
    )


def main() -> None:
    parser = frame.parser_of(__doc__, samples=256, rounds=4, seconds=1.0)
    parser.add_argument("checkout", type=Path, help="of the other commit")
    cases = ["ours, 2", "ours, pairs"]
    parser.add_argument("--only", nargs="+", metavar="START", default=cases, help="cases")
    options = parser.parse_args()
    names = [name for name in CASES if name.startswith(tuple(options.only))]
    pythons = [sys.executable, frame.python_of(options.checkout)]
    frame.print_about()
    print(f"against {frame.commit_of(options.checkout)}; {options.rounds} rounds of {TURNS} turns")
    with frame.scratch(options.folder) as folder:
        singles = make_singles(folder, options.samples)
        pairs = make_paired(folder) if any("pairs" in name for name in names) else []
        for name, python in product(names, pythons):
            with start(name, folder, python) as reader:
                digests = reader.ask("check")["digests"]
            if sorted(digests) != sorted(pairs if "pairs" in name else singles):
                raise SystemExit(f"{name} by {python}: samples are wrong, or missing")
        frame.print_head(
            "reader", "samples/s", "before", "of it, by round", "processor time of it", "bar 0.97"
        )
        for name in names:
            rounds = [
                take_turns(name, pythons, folder, options.seconds, swapped=bool(number % 2))
                for number in range(options.rounds)
            ]
            print_case(name, rounds)


if __name__ == "__main__":
    main()
