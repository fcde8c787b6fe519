"""A small model trains on a store of each fit: what is learnt of an image is where its mask says.

The model sees one pixel at a time and knows nothing of places. It can tell the object by its colour alone, so it can
draw the masks only where they lie on the very pixels that their image shows.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recipe_stores import Original, convert_originals
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from resizeonce.loader import BatchLoader, BatchOptions

SIDE = 64
EPOCHS = 30
RATE = 1.0

RECIPES = {
    "squash": ("recipe.name=sam2", "recipe.g_pixel_values.size=64"),
    "pad": ("recipe.name=lisa", "recipe.g_pixel_values.size=64", "recipe.pixel_values=false"),
    "pad-first": ("recipe.name=omg-llava", "recipe.pixel_values.size=64"),
    "crop": (
        "recipe.name=lisa",
        "recipe.pixel_values.size=64",
        "recipe.g_pixel_values=false",
        "recipe.masks.over=pixel_values",
    ),
}
"""A recipe that comes with the package for each fit, with small views."""


def red_objects() -> list[Original]:
    """Return oblong pictures with red patches, on each side of the middle and in a corner, and the masks of these."""
    found = []
    for seed, (height, width) in enumerate([(60, 100), (110, 70), (50, 140), (90, 75)]):
        mask = np.zeros((height, width), np.bool_)
        mask[: height // 4, : width // 3] = True
        mask[height // 3 : height // 2, width // 3 : 3 * width // 4] = True
        mask[2 * height // 3 : 5 * height // 6, width // 2 :] = True
        picture = np.random.default_rng(seed).integers(0, 120, (height, width, 3), dtype=np.uint8)
        picture[mask, 0] += 135
        found.append((picture, mask))
    return found


def train(store: Path, image: str, target: str) -> SimpleNamespace:
    """Train on views of a store; return the losses, and how well the masks are drawn at last (intersection over union)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    batches = BatchLoader(store, batch_size=2, workers=1, options=BatchOptions(mode="thread"))
    losses = []
    for _ in range(EPOCHS):
        for batch in batches:
            logits = model(batch[image])[:, 0]
            loss = binary_cross_entropy_with_logits(logits, batch[target])
            model.zero_grad()
            loss.backward()
            # By hand: `torch.optim` imports torch's compiler, which takes longer than all of this.
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= RATE * parameter.grad
            losses.append(loss.item())
    with torch.no_grad():
        drawn = [overlap(model(batch[image])[:, 0] > 0, batch[target] > 0) for batch in batches]
    return SimpleNamespace(losses=losses, overlap=float(np.mean(drawn)))


def overlap(drawn: Tensor, target: Tensor) -> float:
    return float((drawn & target).sum() / (drawn | target).sum())


@pytest.mark.parametrize("fit", RECIPES)
def test_a_mask_can_be_learnt_from_the_image_view_that_it_lies_over_and_from_no_other(
    fit: str, tmp_path: Path
) -> None:
    other = "pad" if fit == "squash" else "squash"
    store = convert_originals(
        tmp_path,
        red_objects(),
        *RECIPES[fit],
        f"recipe.masks.size={SIDE}",
        f"recipe.elsewhere={{ kind = 'image', size = {SIDE}, fit = '{other}' }}",
        f"recipe.misplaced={{ kind = 'mask', over = 'elsewhere', size = {SIDE} }}",
    )
    image = "pixel_values" if fit in ("pad-first", "crop") else "g_pixel_values"
    trained = train(store, image, "masks")
    assert trained.losses[-1] < 0.25 * trained.losses[0]
    assert trained.overlap > 0.85
    assert train(store, image, "misplaced").overlap < 0.7
