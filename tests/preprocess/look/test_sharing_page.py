"""docs/sharing.md: its commands print what it says they do."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from stores import coco_store

from resizeonce.preprocess.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "sharing.md"


def test_the_commands_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = (
        "recipe.prompt_masks.filter=cover",
        "recipe.pixel_values.stored=compact",
        "store.scenes_per_part=3",
    )
    for name, overrides, limit in (("old", (), None), ("new", changed, 6)):
        coco_store(tmp_path, *overrides, limit=limit)
        (tmp_path / "coco.zarr").rename(tmp_path / f"{name}.zarr")
    monkeypatch.chdir(tmp_path)
    shown = re.findall(
        r"^```console\n\$ resizeonce (.*?)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert [command.split()[0] for command, _ in shown] == ["diff", "card"]
    for command, output in shown:
        printed = iter(
            CliRunner().invoke(main, command.split()).output.replace(str(tmp_path), "/data").splitlines()
        )
        # In this order; the page leaves out some lines of sizes and digests.
        for line in output.splitlines():
            assert line in printed, line
