"""The command line: parses, calls, prints. The only place that catches the project's errors."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import click
import msgspec

from .. import __version__
from ..loader.format.errors import PreprocessError
from ..loader.format.metadata import read_attributes
from ..loader.remote.protocol import shown
from .cli_text import arithmetic_warning, forecast_lines, info_lines, range_lines, report_lines
from .config import SHIPPED, find_config, load_config
from .environment import environment, environment_lines
from .errors import ConfigError
from .printable import printable
from .run.convert import convert, convert_range, finish, open_source
from .run.dask_cluster import open_cluster
from .run.forecast import Forecast, forecast, format_bytes, measure_scenes
from .run.options import STALL_SECONDS, RunOptions
from .run.part_range import PartRange
from .run.report import RangeReport, Report
from .signals import exit_code
from .store.root import read_rejects
from .store.root_files import root_folder
from .verify.check_store import VerifyOptions, verify_store

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REJECTS = 3
EXIT_DAMAGE = 4
EXIT_EMPTY = 5

DRY_RUN_SCENES = 64

_SCRATCH_HELP = "Where parts wait to be published, if --out is a URL; by default in the user's cache folder."

MAX_REJECTS = click.option(
    "--max-rejects",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="More give exit code 3.",
)

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _errors_reported() -> Iterator[None]:
    """Turn the project's errors into one line on stderr and an exit code."""
    try:
        yield
    except ConfigError as err:
        click.secho(f"error: {printable(str(err))}", fg="red", err=True)
        sys.exit(EXIT_USAGE)
    except PreprocessError as err:
        click.secho(f"error: {printable(str(err))}", fg="red", err=True)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt as err:
        click.echo("interrupted: run the same command again to go on where it stopped", err=True)
        sys.exit(exit_code(err))


def reporting_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that it ends with an exit code, not a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _errors_reported():
            return command(*args, **kwargs)

    return wrapped


@click.group()
@click.version_option(__version__, prog_name="resizeonce")
def main() -> None:
    """Write every training tensor once, from the original pixels; then only read.

    Exit codes: 0 done, 1 failed, 2 wrong usage or config, 3 done with more rejects than --max-rejects,
    4 verify found damage, 5 done without a single sample, 130 interrupted by Ctrl-C, 143 ended by SIGTERM.
    """


@main.command("convert")
@click.argument("config")
@click.option("--root", required=True, type=click.Path(), help="Folder of the raw dataset, or its URL.")
@click.option(
    "--out",
    required=True,
    type=click.Path(),
    help="Store to write, such as coco.zarr, or its URL.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a config key: source.split=val.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler.")
@click.option(
    "--part-range",
    metavar="K/N",
    help="Write the K-th of N shares of the parts, as a task of a job array; then `resizeonce finish`.",
)
@click.option(
    "--scene-timeout",
    "stall_seconds",
    type=click.FloatRange(1),
    default=STALL_SECONDS,
    show_default=True,
    help="Seconds without a finished scene after which a worker process is taken for dead.",
)
@click.option("--limit", type=click.IntRange(1), help="Samples to write at most.")
@click.option("--append", is_flag=True, help="Add those scenes that a finished store lacks, as new parts.")
@click.option("--dry-run", is_flag=True, help="Count and forecast the disk it takes; write nothing.")
@click.option("--scratch", type=click.Path(), metavar="DIR", help=_SCRATCH_HELP)
@click.option("--force", is_flag=True, help="Start although the disk seems too small.")
@click.option(
    "--overwrite", is_flag=True, help="Remove the store first, if there is one and nothing else in it."
)
@click.option(
    "--on-error",
    type=click.Choice(["record", "fail"]),
    default="record",
    show_default=True,
    help="List bad records and go on, or stop at the first.",
)
@click.option(
    "--engine",
    type=click.Choice(["exact-fast", "pillow"]),
    help="What does the work, to the same bytes; by default the fast one where it is installed.",
)
@MAX_REJECTS
@reporting_errors
def convert_command(
    config: str,
    root: str,
    out: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    max_rejects: int,
    scheduler: str | None,
    part_range: str | None,
    **run: Any,
) -> None:
    """Convert the raw dataset that CONFIG describes into a store.

    CONFIG is a name that `resizeonce config` lists, or a TOML file. Run again after an interruption, it finishes what
    is missing.

    Example: resizeonce convert coco --root /data/coco --out coco.zarr --workers 8
    """
    effective = load_config(config, overrides)
    if dry_run:
        if run["append"] or part_range is not None:
            raise ConfigError(
                "--dry-run looks at the whole dataset: it goes neither with --append nor with --part-range"
            )
        source = open_source(effective, root)
        measure = partial(measure_scenes, damaged=effective.options.damaged, columns=effective.store.columns)
        expected = forecast(source, effective.recipe, DRY_RUN_SCENES, run["limit"], measure)
        for line in forecast_lines(expected):
            click.echo(line)
        return
    share = None if part_range is None else PartRange.parse(part_range)
    with ExitStack() as stack:
        if scheduler is not None:
            run["executor"], run["workers"] = stack.enter_context(open_cluster(scheduler))
        options = RunOptions(progress=sys.stderr.isatty(), announce=_announce, **run)
        if share is None:
            report = convert(effective, root, out, options)
            _end(report_lines(report), report, max_rejects)
        else:
            part_report = convert_range(effective, root, out, share, options)
            _end(range_lines(part_report), part_report, max_rejects)


def _end(lines: Iterator[str], report: Report | RangeReport, max_rejects: int) -> None:
    """Print the closing summary and exit with what it amounts to; of a range, that it has no sample says nothing."""
    for line in lines:
        click.echo(printable(line))
    if report.num_rejects > max_rejects:
        click.echo(
            f"{report.num_rejects:,} rejects, {max_rejects:,} allowed: see rejects.jsonl in {report.store}",
            err=True,
        )
        sys.exit(EXIT_REJECTS)
    if isinstance(report, Report) and not report.attributes["totals"]["samples"]:
        sys.exit(EXIT_EMPTY)


@main.command("finish")
@click.argument("store", type=click.Path())
@click.option("--scratch", type=click.Path(), metavar="DIR", help=_SCRATCH_HELP.replace("--out", "STORE"))
@MAX_REJECTS
@reporting_errors
def finish_command(store: str, scratch: str | None, max_rejects: int) -> None:
    """Make STORE of the parts that `convert --part-range` wrote.

    Example: resizeonce finish sa1b.zarr
    """
    report = finish(store, scratch)
    _end(report_lines(report), report, max_rejects)


def _announce(forecast: Forecast) -> None:
    click.echo(
        f"about {forecast.samples:,} samples and {format_bytes(forecast.store_bytes)} on disk, "
        f"judged by {forecast.num_read} of {forecast.num_scenes:,} scenes",
        err=True,
    )
    if forecast.undecided:
        click.echo(f"warning: {arithmetic_warning(forecast)}", err=True)


@main.command("info")
@click.argument("store", type=click.Path(), required=False)
@click.option(
    "--environment",
    "of_environment",
    is_flag=True,
    help="Print instead which compiled cores are in use, and the versions of libraries.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the store's attributes, or all of these, as JSON."
)
@reporting_errors
def info_command(store: str | None, of_environment: bool, as_json: bool) -> None:
    """Print what is in STORE, a folder or a URL.

    Example: resizeonce info coco.zarr, or resizeonce info --environment
    """
    if (store is None) != of_environment:
        raise ConfigError("give a store, or --environment")
    if store is None:
        found = environment()
        click.echo(json.dumps(found, indent=1) if as_json else "\n".join(environment_lines(found)))
        return
    with root_folder(store) as root:
        attributes = read_attributes(root)
        if as_json:
            click.echo(json.dumps(attributes, indent=1))
            return
        for line in info_lines(shown(store), attributes, read_rejects(root)):
            click.echo(printable(line))


@main.command("config")
@click.argument("config", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a config key.")
@click.option("--json", "as_json", is_flag=True, help="Print the effective settings, defaults included.")
@reporting_errors
def config_command(config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the configs that come with the package, or print CONFIG, one of them, to edit it.

    With --json or --set, or where CONFIG is a file, print its effective settings as JSON, defaults included.

    Example: resizeonce config coco > my.toml
    """
    if config is None:
        for name, path in SHIPPED.items():
            title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
            click.echo(f"{name:<11} {title}")
        return
    path = find_config(config)
    if as_json or overrides or path != SHIPPED.get(config):
        settings = load_config(config, overrides).settings()
        click.echo(msgspec.json.format(msgspec.json.encode(settings), indent=1).decode())
    else:
        click.echo(path.read_bytes(), nl=False)


@main.command("verify")
@click.argument("store", type=click.Path())
@click.option(
    "--values", is_flag=True, help="Look at every pixel, too: what the tensors show, and whether they agree."
)
@click.option(
    "--source",
    type=click.Path(),
    metavar="ROOT",
    help="Make scenes anew from the raw dataset in ROOT and compare them bit for bit. STORE itself, where it keeps the files "
    "of its images: then these alone are made anew.",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Scenes to make anew, evenly spread.",
)
@click.option("--all", "every", is_flag=True, help="Make every scene anew.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@reporting_errors
def verify_command(
    store: str, values: bool, source: str | None, sample: int, every: bool, as_json: bool, workers: int
) -> None:
    """Check that STORE is what its format, its recipe and its raw dataset say.

    Findings go to stdout, one a line; the exit code is 4 where one of them is damage. docs/verify.md says which depth
    finds what.

    Example: resizeonce verify coco.zarr --values --source /data/coco --sample 200
    """
    options = VerifyOptions(
        values=values,
        source=source,
        sample=None if every else sample,
        workers=workers,
        progress=sys.stderr.isatty(),
    )
    report = verify_store(store, options)
    if as_json:
        click.echo(report.to_json().decode())
    else:
        for line in report.lines():
            click.echo(printable(line))
    if report.is_damaged:
        sys.exit(EXIT_DAMAGE)
