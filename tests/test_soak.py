"""The short form of `make soak`: a few kills of a few datasets."""

from pathlib import Path

from soak import soak


def test_conversions_that_are_killed_end_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    soaks = soak(("coco", "sav"), kills=3, seed=7, folder=tmp_path)
    assert [fault for each in soaks for fault in each.faults] == []
    assert sum(each.kills.total() for each in soaks) >= 3
