"""Samples as pictures, against Pillow and hand-worked places."""

import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import flip_bit
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from stores import VIEWS

from resizeonce.loader import (
    Batch,
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    OrderOptions,
    SampleDataset,
    SampleIndex,
    Store,
    collate,
    to_device,
)
from resizeonce.loader.compact import CompactBatch
from resizeonce.loader.format.recipe import ImageView, MaskView, Recipe, View
from resizeonce.loader.overlay import COLOURS, EDGE
from resizeonce.loader.picture import draw_views

CLIP_NORM: dict[str, Any] = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}


def recipe_of(**views: View) -> Recipe:
    return Recipe(name="custom", views=views)


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def where(image: Image.Image, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which pixels are of a colour."""
    is_it: NDArray[np.bool_] = (pixels_of(image) == np.array(colour)).all(-1)
    return is_it


def normalized(levels: NDArray[np.uint8], view: ImageView) -> torch.Tensor:
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (view.mean, view.std))
    return (torch.from_numpy(levels.copy()).permute(2, 0, 1) / view.scale - mean) / std


def rectangle(height: int, width: int, rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    mask[rows, columns] = True
    return mask


def filtered(mask: NDArray[np.bool_], kind: ImageFilter.Filter) -> NDArray[np.bool_]:
    """Return what Pillow's filter makes of a mask on a background."""
    image = Image.fromarray(np.pad(mask, 1).astype(np.uint8) * 255).filter(kind)
    return np.asarray(image)[1:-1, 1:-1] > 0


@pytest.mark.parametrize("values", ["normalized", "uint8"])
@pytest.mark.parametrize("scale", [255.0, 1.0])
def test_a_view_is_drawn_as_the_levels_that_it_was_made_of(values: Any, scale: float) -> None:
    norm = CLIP_NORM if scale == 255 else {"mean": (120.0, 110.0, 100.0), "std": (50.0, 60.0, 70.0)}
    view = ImageView(size=(40, 56), values=values, scale=scale, **norm)
    resized = np.asarray(Image.fromarray(picture_of(90, 70, 1)).resize((56, 40), Image.Resampling.BILINEAR))
    tensor = (
        torch.from_numpy(resized.copy()).permute(2, 0, 1) if values == "uint8" else normalized(resized, view)
    )
    (drawn,) = draw_views({"pixels": tensor}, recipe_of(pixels=view), 40)
    assert np.array_equal(pixels_of(drawn), resized)


def test_a_view_of_a_store_shows_its_original_picture(coco_of: Callable[..., Path]) -> None:
    path = coco_of()
    store = Store(path)
    part, masks = store.locate(0)
    file = path.parent / "coco" / part.text("images/path", part.column("masks/image").item(masks[0]))
    expected = np.asarray(Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    drawn = draw_views(store[0], store.recipe, 32)[0]
    mask = Image.fromarray(store[0]["masks"].astype(np.uint8) * 255).resize((32, 32))
    # Outlines and cells lie on the object and next to it.
    bare = np.asarray(mask.filter(ImageFilter.MaxFilter(9))) == 0
    assert bare.mean() > 0.2
    assert np.array_equal(pixels_of(drawn)[bare], expected[bare])


def test_an_outline_is_the_border_of_the_mask_and_a_dark_line_around_it() -> None:
    recipe = recipe_of(
        picture=ImageView(size=(60, 60), values="uint8"), masks=MaskView(over="picture", size=(60, 60))
    )
    mask = rectangle(60, 60, slice(0, 20), slice(8, 30)) | rectangle(60, 60, slice(15, 40), slice(20, 25))
    levels = np.full((3, 60, 60), 200, np.uint8)
    (drawn,) = draw_views({"picture": levels, "masks": mask.astype(np.float32)}, recipe, 60)
    border = mask & ~filtered(mask, ImageFilter.MinFilter(3))
    around = filtered(mask, ImageFilter.MaxFilter(3)) & ~mask
    assert np.array_equal(where(drawn, COLOURS[0]), border)
    assert np.array_equal(where(drawn, EDGE), around)
    assert (pixels_of(drawn)[~border & ~around] == 200).all()


def test_the_smallest_object_is_seen_in_a_small_picture() -> None:
    recipe = recipe_of(
        picture=ImageView(size=(640, 640), values="uint8"), masks=MaskView(over="picture", size=(640, 640))
    )
    mask = rectangle(640, 640, slice(333, 334), slice(207, 208))
    (drawn,) = draw_views({"picture": np.zeros((3, 640, 640), np.uint8), "masks": mask}, recipe, 64)
    assert np.argwhere(where(drawn, COLOURS[0])).tolist() == [[33, 20]]


def test_cells_of_the_prompt_are_coloured_where_it_is_set() -> None:
    recipe = recipe_of(
        picture=ImageView(size=(48, 48), values="uint8"),
        prompt=MaskView(over="picture", size=(4, 4), role="prompt"),
    )
    prompt = np.zeros((4, 4), np.float32)
    prompt[1, 2] = prompt[3, 0] = 1
    (drawn,) = draw_views({"picture": np.full((3, 48, 48), 100, np.uint8), "prompt": prompt}, recipe, 96)
    middles = pixels_of(drawn)[12::24, 12::24]
    assert np.array_equal((middles != 100).any(-1), prompt == 1)
    # Of translucent colour: between the picture's and the object's.
    assert (middles[1, 2] > np.minimum(100, COLOURS[0])).all()
    assert (middles[1, 2] < np.maximum(100, COLOURS[0])).all()


FITS = {
    # Of a picture of 40 x 80 pixels, with an object in rows 10..30 and columns 40..56.
    "squash": (ImageView(size=(40, 40), values="uint8"), slice(10, 30), slice(20, 28)),
    # Columns 20 to 60 of it, at half their size.
    "crop": (ImageView(size=(20, 20), values="uint8", fit="crop"), slice(5, 15), slice(10, 18)),
    "pad": (ImageView(size=(40, 40), values="uint8", fit="pad"), slice(5, 15), slice(20, 28)),
    # Twenty rows above it on its square, at half their size.
    "pad-first": (ImageView(size=(40, 40), values="uint8", fit="pad-first"), slice(15, 25), slice(20, 28)),
}


@pytest.mark.parametrize("fit", FITS)
def test_a_mask_at_its_own_size_lies_where_the_view_has_the_object(fit: str) -> None:
    view, rows, columns = FITS[fit]
    recipe = recipe_of(picture=view, masks=MaskView(over="picture", size="own"))
    own = torch.from_numpy(rectangle(40, 80, slice(10, 30), slice(40, 56)))
    (drawn,) = draw_views(
        {"picture": np.full((3, *view.size), 90, np.uint8), "masks": own}, recipe, view.size[0]
    )
    laid = rectangle(*view.size, rows, columns)
    assert np.array_equal(where(drawn, COLOURS[0]), laid & ~filtered(laid, ImageFilter.MinFilter(3)))


def test_a_mask_that_was_made_for_another_view_is_laid_over_by_what_both_show() -> None:
    recipe = recipe_of(
        cropped=FITS["crop"][0], padded=FITS["pad"][0], masks=MaskView(over="padded", size=(40, 40))
    )
    over_padded = rectangle(40, 40, *FITS["pad"][1:])
    images = {name: np.full((3, *view.size), 90, np.uint8) for name, view in recipe.images.items()}
    sizes = {"image_sizes": np.array([40, 80])}
    for known in (sizes, {"padded_sizes": np.array([20, 40])}):
        cropped, padded = draw_views(images | {"masks": over_padded} | known, recipe, 20)
        assert where(cropped, COLOURS[0])[5, 10:18].all(), known
        assert where(padded, COLOURS[0]).any()
    # Without the picture's size nobody knows what the middle shows.
    cropped, padded = draw_views(images | {"masks": over_padded}, recipe, 20)
    assert not where(cropped, COLOURS[0]).any()
    assert where(padded, COLOURS[0])[2, 10:14].all()


def test_a_pair_is_drawn_as_two_frames_side_by_side(videos: Path) -> None:
    store = Store(videos)
    views = draw_views(store[0], store.recipe, 48)
    assert len(views) == 4
    picture = store.picture(0, 48)
    assert picture.size == (4 * 48 + 3 * 2, 48)
    for place, view in enumerate(views):
        assert np.array_equal(pixels_of(picture)[:, 50 * place : 50 * place + 48], pixels_of(view))
    second = torch.as_tensor(store[0]["g_pixel_values2"]).permute(1, 2, 0).numpy()
    bare = ~(where(views[3], COLOURS[0]) | where(views[3], EDGE))
    assert np.array_equal(pixels_of(views[3])[bare], second[bare])


def test_objects_of_a_sample_have_colours_of_their_own() -> None:
    recipe = recipe_of(
        picture=ImageView(size=(60, 60), values="uint8"), masks=MaskView(over="picture", size=(60, 60))
    )
    masks = np.stack([rectangle(60, 60, slice(4, 20), slice(20 * n + 4, 20 * n + 14)) for n in range(3)])
    sample = {"picture": np.zeros((3, 60, 60), np.uint8), "masks": masks, "object_ids": ["a", "b", "c"]}
    (drawn,) = draw_views(sample, recipe, 60)
    for colour, mask in zip(COLOURS, masks, strict=False):
        assert where(drawn, colour)[mask].any()
        assert not where(drawn, colour)[~mask].any()


def shown_in(html: str) -> list[Image.Image]:
    """Return the pictures that a piece of HTML holds, and see that it asks for nothing else."""
    assert not re.search(r"<script|https?:|url\(", html)
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(sources) == html.count("<img")
    return [Image.open(BytesIO(b64decode(source))).convert("RGB") for source in sources]


def first_batch(
    store: Path, draw: Objects | Clip | None, options: BatchOptions, batch_size: int = 2
) -> Batch:
    order = Order([SampleIndex(Store(store), draw=draw)], OrderOptions(shuffle=None))
    return next(iter(BatchLoader(order, batch_size, 0, options=options)))


@pytest.mark.parametrize("kind", ["single", "pairs", "own size", "objects", "clip", "odd views"])
def test_a_notebook_shows_batches_of_each_kind_and_compact_ones_alike(
    kind: str, store: Path, videos: Path, whole: Path, coco_of: Callable[..., Path]
) -> None:
    path = {"pairs": videos, "clip": videos, "own size": whole, "odd views": coco_of(*VIEWS)}.get(kind, store)
    draw = {"objects": Objects(at_most=5), "clip": Clip(frames=3, objects=2)}.get(kind)
    batch, compact = (
        first_batch(path, draw, BatchOptions(compact=is_compact)) for is_compact in (False, True)
    )
    html, of_compact = batch._repr_html_(), compact._repr_html_()
    assert html.startswith("<div><code>Batch of 2 samples: ")
    assert of_compact.startswith("<div><code>CompactBatch of 2 samples: ")
    pictures = shown_in(html)
    assert len(pictures) == 2
    frames = {"pairs": 2, "clip": 3}.get(kind, 1)
    assert all(one.width >= frames * one.height for one in pictures)
    for one, other in zip(pictures, shown_in(of_compact), strict=True):
        assert np.array_equal(pixels_of(one), pixels_of(other))
    assert len(shown_in(batch.of(0)._repr_html_())) == 1


@pytest.mark.parametrize("draw", [None, Objects(at_most=5), Clip(frames=3, objects=2)])
def test_of_a_large_compact_batch_no_more_is_completed_than_a_notebook_shows(
    draw: Objects | Clip | None, store: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, options = videos if isinstance(draw, Clip) else store, BatchOptions(tail="wrap", compact=True)
    compact = first_batch(path, draw, options, batch_size=7)
    whole = to_device(compact, "cpu")
    completed = []

    def keep(self: Batch, count: int) -> Batch:
        completed.append(complete(self, count))
        return completed[0]

    complete = CompactBatch._whole
    monkeypatch.setattr(CompactBatch, "_whole", keep)
    pictures = shown_in(compact._repr_html_())
    expected = shown_in(whole._repr_html_())
    assert len(pictures) == len(completed[0]["key"]) == len(completed[0]["pixel_values"]) == 4
    for one, other in zip(pictures, expected, strict=True):
        assert np.array_equal(pixels_of(one), pixels_of(other))


def test_what_a_batch_says_is_escaped(store: Path) -> None:
    batch = SampleDataset(store)[[0, 1]]
    assert isinstance(batch, Batch)
    batch["key"] = ["<script>alert(1)</script>", "b&b"]
    html = batch._repr_html_()
    assert len(shown_in(html)) == 2
    assert "&lt;script&gt;" in html
    assert "b&amp;b" in html


def test_a_batch_of_single_samples_and_one_without_images_are_told_in_words(store: Path) -> None:
    dataset = SampleDataset(store)
    collated = collate([dataset[0], dataset[1]])
    assert collated._repr_html_().startswith(
        "<div><code>Batch of 2 samples: pixel_values [2, 3, 32, 32] float32"
    )
    without = SampleDataset(store, tensors=["masks"])[[0, 1]]
    assert isinstance(without, Batch)
    for html in (collated._repr_html_(), without._repr_html_(), Batch()._repr_html_()):
        assert shown_in(html) == []


def test_what_was_put_in_the_place_of_views_is_left_out(store: Path) -> None:
    batch = SampleDataset(store)[[0, 1]]
    assert isinstance(batch, Batch)
    batch["g_pixel_values"] = batch["g_pixel_values"].permute(0, 2, 3, 1)
    batch["masks"] = batch["masks"].flatten(1)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    assert len(shown_in(batch._repr_html_())) == 2


def test_a_notebook_shows_a_few_samples_of_a_store(store: Path) -> None:
    opened = Store(store)
    html = opened._repr_html_()
    assert "coco, 10 samples, 3 parts" in html
    assert len(shown_in(html)) == 4
    assert all(opened.key(sample) in html for sample in (0, 2, 5, 7))


def test_a_notebook_is_told_which_sample_of_a_store_is_damaged(
    coco_of: Callable[..., Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.zarr"
    subprocess.run(["cp", "-r", coco_of(), broken], check=True)
    flip_bit(broken / "part-00000/images/pixel_values/c/0/0/0/0", 999)
    html = Store(broken)._repr_html_()
    assert "is damaged" in html
    assert 0 < len(shown_in(html)) < 4


def test_the_loader_brings_no_pillow_until_something_is_drawn(store: Path) -> None:
    script = (
        "import sys; from resizeonce.loader.store import Store; store = Store(sys.argv[1]); store[0]; "
        "print('PIL' in sys.modules); store.thumbnail(0); print('PIL' in sys.modules)"
    )
    command = [sys.executable, "-c", script, store]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [
        "False",
        "True",
    ]
