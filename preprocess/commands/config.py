"""`resizeonce config`."""

import click

from ..config import SHIPPED, find_config, load_config
from .config_name import ConfigName
from .reporting import SET_OPTION, echo_json, echo_lines, reported


@click.command("config")
@click.argument("config", required=False, type=ConfigName())
@SET_OPTION
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the effective settings, defaults included, or the list, as JSON.",
)
@reported
def command(config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the configs that come with the package, or print CONFIG, one of them, to edit it.

    With --json or --set, or where CONFIG is a file, print its effective settings as JSON, defaults included.

    Example: resizeonce config coco > my.toml
    """
    if config is None:
        titles = {name: path.read_text("utf-8").partition("\n")[0][2:] for name, path in SHIPPED.items()}
        if as_json:
            echo_json(titles)
        else:
            echo_lines(f"{name:<11} {title}" for name, title in titles.items())
        return
    path = find_config(config)
    if as_json or overrides or path != SHIPPED.get(config):
        echo_json(load_config(config, overrides).settings())
    else:
        click.echo(path.read_bytes(), nl=False)
