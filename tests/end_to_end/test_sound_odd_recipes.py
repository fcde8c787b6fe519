"""Sound stores of odd recipes and pictures: `verify --values` and `check_batch` find nothing in them."""

from pathlib import Path

import numpy as np
import pytest
from recipe_stores import convert_originals, originals
from stores import CONFIGS

from resizeonce.loader import BatchLoader, Store, check_batch
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

SPELT_OUT = "recipe.name=custom"


def _view(name: str, **settings: object) -> list[str]:
    return [f"recipe.{name}.{key}={value}" for key, value in settings.items()]


@pytest.mark.parametrize(
    "views",
    [
        pytest.param(
            [
                *_view("a", kind="image", size="[1,128]", filter="lanczos", values="uint8"),
                *_view("b", kind="image", size=3, fit="crop"),
                *_view("prompt_masks", kind="mask", over="b", size=3, filter="half", role="prompt"),
                *_view("masks", kind="mask", over="a", size="[1,128]", filter="touch"),
            ],
            id="a view of one row",
        ),
        pytest.param(
            [
                *_view("a", kind="image", size="[128,3]", fit="crop"),
                *_view(
                    "prompt_masks",
                    kind="mask",
                    over="a",
                    size="[1,97]",
                    filter="torch-nearest",
                    role="prompt",
                ),
                *_view("masks", kind="mask", over="a", size="[31,3]", filter="touch"),
            ],
            id="the finest mask is coarser along a side",
        ),
        pytest.param(
            [
                *_view("a", kind="image", size="[224,300]", fit="pad"),
                *_view("masks", kind="mask", over="a", size="[224,300]", filter="torch-nearest"),
                *_view("prompt_masks", kind="mask", over="a", size=256, role="prompt"),
            ],
            id="a prompt as fine as the mask",
        ),
        pytest.param(
            [
                *_view("a", kind="image", size="[336,140]"),
                *_view("b", kind="image", size="[336,112]", fit="pad-first", filter="nearest"),
                *_view("c", kind="image", size=64, filter="box", values="uint8"),
            ],
            id="an image by nearest",
        ),
    ],
)
def test_nothing_is_found_in_sound_stores(tmp_path: Path, views: list[str]) -> None:
    pictures = originals([(172, 448), (33, 47), (1, 50), (200, 2), (300, 300)])
    store = convert_originals(tmp_path, pictures, SPELT_OUT, *views)
    found = verify_store(store, VerifyOptions(values=True)).findings
    assert [str(finding) for finding in found if finding.level == "damage"] == []
    for batch in BatchLoader(store, batch_size=1, workers=0):
        check_batch(batch, Store(store).recipe)


@pytest.mark.parametrize("settings", [("recipe.name=sam2",), ("recipe.masks.size=256",), ()])
def test_line_that_is_lost_in_a_view_is_no_damage(tmp_path: Path, settings: tuple[str, ...]) -> None:
    [(picture, _)] = originals([(1500, 2250)])
    line = np.zeros(picture.shape[:2], np.bool_)
    line[100:180, 301] = True
    store = convert_originals(tmp_path, [(picture, line)], *settings)
    found = verify_store(store, VerifyOptions(values=True)).findings
    assert [str(finding) for finding in found if finding.level == "damage"] == []


def test_small_object_in_large_cells_is_no_damage(tmp_path: Path) -> None:
    [(picture, _)] = originals([(1500, 2250)])
    masks = np.zeros((2, *picture.shape[:2]), np.bool_)
    # A cell of 256 x 256 has 5.9 x 8.8 pixels: one whose middle an object of 3 x 3 covers is set as a whole.
    masks[0, 101:104, 302:305] = True
    masks[1, 300:900, 400:1000] = True
    folder = tmp_path / "raw" / "stills"
    folder.mkdir(parents=True)
    np.savez(folder / "00000.npz", image=picture, mask=masks)
    overrides = ["source.paired=false", "source.dataset_type=coco", "recipe.masks.size=256"]
    convert(load_config(CONFIGS / "npz.toml", overrides), folder.parent, tmp_path / "store.zarr")
    found = verify_store(tmp_path / "store.zarr", VerifyOptions(values=True)).findings
    assert [str(finding) for finding in found if finding.level == "damage"] == []
