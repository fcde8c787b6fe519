"""Whether a batch has the keys, shapes and dtypes that a recipe says; what its pixels say is `check`'s."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .format.recipe import ImageView, MaskView, Recipe, View

MASK_STEP = 8
"""Every eighth row of a mask is looked at, and every eighth pixel beside a picture."""


class BatchError(ValueError):
    """Raised when a batch is not what the trainer's contract says; the message says which mistake it looks like."""


def check_keys(batch: Mapping[str, Any], recipe: Recipe) -> tuple[str, ...]:
    """Return the suffixes of the views' names: ("",), or ("1", "2") for pairs."""
    for key in ("dataset_type", "has_paired_frame"):
        if key not in batch:
            raise BatchError(f"the batch has no {key!r}; its keys are {', '.join(map(str, batch))}")
    types = batch["dataset_type"]
    for name in [types] if isinstance(types, str) else types:
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_-]+", name):
            raise BatchError(f"dataset_type is {name!r}, expected a name of letters, digits, - and _")
    paired = batch["has_paired_frame"]
    if not isinstance(paired, bool):
        raise BatchError(f"has_paired_frame is {paired!r}, expected True or False for the whole batch")
    names = list(recipe.views)
    single = [name for name in names if name in batch]
    first, second = ([name for name in names if name + suffix in batch] for suffix in "12")
    if paired and (single or first != second or not first):
        one = names[-1]
        raise BatchError(
            f"a batch of pairs has each tensor twice, as {one}1 and {one}2, and never without a number"
        )
    if not paired and (first or second or not single):
        raise BatchError(f"a batch of single samples has {names[0]} and the like, without numbers")
    return ("1", "2") if paired else ("",)


def check_shapes(
    batch: Mapping[str, Any],
    suffixes: tuple[str, ...],
    frames: tuple[int, ...],
    recipe: Recipe,
    *,
    is_exact: bool,
) -> list[int]:
    """Compare shapes and dtypes; return at which row of masks each sample begins, and the last one ends.

    `is_exact` is whether views have the very sizes of the recipe; otherwise they are squares of any.
    """
    is_drawn = "objects" in batch
    counts: dict[str, int] = {}
    of_objects: dict[str, int] = {}
    for suffix in suffixes:
        for name, view in recipe.views.items():
            key = name + suffix
            if key not in batch:
                continue
            if isinstance(view, MaskView) and view.size == "own":
                _check_own_sizes(key, flat_frames(batch[key], frames))
            else:
                _check_tensor(key, batch[key], view, frames, is_exact=is_exact)
            (of_objects if is_drawn and isinstance(view, MaskView) else counts)[key] = len(batch[key])
            if isinstance(view, ImageView) and view.fit == "pad":
                sizes, shape = f"{name}_sizes{suffix}", (counts[key], *frames, 2)
                if sizes not in batch or tuple(batch[sizes].shape) != shape:
                    raise BatchError(f"{sizes} is missing, or not of shape {shape}: {key} is padded")
    for of_what, found in (("samples", counts), ("objects", of_objects)):
        if len(set(found.values())) > 1:
            raise BatchError(f"the tensors have different numbers of {of_what}: {found}")
    if is_drawn:
        return _check_objects(batch["objects"], counts, of_objects)
    return list(range(next(iter(counts.values())) + 1))


def _check_objects(objects: Any, counts: Mapping[str, int], of_objects: Mapping[str, int]) -> list[int]:
    """Look at which rows of masks are whose, against how many images and masks there are; return it."""
    bounds: list[int] = to_numpy(objects).tolist()
    if _dtype_of(objects) != "int64" or bounds[:1] != [0] or bounds != sorted(bounds):
        raise BatchError(f"objects is {_dtype_of(objects)} {bounds}, expected int64 that ascends from 0")
    for key, count in counts.items():
        if count != len(bounds) - 1:
            raise BatchError(
                f"{key} has {count} samples, and objects says whose masks are of {len(bounds) - 1}"
            )
    for key, count in of_objects.items():
        if count != bounds[-1]:
            raise BatchError(f"{key} has {count} rows, and objects ends at {bounds[-1]}")
    return bounds


def check_visible(
    batch: Mapping[str, Any], frames: tuple[int, ...], num_objects: int, recipe: Recipe
) -> None:
    """Look whether what a clip says is not in a frame has no mask there."""
    visible = batch.get("visible")
    shape = (num_objects, *frames)
    if tuple(getattr(visible, "shape", ())) != shape or _dtype_of(visible) != "bool":
        raise BatchError(f"visible is missing, or not bool of shape {shape}")
    absent = np.argwhere(~to_numpy(visible)).tolist()
    for key in (*recipe.masks, "prompt_cells"):
        for row, frame in absent if key in batch else []:
            mask = batch[key][row][frame]
            if bool((mask[::MASK_STEP] if mask.ndim else mask).any()):
                raise BatchError(
                    f"{key}: object row {row} is in frame {frame}, where visible says that it is not"
                )


def _check_own_sizes(key: str, masks: Any) -> None:
    """Look at masks that have sizes of their own."""
    for mask in masks if isinstance(masks, list | tuple) else [None]:
        shape, dtype = tuple(getattr(mask, "shape", ())), _dtype_of(mask)
        if len(shape) != 2 or dtype != "bool":
            raise BatchError(f"{key} has {dtype} {shape}, expected a list of bool (H, W), one a sample")


def _check_tensor(key: str, tensor: Any, view: View, frames: tuple[int, ...], *, is_exact: bool) -> None:
    shape, dtype = tuple(tensor.shape), _dtype_of(tensor)
    is_image = isinstance(view, ImageView)
    sides: tuple[int, ...] = view.size if isinstance(view, ImageView) else view.grid
    axes = len(frames) + (4 if is_image else 3)
    fits = shape[-2:] == sides if is_exact else shape[-1:] == shape[-2:-1]
    if (
        len(shape) != axes
        or shape[1 : 1 + len(frames)] != frames
        or not fits
        or (is_image and shape[-3] != 3)
    ):
        last = ", ".join(map(str, (*frames, *([3] if is_image else []), *(sides if is_exact else "SS"))))
        hint = ": its channels are last" if is_image and shape[-1:] == (3,) else ""
        raise BatchError(f"{key} has shape {shape}, expected (B, {last}){hint}")
    expected = "uint8" if isinstance(view, ImageView) and view.values == "uint8" else "float32"
    if dtype != expected:
        raise BatchError(f"{key} is {dtype}, expected {expected}{_dtype_hint(view, dtype)}")


def _dtype_of(tensor: Any) -> str:
    return str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")


def _dtype_hint(view: View, dtype: str) -> str:
    if isinstance(view, ImageView) and view.values == "uint8":
        return ": was it normalised, or scaled to 0..1? The segmenter's image stays 0..255"
    if isinstance(view, ImageView) and dtype == "uint8":
        return ": it was not normalised"
    return ": cast after the check" if dtype in ("float16", "bfloat16") else ""


def flat_frames(values: Any, frames: tuple[int, ...]) -> Any:
    """Return the frames of all samples, or of all objects, along one axis."""
    if not frames:
        return _on_host(values)
    if isinstance(values, list | tuple):
        return [one for several in values for one in several]
    return _on_host(values.reshape(-1, *values.shape[2:]))


def _on_host(values: Any) -> Any:
    """Return a tensor of this machine's memory as a numpy view of it, which is sampled faster; others as they are."""
    if isinstance(values, torch.Tensor) and values.device.type == "cpu":
        return values.detach().numpy()
    return values


def to_numpy(values: Any) -> NDArray[Any]:
    """Return a tensor of any device, or what numpy takes, as an array of this machine's memory."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
