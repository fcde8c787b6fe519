"""A CONFIG on the command line, and what completes it."""

import click
from click.shell_completion import CompletionItem

from ..config import SHIPPED


class ConfigName(click.ParamType[str]):
    """The name of a shipped config, or a file."""

    name = "config"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the shipped configs whose names begin so, and have the shell add files."""
        # Files first: in bash, click's lines forget what stands before that.
        names = [CompletionItem(name) for name in SHIPPED if name.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *names]
