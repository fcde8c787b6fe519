"""What dead processes left among the attempts."""

import time
from pathlib import Path

import pytest

from resizeonce.preprocess.store.attempts import discard_parts, have_died, sweep_parts


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder in which processes died of a forecast, of part 1 and of part 99,999."""
    for name in ("forecast", "part-00001", "part-99999"):
        folder = tmp_path / ".attempts" / f"{name}.0123456789ab"
        folder.mkdir(parents=True)
        folder.with_name(f"{folder.name}.note").write_text(f"0000 {3:20d}\n")
    return tmp_path


def test_who_died_is_told_by_the_whole_name(store: Path) -> None:
    assert have_died(store, ["part-00000", "part-00001"])
    assert have_died(store, ["part-99999"])
    assert not have_died(store, ["part-00000", "part-09999", "part-9999"])


def test_sweeping_parts_lists_the_attempts_once_not_for_each_part(store: Path) -> None:
    started = time.process_time()
    sweep_parts(store, range(90_000))
    # A scan for each of them took five seconds.
    assert time.process_time() - started < 2
    left = {path.name for path in (store / ".attempts").iterdir()}
    assert left == {
        f"{name}.0123456789ab{suffix}" for name in ("forecast", "part-99999") for suffix in ("", ".note")
    }


def test_parts_that_are_there_are_discarded_whatever_stands_in_their_place(tmp_path: Path) -> None:
    for name in ("part-00000", "part-00002"):
        (tmp_path / name / "images").mkdir(parents=True)
    (tmp_path / "part-00003").symlink_to(tmp_path / "nowhere")
    discard_parts(tmp_path, range(1, 90_000))
    assert {path.name for path in tmp_path.glob("part-*")} == {"part-00000"}
    assert list((tmp_path / ".attempts").iterdir()) == []
