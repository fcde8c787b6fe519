import sys
from pathlib import Path
from typing import get_args

import numpy as np
import PIL
import pytest
from grids import pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from miniature.every import WRITERS
from stores import CONFIGS, pictures, tree_digest

from resizeonce.loader.format.recipe import Arithmetic, Fit, ImageFilter, ImageView, MaskFilter, MaskView
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.errors import EngineError
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.tensors import engine, resample
from resizeonce.preprocess.tensors.arithmetic import INSTALLED
from resizeonce.preprocess.tensors.engine import PILLOW, default_engine, open_engine

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


FIRST, *OTHERS = reversed(WRITERS)

HALF = ("recipe.pixel_values.size=224", "recipe.g_pixel_values.size=512", "recipe.masks.size=512")
"""Of the sizes that configs have, which one source has: the others differ in what they give to an engine."""


@needs_core
@pytest.mark.parametrize(("recipe", "source"), pairs(RECIPES, (FIRST, *OTHERS)))
def test_both_engines_write_the_same_bytes(tmp_path: Path, source: str, recipe: str) -> None:
    WRITERS[source](tmp_path / "raw", pictures()[:3:2])
    sizes = HALF if recipe == "default" and source != FIRST else ()
    config = load_config(CONFIGS / f"{source}.toml", [*RECIPES[recipe], *sizes])
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
def test_the_fast_engine_has_either_arithmetic_and_pillow_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    image, view = np.zeros((60, 40, 3), np.uint8), ImageView(size=(50, 45))
    (other,) = set(get_args(Arithmetic)) - {INSTALLED}
    for arithmetic in get_args(Arithmetic):
        assert len(open_engine("exact-fast").resize_images(image, [view], arithmetic)) == 1
    assert len(PILLOW.resize_images(image, [view], INSTALLED)) == 1
    both = f"{other}.*{PIL.__version__} is {INSTALLED}"
    with pytest.raises(EngineError, match=both):
        PILLOW.resize_images(image, [view], other)
    # A build of Pillow that the fast engine does not repeat leaves it no other arithmetic.
    monkeypatch.setattr(resample, "matches_pillow", lambda _: False)
    in_part = open_engine.__wrapped__("exact-fast")
    assert in_part.description == "exact-fast; in part Pillow: this Pillow resizes otherwise than expected"
    with pytest.raises(EngineError, match=both):
        in_part.resize_images(image, [view], other)
    assert len(in_part.resize_images(image, [view], INSTALLED)) == 1


SIDES = st.integers(1, 12) | st.integers(1, 150)
SIZES = st.tuples(SIDES, SIDES)
ALIGNS = st.sampled_from(["centre", "corner"])
FITS = st.sampled_from(get_args(Fit))


@needs_core
@settings(max_examples=300, deadline=None)
@given(
    SIZES,
    st.builds(
        ImageView,
        size=SIZES,
        filter=st.sampled_from(get_args(ImageFilter)),
        fit=FITS,
        align=ALIGNS,
        values=st.just("uint8"),
        pad=st.just((250, 3, 120)),
    ),
)
def test_both_engines_make_the_same_views_of_images(picture: tuple[int, int], view: ImageView) -> None:
    image = np.random.default_rng(0).integers(0, 2, (*picture, 3), dtype=np.uint8) * 255
    (fast,), (plain,) = (
        open_engine(name).resize_images(image, [view], INSTALLED) for name in ("exact-fast", "pillow")
    )
    assert (fast.shape, fast.dtype) == ((3, *view.size), np.uint8)
    assert fast.flags.c_contiguous
    assert np.array_equal(fast, plain)


@needs_core
@pytest.mark.parametrize("mask_filter", get_args(MaskFilter))
@settings(max_examples=100, deadline=None)
@given(
    SIZES,
    st.none() | SIZES,
    st.builds(ImageView, size=SIZES, fit=FITS, align=ALIGNS),
    st.none() | SIZES,
    st.integers(0, 999),
)
def test_both_engines_make_the_same_views_of_masks(
    mask_filter: MaskFilter,
    picture: tuple[int, int],
    mask_size: tuple[int, int] | None,
    over: ImageView,
    size: tuple[int, int] | None,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    height, width = mask_size or picture
    cuts = np.sort(rng.integers(0, height * width + 1, int(rng.integers(0, 40))))
    rle = Rle(height, width, np.diff(cuts, prepend=0, append=height * width).astype(np.int64))
    view = MaskView(over="pixel_values", size=size or over.size, filter=mask_filter)
    fast, plain = (open_engine(name).resize_mask for name in ("exact-fast", "pillow"))
    expected = plain(Rle.of_array(rle.decode()), view, over, picture)
    assert (expected.shape, expected.dtype) == (view.size, bool)
    for resized in (
        plain(rle, view, over, picture),
        fast(rle, view, over, picture),
        fast(Rle.of_array(rle.decode()), view, over, picture),
    ):
        assert np.array_equal(resized, expected)
