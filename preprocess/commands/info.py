"""`resizeonce info`."""

import click

from ...loader.format.metadata import read_attributes
from ...loader.remote.protocol import shown
from ..environment import environment, environment_lines
from ..errors import ConfigError
from ..store.root import read_rejects
from ..store.root_files import root_folder
from .reporting import Output, with_output
from .store_text import info_lines


@click.command("info")
@click.argument("store", type=click.Path(), required=False)
@click.option(
    "--environment",
    "of_environment",
    is_flag=True,
    help="Print instead which compiled cores are in use, and the versions of libraries.",
)
@with_output
def command(store: str | None, of_environment: bool, output: Output) -> None:
    """Print what is in STORE, a folder or a URL.

    Example: resizeonce info coco.zarr, or resizeonce info --environment
    """
    if (store is None) != of_environment:
        raise ConfigError("give a store, or --environment")
    if store is None:
        found = environment()
        output.show(found, environment_lines(found))
        return
    with root_folder(store) as root:
        attributes = read_attributes(root)
        output.show(attributes, info_lines(shown(store), attributes, read_rejects(root)))
