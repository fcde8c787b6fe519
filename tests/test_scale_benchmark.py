"""The benchmark of scale, on a store of few parts: it measures a store that can be read."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resizeonce.loader import Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.order.plan import Batching

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scale() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        # By its name: benchmarks are no package.
        patch.delitem(sys.modules, "scale", raising=False)
        import scale

        yield scale


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
