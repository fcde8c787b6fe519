"""docs/cli.md, from the commands' own help: `make docs` writes it, a test compares it."""

from pathlib import Path

from click.testing import CliRunner

from resizeonce.preprocess.cli import COMMANDS, main

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def cli_page() -> str:
    """Return the page."""
    sections = ["# The command line\n\nWritten by `make docs` from the commands' own help.\n"]
    for name in ("", *COMMANDS):
        arguments = [*name.split(), "--help"]
        help_text = CliRunner().invoke(main, arguments, prog_name="resizeonce", terminal_width=100).output
        title = f"resizeonce {name}".strip()
        sections.append(f"## {title}\n\n```\n{help_text.rstrip()}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    PAGE.write_text(cli_page())
