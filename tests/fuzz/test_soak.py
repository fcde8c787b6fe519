"""The short form of `make soak`: a few kills of a few datasets."""

from pathlib import Path

import pytest
from grids import slow
from soak import soak


@pytest.mark.parametrize(("names", "kills"), [(("coco",), 2), slow(("coco", "sav"), 3)])
def test_conversions_that_are_killed_end_with_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, names: tuple[str, ...], kills: int
) -> None:
    soaks = soak(names, kills, seed=7, folder=tmp_path)
    assert [fault for each in soaks for fault in each.faults] == []
    assert sum(each.kills.total() for each in soaks) >= kills
