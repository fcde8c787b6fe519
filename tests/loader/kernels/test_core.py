"""The loader without its compiled core: it says so once, and not where that was asked for."""

import sys
from pathlib import Path

import pytest
from stores import coco_store

from resizeonce.loader import BatchLoader, SampleDataset
from resizeonce.loader.kernels import core


@pytest.fixture(autouse=True)
def _without_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "CORE", None)
    monkeypatch.setitem(sys.modules, "resizeonce.loader.kernels._core", None)
    core.warn_without_core.cache_clear()


@pytest.mark.parametrize("kind", [SampleDataset, BatchLoader])
def test_a_trainer_without_the_core_is_told_so_once_where_it_makes_its_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[SampleDataset] | type[BatchLoader]
) -> None:
    monkeypatch.delenv("RESIZEONCE_CORE", raising=False)
    coco_store(tmp_path)
    with pytest.warns(
        UserWarning, match=r"filled by numpy.* the install had no working C compiler"
    ) as warned:
        _ = [kind(tmp_path / "coco.zarr") for _ in range(2)]
    assert [warning.filename for warning in warned] == [__file__]


def test_a_trainer_that_switched_the_core_off_is_not_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIZEONCE_CORE", "off")
    coco_store(tmp_path)
    SampleDataset(tmp_path / "coco.zarr")
