"""Random flipped bits: each is found, or changes nothing that a reader can see."""

from pathlib import Path

import pytest
from fuzz_store import fuzz


@pytest.mark.parametrize("name", ["coco", "refcoco", "sav", "views"])
def test_flipped_bit_is_found_or_harmless(sound: Path, tmp_path: Path, name: str) -> None:
    outcome = fuzz(sound / f"{name}.zarr", tmp_path / "fuzzed.zarr", count=10, seed=7)
    assert outcome.missed == []
    assert outcome.delivered == []
    assert outcome.found >= 8
