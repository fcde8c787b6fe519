"""`resizeonce info`."""

import click

from ...loader.format.metadata import read_attributes
from ...loader.remote.protocol import shown
from ..cli_text import info_lines
from ..environment import environment, environment_lines
from ..errors import ConfigError
from ..store.root import read_rejects
from ..store.root_files import root_folder
from .reporting import echo_json, echo_lines, reported


@click.command("info")
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
@reported
def command(store: str | None, of_environment: bool, as_json: bool) -> None:
    """Print what is in STORE, a folder or a URL.

    Example: resizeonce info coco.zarr, or resizeonce info --environment
    """
    if (store is None) != of_environment:
        raise ConfigError("give a store, or --environment")
    if store is None:
        found = environment()
        if as_json:
            echo_json(found)
        else:
            echo_lines(environment_lines(found))
        return
    with root_folder(store) as root:
        attributes = read_attributes(root)
        if as_json:
            echo_json(attributes)
        else:
            echo_lines(info_lines(shown(store), attributes, read_rejects(root)))
