"""The tables of a part: joins in range, order, uniqueness, text. Vectorised; no pixel is looked at."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import TEXT_COLUMNS
from ..store.part_writer import SMALL_PROMPT_CELLS
from .findings import Finding, part_fault

Columns = Mapping[str, NDArray[Any]]
Texts = Mapping[str, Sequence[str]]

TEXTS = tuple(f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names)
"""Every column of text."""


def decode_texts(columns: Columns) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return the text columns as lists, and the rows whose offsets or bytes can't be text."""
    texts: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for path in TEXTS:
        offsets, encoded = columns.get(f"{path}_offsets"), columns.get(f"{path}_bytes")
        if offsets is None or encoded is None:
            continue
        if offsets[-1] != len(encoded) or not _ascend(offsets):
            text = "the offsets do not ascend from 0 to the number of bytes"
            findings.append(part_fault("text-offsets", f"{path}_offsets", text))
            continue
        whole = encoded.tobytes()
        raws = [whole[start:end] for start, end in pairwise(offsets.tolist())]
        texts[path] = [raw.decode("utf-8", "replace") for raw in raws]
        for row, raw in enumerate(raws):
            if texts[path][row].encode() != raw:
                text = f"row {row} is no UTF-8: {raw!r:.60}"
                findings.append(part_fault("text-utf8", f"{path}_bytes", text))
    return texts, findings


def check_tables(
    columns: Columns, texts: Texts, scenes: range, *, paired: bool, empty_frames: bool
) -> Iterator[Finding]:
    """Yield rows that break a rule of the tables."""
    for path, offsets in columns.items():
        # Those of texts are looked at with what they point into.
        if path.endswith("_offsets") and path.removesuffix("_offsets") not in texts and not _ascend(offsets):
            yield part_fault("offsets", path, "the offsets do not ascend from 0")
    yield from _check_images(columns, texts, scenes)
    yield from _check_masks(columns, texts, empty_frames=empty_frames)
    num_masks = len(columns["masks/image"])
    yield from _check_join(columns["expressions/mask"], "expressions/mask", num_masks, "masks")
    yield from _check_samples(columns, texts, paired=paired)


def _check_images(columns: Columns, texts: Texts, scenes: range) -> Iterator[Finding]:
    size, scene, time = (columns[f"images/{name}"] for name in ("size", "scene", "time"))
    for row in _rows((size < 1).any(axis=1)):
        yield part_fault("value-range", "images/size", f"{size[row].tolist()}", row, "at least 1 pixel")
    for row in _rows((scene < scenes.start) | (scene >= scenes.stop)):
        wanted = f"{scenes.start} to {scenes.stop - 1}"
        yield part_fault("value-range", "images/scene", f"scene {scene[row]}", row, wanted)
    later = (scene[1:] > scene[:-1]) | ((scene[1:] == scene[:-1]) & (time[1:] > time[:-1]))
    for row in _rows(~later, 1):
        found = f"scene {scene[row]} time {time[row]} follows {scene[row - 1]}, {time[row - 1]}"
        yield part_fault("row-order", "images/scene", found, row, "ascending scenes and times")
    for key, row in _repeated(texts["images/key"]):
        yield part_fault("unique", "images/key", f"the key {key!r} is there twice", row)
    keys = texts["scenes/key"]
    if len(keys) > len(scenes):
        yield part_fault("scenes", "scenes/key", f"{len(keys)} scenes", expected=f"at most {len(scenes)}")
    for row, (number, image) in enumerate(zip(scene.tolist(), texts["images/key"], strict=True)):
        if not 0 <= number - scenes.start < len(keys):
            yield part_fault("scenes", "images/scene", "the part does not list the scene", row)
        elif not image.startswith(key := keys[number - scenes.start]):
            text = f"it is of scene {key!r}, and its key does not begin with that"
            yield part_fault("scenes", "images/key", text, row)


def _check_masks(columns: Columns, texts: Texts, *, empty_frames: bool) -> Iterator[Finding]:
    image, area, num_images = columns["masks/image"], columns["masks/area"], len(columns["images/size"])
    yield from _check_join(image, "masks/image", num_images, "images")
    for row in [] if empty_frames else np.setdiff1d(np.arange(num_images), image).tolist():
        yield part_fault("table-join", "images/size", "no mask belongs to this image", row)
    for (_, name), row in _repeated(list(zip(image.tolist(), texts["masks/object_id"], strict=True))):
        yield part_fault("unique", "masks/object_id", f"object {name!r} is there twice", row)
    for row in _rows(area < 0):
        yield part_fault("value-range", "masks/area", f"{area[row]} pixels", row, "0 or more")
    cells = columns.get("masks/prompt_cells")
    if cells is not None:
        for row in _rows((cells < 0) | ((area == 0) & (cells > 0))):
            found = f"{cells[row]} cells for an area of {area[row]} pixels"
            yield part_fault("value-range", "masks/prompt_cells", found, row)


def _check_samples(columns: Columns, texts: Texts, *, paired: bool) -> Iterator[Finding]:
    samples, image = columns["samples/mask"], columns["masks/image"]
    bad = ((samples < 0) | (samples >= len(image))).any(axis=1)
    for row in _rows(bad):
        found = f"mask rows {samples[row].tolist()}"
        yield part_fault("table-join", "samples/mask", found, row, f"0 to {len(image) - 1}")
    for masks, row in _repeated([tuple(sample) for sample in samples.tolist()]):
        yield part_fault("unique", "samples/mask", f"the sample {list(masks)} is there twice", row)
    if not paired or bad.any() or ((image < 0) | (image >= len(columns["images/scene"]))).any():
        return
    scene, time = columns["images/scene"][image][samples], columns["images/time"][image][samples]
    names = np.array(texts["masks/object_id"], object)[samples]
    for row in range(len(samples)):
        if names[row, 0] != names[row, 1] or scene[row, 0] != scene[row, 1]:
            found = f"objects {names[row].tolist()} of scenes {scene[row].tolist()}"
            yield part_fault("pair", "samples/mask", found, row, "one object of one scene")
        elif time[row, 0] >= time[row, 1] and samples[row, 0] != samples[row, 1]:
            found = f"times {time[row].tolist()}"
            yield part_fault("pair-time", "samples/mask", found, row, "the earlier frame first")


def _check_join(column: NDArray[Any], path: str, length: int, table: str) -> Iterator[Finding]:
    for row in _rows((column < 0) | (column >= length)):
        yield part_fault("table-join", path, f"row {column[row]} of {table}", row, f"0 to {length - 1}")
    for row in _rows(np.diff(column) < 0, 1):
        yield part_fault("row-order", path, f"{column[row]} follows {column[row - 1]}", row, "ascending rows")


def check_counts(columns: Columns, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where a part's attributes do not count what its tables hold."""
    cells = columns.get("masks/prompt_cells")
    if cells is None:
        return
    counted = {
        "empty_prompts": int((cells == 0).sum()),
        "small_prompts": int(((cells > 0) & (cells < SMALL_PROMPT_CELLS)).sum()),
    }
    for name, count in counted.items():
        if attributes.get(name) != count:
            yield part_fault("totals", "zarr.json", f"{name} is {attributes.get(name)}", expected=str(count))


def _ascend(offsets: NDArray[Any]) -> bool:
    """Whether offsets ascend from 0."""
    return bool(offsets[0] == 0 and (np.diff(offsets) >= 0).all())


def _rows(broken: NDArray[np.bool_] | np.bool_, first: int = 0) -> list[int]:
    """Return the rows where a rule is broken; `first` is the row of the first element."""
    return [first + row for row in np.flatnonzero(broken).tolist()]


def _repeated(values: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    seen = set()
    for row, value in enumerate(values):
        if value in seen:
            yield value, row
        seen.add(value)
