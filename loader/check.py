"""A guard for a trainer's first step and its CI: whether a batch means what it should, told from the batch alone.

Shapes and dtypes are compared in full. Of the pixels only a thin sample is looked at, so that a batch of 8 takes a few
milliseconds: each mistake named here shows in any part of an image. `resizeonce verify` looks at every pixel of a store.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .format.recipe import DEFAULT_VIEWS, IMAGENET_MEAN, IMAGENET_STD

GRID = 16
"""Blocks along a side of an image that are compared; fewer where images are small."""

BLOCK_PIXELS = 7
"""Least side of a block, in pixels."""

POINTS = 4
"""Pixels along a side of a block that stand for it: every seventh of 448, every sixteenth of 1024."""

MAX_DIFFERENCE = 14.0
"""Larger than that of `verify`, which looks at every pixel. Root mean square of the blocks' differences, in levels of 0..255. Measured: 4.4 at most,
on all sample datasets in both recipes."""

TELLING = 0.5
"""A mistake is named when it explains all but this share of the difference."""

MASK_STEP = 8
"""Every eighth row of a mask is looked at."""

_MEAN = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
_STD = np.array(IMAGENET_STD, np.float32)[:, None, None]
_LOWEST = float(((0 - _MEAN) / _STD).min())
_HIGHEST = float(((1 - _MEAN) / _STD).max())
_SLACK = 1e-3


TENSORS = tuple(DEFAULT_VIEWS)


class BatchError(ValueError):
    """Raised when a batch is not what the trainer's contract says; the message says which mistake it looks like."""


def check_batch(batch: Mapping[str, Any]) -> None:
    """Return if a batch is sound.

    Takes tensors on any device (a small sample is moved to the CPU) and numpy arrays, of any recipe's sizes, single or
    paired, and with some of the four tensors left out.

    Raises:
        BatchError: it is not; the message says what was found, what was expected, and which mistake it looks like.
    """
    suffixes = _check_keys(batch)
    count = _check_shapes(batch, suffixes)
    for suffix in suffixes:
        tensors = {tensor: _on_host(batch[tensor + suffix]) for tensor in TENSORS if tensor + suffix in batch}
        for sample in range(count):
            rows = {tensor: values[sample] for tensor, values in tensors.items()}
            for fault in _sample_faults(rows):
                raise BatchError(f"{_name(batch, sample, suffix)}: {fault}")


def _name(batch: Mapping[str, Any], sample: int, suffix: str) -> str:
    keys = batch.get("key", ())
    key = f" ({keys[sample]})" if sample < len(keys) else ""
    return f"sample {sample}{key}" + (f", frame {suffix}" if suffix else "")


def _check_keys(batch: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the suffixes of the tensors' names: ("",), or ("1", "2") for pairs."""
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
    single = [tensor for tensor in TENSORS if tensor in batch]
    first, second = ([tensor for tensor in TENSORS if tensor + suffix in batch] for suffix in "12")
    if paired and (single or first != second or not first):
        raise BatchError(
            "a batch of pairs has each tensor twice, as masks1 and masks2, and never without a number"
        )
    if not paired and (first or second or not single):
        raise BatchError("a batch of single samples has pixel_values and the like, without numbers")
    return ("1", "2") if paired else ("",)


def _check_shapes(batch: Mapping[str, Any], suffixes: tuple[str, ...]) -> int:
    """Return the number of samples, after comparing shapes and dtypes."""
    counts: dict[str, int] = {}
    for suffix in suffixes:
        for tensor in TENSORS:
            name = tensor + suffix
            if name not in batch:
                continue
            shape, dtype = tuple(batch[name].shape), str(batch[name].dtype).removeprefix("torch.")
            wanted = "uint8" if tensor == "g_pixel_values" else "float32"
            is_image = tensor.endswith("pixel_values")
            if len(shape) != (4 if is_image else 3) or shape[-1] != shape[-2] or (is_image and shape[1] != 3):
                last = ", 3, S, S" if is_image else ", S, S"
                hint = ": its channels are last" if is_image and shape[-1:] == (3,) else ""
                raise BatchError(f"{name} has shape {shape}, expected (B{last}){hint}")
            if dtype != wanted:
                raise BatchError(f"{name} is {dtype}, expected {wanted}{_dtype_hint(tensor, dtype)}")
            counts[name] = int(shape[0])
    if len(set(counts.values())) != 1:
        raise BatchError(f"the tensors have different numbers of samples: {counts}")
    return next(iter(counts.values()))


def _dtype_hint(tensor: str, dtype: str) -> str:
    if tensor == "g_pixel_values":
        return ": was it normalised, or scaled to 0..1? The segmenter's image stays 0..255"
    if tensor == "pixel_values" and dtype == "uint8":
        return ": it was not normalised"
    return ": cast after the check" if dtype in ("float16", "bfloat16") else ""


def _sample_faults(rows: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one sample; its tensors are by name, without the batch's axis."""
    for name in ("prompt_masks", "masks"):
        if name in rows:
            step = MASK_STEP if name == "masks" else 1
            yield from _mask_faults(name, _numpy(rows[name][::step]))
    images = [rows[name] for name in ("pixel_values", "g_pixel_values") if name in rows]
    grid = max(1, min(GRID, *(image.shape[-1] // BLOCK_PIXELS for image in images))) if images else 1
    pixels = _sampled(rows["pixel_values"], grid) if "pixel_values" in rows else None
    large = _sampled(rows["g_pixel_values"], grid) if "g_pixel_values" in rows else None
    if pixels is not None:
        yield from _pixel_faults(pixels)
    if large is not None and large.max() <= 3 and (pixels is None or pixels.std(axis=(1, 2)).max() > 0.05):
        yield (
            f"g_pixel_values are all in 0..{large.max():.0f}: normalised, or scaled to 0..1, before the cast to uint8; "
            "expected 0..255"
        )
    if pixels is not None and large is not None:
        yield from _pair_faults(pixels, large, grid)
    if "prompt_masks" in rows and "masks" in rows:
        yield from _prompt_faults(rows["prompt_masks"], rows["masks"])


def _mask_faults(name: str, values: NDArray[np.float32]) -> Iterator[str]:
    set_values = values[values != 0]
    if not len(set_values) or (set_values == 1).all():
        return
    highest = float(set_values.max())
    if len(set(set_values.tolist())) == 1:
        hint = (
            ": scaled by 1/255"
            if abs(highest - 1 / 255) < 1e-4
            else ": not divided by 255"
            if highest == 255
            else ""
        )
    else:
        hint = ": soft, so resized by another filter than nearest"
    yield f"{name} hold {highest:.6g}{hint}; expected exactly 0 and 1"


def _pixel_faults(pixels: NDArray[np.float32]) -> Iterator[str]:
    lowest, highest = float(pixels.min()), float(pixels.max())
    expected = f"expected ImageNet-normalised values, {_LOWEST:.2f}..{_HIGHEST:.2f}"
    if not np.isfinite(pixels).all():
        yield f"pixel_values hold values that are not finite; {expected}"
    elif highest > 8 and lowest >= 0:
        yield f"pixel_values are 0..255, here {lowest:.3g}..{highest:.3g}: not normalised; {expected}"
    elif lowest < _LOWEST - _SLACK or highest > _HIGHEST + _SLACK:
        yield f"pixel_values are {lowest:.3g}..{highest:.3g}: normalised twice, or with another mean; {expected}"


def _pair_faults(pixels: NDArray[np.float32], large: NDArray[np.float32], grid: int) -> Iterator[str]:
    """Compare block means of the two images, and name the mistake that explains a difference best."""
    small = _blocks(np.clip((pixels * _STD + _MEAN) * 255, 0, 255), grid)
    seen = _blocks(large, grid)
    difference = _rms(small - seen)
    if difference <= MAX_DIFFERENCE:
        return
    # Times 255, values of 0..1 are the picture itself: then it was the normalisation that was left out.
    is_plain = pixels.min() >= 0 and pixels.max() <= 1 + _SLACK
    times_255 = (
        "pixel_values is in 0..1, not normalised"
        if is_plain
        else "g_pixel_values is the normalised image times 255, clamped: it must be resized from the original"
    )
    guesses = {
        times_255: _rms(_blocks(np.clip(pixels * 255, 0, 255), grid) - seen),
        "the channels of one of the two images are in BGR order": _rms(small[::-1] - seen),
        "one of the two images is transposed": _rms(small.transpose(0, 2, 1) - seen),
        "one of the two images is mirrored": _rms(small[..., ::-1] - seen),
        "one of the two images is upside down": _rms(small[:, ::-1] - seen),
    }
    likely = min(guesses, key=lambda text: guesses[text])
    if guesses[likely] < TELLING * difference:
        yield f"{likely} (the two differ by {difference:.0f} levels)"
    else:
        yield (
            f"pixel_values and g_pixel_values do not show the same picture (they differ by {difference:.0f} levels): "
            "of different images, or one of them padded, cropped or shuffled"
        )


def _prompt_faults(prompt: Any, mask: Any) -> Iterator[str]:
    """Look for each set cell of a prompt whether the mask shows anything on it."""
    cells = np.argwhere(_numpy(prompt) != 0)
    wrong = sum(not _is_shown(mask, len(prompt), row, column) for row, column in cells.tolist())
    if wrong:
        turned = all(_is_shown(mask, len(prompt), column, row) for row, column in cells.tolist())
        hint = "one of the two is transposed" if turned else "they are of different objects"
        yield f"prompt_masks has {wrong} cells where masks shows nothing: {hint}"


def _is_shown(mask: Any, size: int, row: int, column: int) -> bool:
    """Whether a mask covers anything of a cell, or of the pixels around it; first a few pixels are looked at."""
    side = len(mask)
    down, right = (
        slice(max(0, cell * side // size - 1), (cell + 1) * side // size + 1) for cell in (row, column)
    )
    step = max(1, side // size // 4)
    return any(
        bool((mask[down.start : down.stop : stride, right.start : right.stop : stride] != 0).any())
        for stride in (step, 1)
    )


def _sampled(image: Any, grid: int) -> NDArray[np.float32]:
    """Return evenly spread pixels of an image [3, S, S], float32 [3, n, n] with n a multiple of `grid`."""
    side = image.shape[-1]
    count = grid * max(1, min(POINTS, side // grid))
    step, rest = divmod(side, count)
    if not rest:
        return _numpy(image[:, step // 2 :: step, step // 2 :: step]).astype(np.float32)
    places = ((np.arange(count) + 0.5) * side / count).astype(np.int64).tolist()
    return _numpy(image[:, places][:, :, places]).astype(np.float32)


def _blocks(image: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Return means over the blocks of sampled pixels [3, n, n], float32 [3, grid, grid]."""
    blocks = image.reshape(3, grid, image.shape[1] // grid, grid, -1)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4))
    return means


def _on_host(values: Any) -> Any:
    """Return a tensor of this machine's memory as a numpy view of it, which is sampled faster; others as they are."""
    if isinstance(values, torch.Tensor) and values.device.type == "cpu":
        return values.detach().numpy()
    return values


def _numpy(values: Any) -> NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _rms(difference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))
