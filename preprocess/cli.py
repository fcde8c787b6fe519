"""The command line: which commands there are. Each is imported when it is needed: asking for the version waits for none."""

import os
import sys
from contextlib import suppress
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from .. import __version__
from .signals import exit_code

COMMANDS = {
    "convert": "Convert a raw dataset into a store.",
    "finish": "Make a store of the parts that job arrays wrote.",
    "info": "Print what is in a store.",
    "config": "List the configs, or print one to edit it.",
    "doctor": "Say what is wrong with a raw dataset.",
    "verify": "Check that a store is what it promises.",
    "audit": "Find training pictures that are in a validation set, too.",
    "preview": "Draw samples of a store as a contact sheet.",
    "report": "Write a page about a store: what is in it, and some of its samples.",
    "bench": "Measure how fast a store is read, and whether training waits.",
    "diff": "Compare two stores.",
    "card": "Write a card for the Hugging Face Hub, and a Croissant document.",
    "completion": "Print what completes commands in a shell.",
}
"""Every command and its line in the list; the command itself is `command` in the file of its name in `commands`."""

RESUMED = ("convert", "finish")
"""Those that go on where they were interrupted; the others begin anew."""


class Commands(click.Group):
    """The commands by name, imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of the name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f".commands.{cmd_name}", __package__).command
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Import and run a command; Ctrl-C, SIGTERM and SIGHUP end it with one line, also while it is imported."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as err:
            goes_on = ctx.invoked_subcommand in RESUMED
            advice = ": run the same command again to go on where it stopped" if goes_on else ""
            # The terminal may be gone.
            with suppress(OSError):
                click.echo(f"interrupted{advice}", err=True)
            sys.exit(exit_code(err))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a word that begins so can be, without importing any command."""
        names = [
            CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.command(cls=Commands, context_settings={"max_content_width": 100, "show_default": True})
@click.version_option(__version__, prog_name="resizeonce")
@click.pass_context
def main(context: click.Context) -> None:
    """Write every training tensor once, from the original pixels; then only read.

    Exit codes: 0 done, 1 failed, 2 wrong usage or config, 3 done with more rejects than --max-rejects,
    4 something was found (verify: damage, doctor: errors, audit: pictures in both, diff: differences), 5 done without a single
    sample, 130 interrupted by Ctrl-C, 143 ended by SIGTERM, 129 by SIGHUP.

    Example: resizeonce convert coco --root /data/coco --out coco.zarr, then resizeonce verify coco.zarr
    """
    if os.environ.get("NO_COLOR"):
        # no-color.org; what commands print inherits it.
        context.color = False
