"""`resizeonce config`, and a CONFIG as an argument."""

import click
from click.shell_completion import CompletionItem

from ..config import SHIPPED, find_config, load_config
from .reporting import SET_OPTION, Output, echo_json, with_output


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


@click.command("config")
@click.argument("config", required=False, type=ConfigName())
@SET_OPTION
@with_output
def command(config: str | None, overrides: tuple[str, ...], output: Output) -> None:
    """List the configs that come with the package, or print CONFIG, one of them, to edit it.

    With --json or --set, or where CONFIG is a file, print its effective settings as JSON, defaults included.

    Example: resizeonce config coco > my.toml
    """
    if config is None:
        titles = {name: path.read_text("utf-8").partition("\n")[0][2:] for name, path in SHIPPED.items()}
        output.show(titles, (f"{name:<11} {title}" for name, title in titles.items()))
        return
    path = find_config(config)
    if output.as_json or overrides or path != SHIPPED.get(config):
        echo_json(load_config(config, overrides).settings())
    else:
        click.echo(path.read_bytes(), nl=False)
