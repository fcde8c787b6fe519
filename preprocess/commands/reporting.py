"""What commands have in common: exit codes, shared options, and errors in one line."""

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
import msgspec
from tqdm import tqdm

from ...loader.format.errors import PreprocessError
from ..errors import ConfigError
from ..printable import printable

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REJECTS = 3
EXIT_FOUND = 4
EXIT_EMPTY = 5


class FiniteRange(click.FloatRange):
    """A number between two bounds: neither infinite nor `nan`, which click's range lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that was given."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


ROOT_OPTION = click.option(
    "--root", required=True, type=click.Path(), help="Folder of the raw dataset, or its URL."
)

WORKERS_OPTION = click.option("--workers", type=click.IntRange(1), default=1, help="Processes.")

SEED_OPTION = click.option("--seed", type=click.IntRange(0), default=0, help="Of what is drawn by chance.")

SET_OPTION = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a config key: source.split=val."
)


@dataclass(frozen=True, slots=True)
class Output:
    """How much a command says, and in which form."""

    quiet: bool
    """Whether nothing is said but errors and what is asked for."""
    as_json: bool

    @property
    def progress(self) -> bool:
        """Whether to show progress bars: to a person, on stderr."""
        return not self.quiet and sys.stderr.isatty()

    def bar(self, numbers: Iterable[int], doing: str) -> Iterable[int]:
        """Show how far it is while numbers are gone through."""
        shown: Iterable[int] = tqdm(
            numbers, desc=doing, disable=not self.progress, leave=False, dynamic_ncols=True
        )
        return shown

    def note(self, line: str) -> None:
        """Say on stderr what is no result; a log on a full disk ends no run."""
        if not self.quiet:
            with suppress(OSError):
                click.echo(printable(line), err=True)

    def show(self, facts: Any, lines: Iterable[str]) -> None:
        """Print what was asked for: as JSON, or as lines for people."""
        if self.as_json:
            echo_json(facts)
        else:
            echo_lines(lines)

    def summary(self, facts: Any, lines: Iterable[str]) -> None:
        """Print what was done, likewise; under --quiet no lines."""
        self.show(facts, () if self.quiet else lines)


def with_output(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json`, `--quiet` and `--verbose`, as an argument `output`; have it end with an exit code, not a traceback."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
    @click.option(
        "-q",
        "--quiet",
        is_flag=True,
        help="Print errors and what is asked for alone: no progress, no summary.",
    )
    @click.option("-v", "--verbose", is_flag=True, help="Say more of what is done, on stderr.")
    @wraps(function)
    def wrapped(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> None:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose contradict each other: give one of them")
        log = logging.getLogger("resizeonce")
        log.addHandler(_HANDLER)
        log.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
        try:
            function(*args, output=Output(quiet, as_json), **kwargs)
        except PreprocessError as err:
            click.secho(f"error: {printable(str(err))}", fg="red", err=True)
            sys.exit(EXIT_USAGE if isinstance(err, ConfigError) else EXIT_FAILED)

    return wrapped


def echo_lines(lines: Iterable[str]) -> None:
    """Print lines, with what a terminal would obey spelt out."""
    for line in lines:
        click.echo(printable(line))


def echo_json(facts: Any) -> None:
    """Print structs, or JSON values, as one JSON document in ASCII, which holds nothing that a terminal would obey."""
    text = json.dumps(msgspec.to_builtins(facts))
    # Python writes words for what is infinite or no number that JSON has not: null stands for them.
    click.echo(json.dumps(json.loads(text, parse_constant=lambda _: None), indent=1))


class _AboveBars(logging.Handler):
    """Prints records on stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record; a log on a full disk ends no run."""
        try:
            tqdm.write(printable(self.format(record)), file=sys.stderr)
        except OSError:
            self.handleError(record)


_HANDLER = _AboveBars()
