"""The benchmark of scale, on a store of few parts: it measures a store that can be read."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from resizeonce.loader import Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.order.plan import Batching

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def scale() -> Any:
    spec = importlib.util.spec_from_file_location("scale", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def path(scale: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale") / "3.zarr"
    scale.make_store(path, 3)
    return path


def test_the_store_has_a_hundred_masks_an_image(path: Path) -> None:
    store = Store(path)
    assert len(store) == 150_000
    plan = Order([SampleIndex(store, masks="one")], OrderOptions(seed=1)).plan(Batching(batch_size=8))
    assert len(plan) == 1500 // 8
    # Masks lie by image.
    assert len(set(plan.batch(0).sample // 100)) == 8


def test_every_rule_is_measured(scale: Any, path: Path) -> None:
    for rule in scale.RULES.values():
        figures = scale.measure(path, rule)
        assert len(figures) == 7
        assert all(figure > 0 for figure in figures)
