import sys
from pathlib import Path

import numpy as np
import pytest
from grids import pairs
from miniature.every import WRITERS
from stores import CONFIGS, pictures, tree_digest

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.decode.segmentation import Bitmap, Rle
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.tensors import engine
from resizeonce.preprocess.tensors.engine import PILLOW, EngineError, default_engine, open_engine
from resizeonce.preprocess.tensors.transforms import MaskFilter

needs_core = pytest.mark.skipif(engine.CORE is None, reason="this install has no compiled core")

RECIPES = {
    "default": (),
    "sa2va": ("recipe.name=sa2va",),
    "custom": (
        "recipe.prompt_masks.filter=cover",
        "recipe.pixel_values={filter='lanczos', size=337, stored='float32'}",
        "recipe.masks.size=777",
    ),
}


@needs_core
@pytest.mark.parametrize(("recipe", "source"), pairs(RECIPES, reversed(WRITERS)))
def test_both_engines_write_the_same_bytes(tmp_path: Path, source: str, recipe: str) -> None:
    WRITERS[source](tmp_path / "raw", pictures()[:3])
    config = load_config(CONFIGS / f"{source}.toml", RECIPES[recipe])
    convert(config, tmp_path / "raw", tmp_path / "pillow", RunOptions(engine="pillow"))
    convert(config, tmp_path / "raw", tmp_path / "fast", RunOptions(engine="exact-fast"))
    assert tree_digest(tmp_path / "pillow") == tree_digest(tmp_path / "fast")


@needs_core
def test_a_store_made_by_one_engine_is_complete_for_the_other(tmp_path: Path) -> None:
    WRITERS["coco"](tmp_path / "raw", pictures()[:2])
    config = load_config(CONFIGS / "coco.toml")
    convert(config, tmp_path / "raw", tmp_path / "out", RunOptions(engine="pillow"))
    assert convert(config, tmp_path / "raw", tmp_path / "out", RunOptions(engine="exact-fast")).was_complete


@needs_core
def test_the_fast_engine_is_the_default_and_whole_on_this_machine() -> None:
    assert default_engine() == "exact-fast"
    assert open_engine("exact-fast").description == "exact-fast"
    assert open_engine("pillow") is PILLOW


def test_without_a_compiled_core_pillow_is_the_default_and_the_fast_engine_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "CORE", None)
    monkeypatch.setitem(sys.modules, "resizeonce.preprocess.kernels._core", None)
    monkeypatch.delenv("RESIZEONCE_CORE", raising=False)
    open_engine.cache_clear()
    assert default_engine() == "pillow"
    with pytest.raises(EngineError, match="no working C compiler"):
        open_engine("exact-fast")
    monkeypatch.setenv("RESIZEONCE_CORE", "off")
    with pytest.raises(EngineError, match='RESIZEONCE_CORE is "off"'):
        open_engine("exact-fast")


@needs_core
@pytest.mark.parametrize("mask_filter", ["pillow-nearest", "torch-nearest", "cover"])
def test_both_engines_resize_runs_and_bitmaps_alike(mask_filter: MaskFilter) -> None:
    rng = np.random.default_rng(0)
    fast = open_engine("exact-fast").resize_mask
    for _ in range(50):
        height, width = (int(side) for side in rng.integers(1, 300, 2))
        cuts = np.sort(rng.integers(0, height * width + 1, int(rng.integers(0, 40))))
        rle = Rle(height, width, np.diff(cuts, prepend=0, append=height * width).astype(np.int64))
        for size in (16, 100):
            expected = PILLOW.resize_mask(Bitmap(rle.decode()), size, mask_filter)
            assert np.array_equal(fast(rle, size, mask_filter), expected)
            assert np.array_equal(fast(Bitmap(rle.decode()), size, mask_filter), expected)
