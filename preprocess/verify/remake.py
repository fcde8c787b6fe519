"""The views once more, the slow and obvious way: Pillow's `resize`, loops, matrices of whole numbers.

Shares no code with `preprocess.tensors`: this is the other opinion that stored rows are compared with.
"""

import re
import tarfile
import warnings
from fractions import Fraction
from math import ceil, lcm
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from ...loader.format.geometry import Axes, Axis, view_axes
from ...loader.format.norms import Norm
from ...loader.format.recipe import Arithmetic, ImageFilter, ImageView, MaskFilter, MaskView
from ..decode.segmentation import Rle
from ..errors import RecordError
from ..remote.local_copies import local_file
from ..sources.files.raw_files import RawPath
from .pictures import normalized as normalize

FILTERS: tuple[ImageFilter, ...] = get_args(ImageFilter)


def arithmetic_of(pillow: str) -> Arithmetic:
    """Return whose arithmetic a version of Pillow has; of what is no version, as a forged store may give, the older one's."""
    major = re.match(r"([0-9]{1,4})\.", pillow)
    return "pillow-13" if major and int(major[1]) >= 13 else "pillow-12"


PILLOW = PIL.__version__
INSTALLED = arithmetic_of(PILLOW)


def remake_image(
    image: NDArray[np.uint8], view: ImageView, axes: Axes, arithmetic: Arithmetic = INSTALLED
) -> NDArray[np.uint8]:
    """Return a view of an image of uint8 [H, W, 3], uint8 [3, height, width], before it is normalised.

    Args:
        image: the original.
        view: its filter and its colour around the picture.
        axes: where it has the picture.
        arithmetic: whose of Pillow's versions resizes.
    """
    made = _fit(Image.fromarray(image, "RGB"), axes, view.filter, view.pad, arithmetic)
    return np.stack([np.asarray(channel) for channel in made.split()])


def _fit(
    picture: Image.Image,
    axes: Axes,
    image_filter: ImageFilter,
    colour: int | tuple[int, int, int],
    arithmetic: Arithmetic = INSTALLED,
) -> Image.Image:
    """Put a picture on its canvas, resize that, and put the result where the view has it."""
    rows, columns = axes
    canvas = Image.new(picture.mode, (int(columns.canvas), int(rows.canvas)), colour)
    canvas.paste(picture, (int(columns.before), int(rows.before)))
    resized = _resize(canvas, int(rows.resized), int(columns.resized), image_filter, arithmetic)
    made = Image.new(picture.mode, (columns.size, rows.size), colour)
    made.paste(resized, (int(columns.offset), int(rows.offset)))
    return made


def _resize(
    picture: Image.Image, height: int, width: int, image_filter: ImageFilter, arithmetic: Arithmetic
) -> Image.Image:
    """Resize by the installed Pillow, or, for another one's arithmetic, one side after the other: values are rounded between."""
    kernel = Image.Resampling[image_filter.upper()]
    if arithmetic == INSTALLED or kernel == Image.Resampling.NEAREST:
        return picture.resize((width, height), kernel)
    lower, narrower = picture.height - height, picture.width - width
    if arithmetic == "pillow-13":
        is_vertical_first = lower > max(0, 2 * narrower)
    else:
        # As 12.3; before 12.2 the width went first of slivers, too.
        is_vertical_first = lower > 0 and picture.height > 100 * picture.width
    between = (picture.width, height) if is_vertical_first else (width, picture.height)
    return picture.resize(between, kernel).resize((width, height), kernel)


def normalized(image: NDArray[np.uint8], view: ImageView, axes: Axes) -> NDArray[np.float32]:
    """Return (image / scale - mean) / std, float32 [3, H, W], each step rounded to float32; 0.0 beside a padded picture."""
    result = np.zeros(image.shape, np.float32)
    height, width = (int(axis.resized) if view.fit == "pad" else axis.size for axis in axes)
    result[:, :height, :width] = normalize(image[:, :height, :width], Norm.of(view))
    return result


def remake_view(
    mask: NDArray[np.bool_], view: MaskView, over: ImageView, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a view of a mask of bool [H, W] on a picture of `size` (height, width), uint8 [height, width]."""
    rows, columns = view_axes(over, *size)
    (height, width), (tall, wide) = mask.shape, view.grid
    return remake_mask(mask, view.filter, (rows.over(height, tall), columns.over(width, wide)))


def remake_mask(mask: NDArray[np.bool_], mask_filter: MaskFilter, axes: Axes) -> NDArray[np.uint8]:
    """Return a view of a mask of bool [H, W] as 0 and 1, uint8 [height, width].

    Args:
        mask: the original.
        mask_filter: its rule.
        axes: where the view has the mask, told in pixels of the mask (`Axis.over`).
    """
    rows, columns = axes
    if mask_filter == "cover":
        return _cover(mask, rows, columns)
    if mask_filter == "touch":
        return np.array(_measure(mask, rows, columns) > 0, np.uint8)
    if mask_filter == "half":
        return _half(mask, rows, columns)
    if mask_filter == "pillow-nearest" and _is_whole(rows) and _is_whole(columns):
        picture = Image.fromarray(mask.astype(np.uint8) * 255, "L")
        return np.array(np.asarray(_fit(picture, axes, "nearest", 0)) == 255, np.uint8)
    find = _pillow_pixels if mask_filter == "pillow-nearest" else _torch_pixels
    down, across = find(rows), find(columns)
    shown = [cell for cell, pixel in enumerate(across) if pixel is not None]
    taken = [pixel for pixel in across if pixel is not None]
    made = np.zeros((rows.size, columns.size), np.uint8)
    for row, pixel in enumerate(down):
        if pixel is not None:
            made[row, shown] = mask[pixel, taken]
    return made


def _is_whole(axis: Axis) -> bool:
    """Whether a view of a mask is made as one of an image is: from whole pixels, to whole cells."""
    return all(Fraction(number).denominator == 1 for number in axis[1:])


def _pillow_pixels(axis: Axis) -> list[int | None]:
    """Return the pixel of the mask in each cell that Pillow's NEAREST takes, None beside the mask."""
    skipped, phase = divmod(-Fraction(axis.offset), 1)
    step = float(Fraction(axis.canvas) / axis.resized)
    # Pillow goes from cell to cell by adding up the step in double precision, cells that are cut off among them.
    point = step * (0.5 + float(phase))
    for _ in range(int(skipped)):
        point += step
    points = []
    for _ in range(axis.size):
        points.append(point)
        point += step
    return _pixels(axis, points, Fraction(1, 2))


def _torch_pixels(axis: Axis) -> list[int | None]:
    """Return the pixel of the mask in each cell that torch's `nearest` takes, in single precision as torch computes it."""
    step, first = np.float32(float(Fraction(axis.canvas) / axis.resized)), np.float32(-float(axis.offset))
    return _pixels(axis, [float((np.float32(cell) + first) * step) for cell in range(axis.size)], Fraction(0))


def _pixels(axis: Axis, points: list[float], inside: Fraction) -> list[int | None]:
    """Return the pixels of the mask at points of its canvas; `inside` says where in a cell its point lies."""
    canvas, before = _whole_pixels(axis)
    moved = float(before - axis.before)
    pixels: list[int | None] = []
    for cell, point in enumerate(points):
        pixel = min(int(point + moved), canvas - 1) - before
        is_shown = cell - axis.offset + inside < axis.resized and 0 <= pixel < axis.length
        pixels.append(pixel if is_shown else None)
    return pixels


def _whole_pixels(axis: Axis) -> tuple[int, int]:
    """Return a canvas in whole pixels of the mask, which begins earlier by a part of one, and those before the mask."""
    before = ceil(axis.before)
    return ceil(axis.canvas + before - axis.before), before


def _cover(mask: NDArray[np.bool_], rows: Axis, columns: Axis) -> NDArray[np.uint8]:
    """Set each cell that is at least half covered; if none is, the most covered one."""
    covered = _measure(mask, rows, columns)
    cell = float(_borders(rows)[1] * _borders(columns)[1])
    cells = np.array(2 * covered >= cell, np.uint8)
    if not cells.any() and covered.any():
        cells.ravel()[int(covered.argmax())] = 1
    return cells


def _measure(mask: NDArray[np.bool_], rows: Axis, columns: Axis) -> NDArray[np.float64]:
    """Return how much of each cell is covered, in whole numbers, which float64 holds exactly."""
    measured: NDArray[np.float64] = _overlaps(rows) @ mask.astype(np.float64) @ _overlaps(columns).T
    return measured


def _overlaps(axis: Axis) -> NDArray[np.float64]:
    """Return how much of each cell lies on each pixel of the mask, float64 [cells, pixels] of whole numbers."""
    unit, cell, start = _borders(axis)
    cells = start + cell * np.arange(axis.size)[:, None]
    pixels = unit * np.arange(axis.length)[None, :]
    overlaps = np.minimum(cells + cell, pixels + unit) - np.maximum(cells, pixels)
    whole: NDArray[np.float64] = np.maximum(overlaps, 0).astype(np.float64)
    return whole


def _borders(axis: Axis) -> tuple[int, int, int]:
    """Return the length of a pixel and of a cell, and where the first cell begins, in the coarsest whole units."""
    cell = Fraction(axis.canvas) / axis.resized
    start = -axis.offset * cell - axis.before
    unit = lcm(cell.denominator, start.denominator)
    return unit, int(cell * unit), int(start * unit)


def _half(mask: NDArray[np.bool_], rows: Axis, columns: Axis) -> NDArray[np.uint8]:
    """Set each cell over one half under torch's antialiased bilinear filter in double precision: first the width, then the height."""
    narrow = _weigh(mask.T.astype(np.float64), columns)
    return np.array(_weigh(narrow.T, rows) > 0.5, np.uint8)


def _weigh(lines: NDArray[np.float64], axis: Axis) -> NDArray[np.float64]:
    """Return the sum of the lines of each cell's window, one after the other by weight, as torch adds them up.

    Windows and weights are those of `_compute_indices_weights_aa` of torch's UpSampleKernel.cpp.
    """
    canvas, before = _whole_pixels(axis)
    scale = float(Fraction(axis.canvas) / axis.resized)
    reach = max(scale, 1.0)
    result = np.zeros((axis.size, lines.shape[1]))
    for cell in range(axis.size):
        if cell - axis.offset + Fraction(1, 2) >= axis.resized:
            break
        centre = scale * (cell + float(-axis.offset) + 0.5) + float(before - axis.before)
        first = max(int(centre - reach + 0.5), 0)
        stop = min(int(centre + reach + 0.5), canvas)
        places = [(pixel - centre + 0.5) * (1.0 / reach) for pixel in range(first, stop)]
        weights = [max(0.0, 1.0 - abs(place)) for place in places]
        total = 0.0
        for weight in weights:
            total += weight
        for pixel, weight in zip(range(first - before, stop - before), weights, strict=True):
            if 0 <= pixel < axis.length:
                result[cell] += lines[pixel] * (weight / total)
    return result


def decode_mask(mask: Rle) -> NDArray[np.bool_]:
    """Return a mask, bool [H, W]; run lengths are decoded by pycocotools."""
    runs: dict[str, Any] = {"size": [mask.height, mask.width], "counts": mask.runs.tolist()}
    compressed = coco_mask.frPyObjects(runs, mask.height, mask.width)
    decoded: NDArray[np.bool_] = coco_mask.decode(compressed).astype(np.bool_)
    return decoded


def decode_picture(root: RawPath, path: str, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Return an image file as Pillow decodes it, uint8 [H, W, 3]; None where `path` is none (a video, an archive).

    Of a remote tar it is None, too: `tarfile` finds a member by reading all headers before it.

    Args:
        root: the dataset's folder.
        path: the raw file relative to it; a tar member is "sa_000000.tar/sa_1.jpg".
        size: (height, width) that the stored picture had: EXIF turns are applied where only they give it.
    """
    archive, is_member, member = path.partition(".tar/")
    try:
        if is_member and isinstance(root, Path) and (root / f"{archive}.tar").is_file():
            with tarfile.open(root / f"{archive}.tar", "r:") as tar:
                file = tar.extractfile(member)
                return None if file is None else _decode(Image.open(file), size)
        if (root / path).is_file():
            with local_file(root / path) as local, Image.open(local) as picture:
                return _decode(picture, size)
    except (OSError, KeyError, RecordError):
        return None
    return None


def _decode(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        # Transparency in a palette is announced; alpha is dropped by rule.
        warnings.simplefilter("ignore")
        if (picture.height, picture.width) != size:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            return np.stack([(np.asarray(picture) // 256).astype(np.uint8)] * 3, axis=2)
        return np.asarray(picture.convert("RGB"))
