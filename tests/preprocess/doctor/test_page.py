"""docs/doctor.md shows what the command prints, and names every check."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from miniature.coco import write_coco
from miniature.shapes import picture_of

from resizeonce.preprocess.cli import main
from resizeonce.preprocess.doctor.doubts import DOUBTS
from resizeonce.preprocess.doctor.rejects import OTHER, REJECT_CHECKS
from resizeonce.preprocess.doctor.skips import SKIP_CHECKS

PAGE = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()


def test_the_page_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path / "raw", [picture_of(300, 450, seed) for seed in range(5)])
    (tmp_path / "raw" / "train2017" / "000000000004.jpg").unlink()
    index = tmp_path / "raw" / "annotations" / "instances_train2017.json"
    content = json.loads(index.read_text())
    content["annotations"][4]["segmentation"]["size"] = [450, 300]
    content["annotations"][6]["bbox"] = [0, 0, 30, 20]
    index.write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    (shown,) = re.findall(r"^```console\n\$ resizeonce (.*?)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert CliRunner().invoke(main, shown[0].split()).stdout == shown[1]


def test_the_page_names_every_check() -> None:
    named = set(re.findall(r"`([a-z-]+)`", PAGE))
    checks = {check.name for check in (*REJECT_CHECKS, OTHER)} | set(DOUBTS)
    checks |= {check.name for check in SKIP_CHECKS if check.severity == "warning"}
    assert checks <= named
