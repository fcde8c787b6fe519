"""The tables of a part: joins in range, order, uniqueness, text. Vectorised; no pixel is looked at."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import TEXT_COLUMNS
from ..store.part_writer import SMALL_PROMPT_CELLS
from .findings import REDO_PART, Finding

Columns = Mapping[str, NDArray[Any]]
Texts = Mapping[str, Sequence[str]]


def decode_texts(columns: Columns) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return the text columns as lists, and the rows whose offsets or bytes can't be text."""
    texts: dict[str, list[str]] = {}
    findings: list[Finding] = []
    for table, names in TEXT_COLUMNS.items():
        for name in names:
            path = f"{table}/{name}"
            offsets, encoded = columns.get(f"{path}_offsets"), columns.get(f"{path}_bytes")
            if offsets is None or encoded is None:
                continue
            if offsets[0] != 0 or offsets[-1] != len(encoded) or (np.diff(offsets) < 0).any():
                text = "the offsets do not ascend from 0 to the number of bytes"
                findings.append(_fault("text-offsets", f"{path}_offsets", text))
                continue
            texts[path] = []
            whole = encoded.tobytes()
            for row in range(len(offsets) - 1):
                raw = whole[offsets[row] : offsets[row + 1]]
                texts[path].append(raw.decode("utf-8", "replace"))
                if texts[path][-1].encode() != raw:
                    findings.append(
                        _fault("text-utf8", f"{path}_bytes", f"row {row} is no UTF-8: {raw!r:.60}")
                    )
    return texts, findings


def check_tables(
    columns: Columns, texts: Texts, scenes: range, *, paired: bool, empty_frames: bool
) -> Iterator[Finding]:
    """Yield rows that break a rule of the tables; columns that could not be read are left out.

    Args:
        columns: numbers by path.
        texts: text columns by path.
        scenes: which scenes the part may hold.
        paired: whether samples are pairs.
        empty_frames: whether images may be without a mask.
    """
    yield from _check_offsets(columns)
    yield from _check_images(columns, texts, scenes)
    yield from _check_masks(columns, texts, empty_frames=empty_frames)
    if "masks/image" in columns and "expressions/mask" in columns:
        num_masks = len(columns["masks/image"])
        yield from _check_join(columns["expressions/mask"], "expressions/mask", num_masks, "masks")
    if "masks/image" in columns and "samples/mask" in columns:
        yield from _check_samples(columns, texts, paired=paired)


def _check_offsets(columns: Columns) -> Iterator[Finding]:
    """Yield offsets that don't ascend from 0; those of texts are looked at with what they point into."""
    texts = {f"{table}/{name}_offsets" for table, names in TEXT_COLUMNS.items() for name in names}
    for path, offsets in columns.items():
        if (
            path.endswith("_offsets")
            and path not in texts
            and (offsets[0] != 0 or (np.diff(offsets) < 0).any())
        ):
            yield _fault("offsets", path, "the offsets do not ascend from 0")


def _check_images(columns: Columns, texts: Texts, scenes: range) -> Iterator[Finding]:
    if (size := columns.get("images/size")) is not None:
        for row in _rows((size < 1).any(axis=1)):
            yield _fault("value-range", "images/size", f"{size[row].tolist()}", row, "at least 1 pixel")
    scene, time = columns.get("images/scene"), columns.get("images/time")
    if scene is not None and time is not None and len(scene):
        outside = (scene < scenes.start) | (scene >= scenes.stop)
        for row in _rows(outside):
            wanted = f"{scenes.start} to {scenes.stop - 1}"
            yield _fault("value-range", "images/scene", f"scene {scene[row]}", row, wanted)
        later = (scene[1:] > scene[:-1]) | ((scene[1:] == scene[:-1]) & (time[1:] > time[:-1]))
        for row in _rows(~later, 1):
            found = f"scene {scene[row]} time {time[row]} follows {scene[row - 1]}, {time[row - 1]}"
            yield _fault("row-order", "images/scene", found, row, "ascending scenes and times")
    for key, row in _repeated(texts.get("images/key", ())):
        yield _fault("unique", "images/key", f"the key {key!r} is there twice", row)
    if scene is not None and "images/key" in texts and "scenes/key" in texts:
        yield from _check_scenes(
            (scene - scenes.start).tolist(), texts["images/key"], texts["scenes/key"], scenes
        )


def _check_scenes(
    places: Sequence[int], images: Sequence[str], keys: Sequence[str], scenes: range
) -> Iterator[Finding]:
    """Yield images that are not of the scene they say, and scenes that the part can't hold."""
    if len(keys) > len(scenes):
        yield _fault("scenes", "scenes/key", f"{len(keys)} scenes", expected=f"at most {len(scenes)}")
    for row, (place, image) in enumerate(zip(places, images, strict=False)):
        if not 0 <= place < len(keys):
            yield _fault("scenes", "images/scene", "the part does not list the scene", row)
        elif not image.startswith(keys[place]):
            text = f"it is of scene {keys[place]!r}, and its key does not begin with that"
            yield _fault("scenes", "images/key", text, row)


def _check_masks(columns: Columns, texts: Texts, *, empty_frames: bool) -> Iterator[Finding]:
    image, size = columns.get("masks/image"), columns.get("images/size")
    if image is not None and size is not None:
        yield from _check_join(image, "masks/image", len(size), "images")
        bare = [] if empty_frames else np.setdiff1d(np.arange(len(size)), image).tolist()
        for row in bare:
            yield _fault("table-join", "images/size", "no mask belongs to this image", row)
        names = texts.get("masks/object_id")
        if names is not None:
            for name, row in _repeated(list(zip(image.tolist(), names, strict=True))):
                yield _fault("unique", "masks/object_id", f"object {name[1]!r} is there twice", row)
    area, cells = columns.get("masks/area"), columns.get("masks/prompt_cells")
    if area is not None:
        for row in _rows(area < 0):
            yield _fault("value-range", "masks/area", f"{area[row]} pixels", row, "0 or more")
    if area is not None and cells is not None:
        for row in _rows((cells < 0) | ((area == 0) & (cells > 0))):
            found = f"{cells[row]} cells for an area of {area[row]} pixels"
            yield _fault("value-range", "masks/prompt_cells", found, row)


def _check_samples(columns: Columns, texts: Texts, *, paired: bool) -> Iterator[Finding]:
    samples, image = columns["samples/mask"], columns["masks/image"]
    bad = ((samples < 0) | (samples >= len(image))).any(axis=1)
    for row in _rows(bad):
        found = f"mask rows {samples[row].tolist()}"
        yield _fault("table-join", "samples/mask", found, row, f"0 to {len(image) - 1}")
    for masks, row in _repeated([tuple(sample) for sample in samples.tolist()]):
        yield _fault("unique", "samples/mask", f"the sample {list(masks)} is there twice", row)
    needed = [columns.get("images/scene"), columns.get("images/time"), texts.get("masks/object_id")]
    if not paired or bad.any() or any(column is None for column in needed):
        return
    if len(image) and not 0 <= image.min() <= image.max() < len(columns["images/scene"]):
        return
    scene, time = columns["images/scene"][image][samples], columns["images/time"][image][samples]
    names = np.array(texts["masks/object_id"], object)[samples]
    for row in range(len(samples)):
        if names[row, 0] != names[row, 1] or scene[row, 0] != scene[row, 1]:
            found = f"objects {names[row].tolist()} of scenes {scene[row].tolist()}"
            yield _fault("pair", "samples/mask", found, row, "one object of one scene")
        elif time[row, 0] >= time[row, 1] and samples[row, 0] != samples[row, 1]:
            found = f"times {time[row].tolist()}"
            yield _fault("pair-time", "samples/mask", found, row, "the earlier frame first")


def _check_join(column: NDArray[Any], path: str, length: int, table: str) -> Iterator[Finding]:
    for row in _rows((column < 0) | (column >= length)):
        yield _fault("table-join", path, f"row {column[row]} of {table}", row, f"0 to {length - 1}")
    for row in _rows(np.diff(column) < 0, 1):
        yield _fault("row-order", path, f"{column[row]} follows {column[row - 1]}", row, "ascending rows")


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
            yield _fault("totals", "zarr.json", f"{name} is {attributes.get(name)}", expected=str(count))


def _rows(broken: NDArray[np.bool_] | np.bool_, first: int = 0) -> list[int]:
    """Return the rows where a rule is broken; `first` is the row of the first element."""
    return [first + row for row in np.flatnonzero(broken).tolist()]


def _repeated(values: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    seen = set()
    for row, value in enumerate(values):
        if value in seen:
            yield value, row
        seen.add(value)


def _fault(check: str, array: str, found: str, row: int | None = None, expected: str = "") -> Finding:
    return Finding(check=check, array=array, row=row, found=found, expected=expected, advice=REDO_PART)
