"""`resizeonce completion`."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    r"""Print the lines that let SHELL complete commands, options and names of configs when Tab is pressed.

    \b
    Example: resizeonce completion bash >> ~/.bashrc
             resizeonce completion zsh >> ~/.zshrc
             resizeonce completion fish > ~/.config/fish/completions/resizeonce.fish
    """
    root = click.get_current_context().find_root()
    found = get_completion_class(shell)
    assert found is not None, "click completes in each of these shells"
    click.echo(found(root.command, {}, "resizeonce", "_RESIZEONCE_COMPLETE").source())
