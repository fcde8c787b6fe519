"""Makes scenes anew from the raw files and compares every stored row of them, bit for bit."""

from collections.abc import Iterator, Sequence

import numpy as np

from ...loader.format.errors import SourceError
from ...loader.format.metadata import Root
from ..config import parse_config
from ..decode.images import is_same_picture
from ..sources.base import Scene, Source
from ..sources.files.raw_files import RawPath
from ..sources.records import Frame, Mask, Pair
from ..sources.registry import open_dataset
from ..tensors.engine import PILLOW
from .findings import Finding, tensor_fault
from .images_anew import check_kept_file, compare_images, compare_kept_file, is_extreme
from .own_columns import compare_box, compare_own_mask
from .part import Part
from .reasons import explain_mask
from .remake import decode_mask, decode_picture, remake_view
from .scenes import Anew


def open_same_source(root: Root, folder: RawPath) -> Source:
    """Open the raw dataset that a store was made from.

    Raises:
        SourceError: it can't be opened, or is not the one the store was made from.
    """
    config = parse_config({"source": root.job["source"]}, "the store's job")
    source = open_dataset(config.source, folder, config.options)
    found, wanted = source.fingerprint(), root.jobs[-1].get("files")
    if all(found != job.get("files") for job in root.jobs):
        raise SourceError(
            f"{folder} is not the dataset that the store was made from: its files are {found}, expected {wanted}; "
            "give the folder that `resizeonce convert --root` was given"
        )
    return source


def compare_scenes(part: Part, anew: Anew) -> None:
    """Make scenes of a part with sound tables anew; what differs goes to the part."""
    for number, scene in anew.scenes:
        rows = np.flatnonzero(part.columns["images/scene"] == number).tolist()
        if scene is not None:
            part.add(_compare_scene(part, anew, number, scene, rows))
        else:
            for row in rows:
                part.add(check_kept_file(part, row))


def _compare_scene(
    part: Part, anew: Anew, number: int, scene: Scene, rows: Sequence[int]
) -> Iterator[Finding]:
    scenes, recipe = part.columns["images/scene"], part.task.recipe
    records = list(scene.read(PILLOW.decoder(anew.damaged)))
    frames = [record for record in records if isinstance(record, Frame)]
    wanted = _accepted([frame for frame in frames if not is_extreme(recipe, *frame.image.shape[:2])])
    is_last = anew.may_be_cut and number >= scenes.max(initial=0)
    if len(rows) != len(wanted) and not (is_last and len(rows) < len(wanted)):
        text = f"scene {number} ({scene.key}) has {len(rows)} images here"
        yield tensor_fault("rows", "images/scene", None, text, f"{len(wanted)}, as the raw dataset gives")
    masks: dict[tuple[int, str], int] = {}
    for row, (frame, accepted) in zip(rows, wanted, strict=False):
        yield from _compare_frame(part, anew.root, row, frame)
        mask_rows = np.flatnonzero(part.columns["masks/image"] == row).tolist()
        if len(mask_rows) != len(accepted) and not (is_last and len(mask_rows) < len(accepted)):
            text = f"{len(mask_rows)} masks belong to this image"
            yield tensor_fault("rows", "images/key", row, text, f"{len(accepted)}, as the raw dataset gives")
        for mask_row, mask in zip(mask_rows, accepted, strict=False):
            masks[frame.time, mask.object_id] = mask_row
            yield from _compare_mask(part, mask_row, mask, frame.image.shape[:2])
    pairs = [record for record in records if isinstance(record, Pair)]
    yield from _compare_samples(part, rows, masks, pairs, is_last)


def _accepted(frames: Sequence[Frame]) -> list[tuple[Frame, list[Mask]]]:
    """Return the frames that a store holds, each with its masks: the writer's rules, told again."""
    accepted: list[tuple[Frame, list[Mask]]] = []
    taken: set[tuple[int, str]] = set()
    for frame in frames:
        masks = []
        for mask in frame.masks:
            covers = mask.may_be_empty or mask.segmentation.area > 0
            fits = is_same_picture(frame.image.shape[:2], mask.segmentation.size)
            if covers and fits and (frame.time, mask.object_id) not in taken:
                taken.add((frame.time, mask.object_id))
                masks.append(mask)
        if masks or (frame.keep_empty and not frame.masks):
            accepted.append((frame, masks))
    return accepted


def _compare_frame(part: Part, root: RawPath | None, row: int, frame: Frame) -> Iterator[Finding]:
    height, width = frame.image.shape[:2]
    columns, texts = part.columns, part.texts
    for array, found, wanted in (
        ("images/key", texts["images/key"][row], frame.key),
        ("images/path", texts["images/path"][row], frame.path),
        ("images/size", columns["images/size"][row].tolist(), [height, width]),
        ("images/time", int(columns["images/time"][row]), frame.time),
    ):
        if found != wanted:
            yield tensor_fault("source-differs", array, row, repr(found), repr(wanted))
    picture = None if root is None else decode_picture(root, frame.path, (height, width))
    image = frame.image if picture is None else picture
    if image.shape != frame.image.shape or (image != frame.image).any():
        yield tensor_fault(
            "source-decoding", "images/path", row, "Pillow decodes the raw file to other pixels"
        )
    yield from compare_images(part, row, image)
    yield from compare_kept_file(part, row, image)


def _compare_mask(part: Part, row: int, mask: Mask, size: tuple[int, int]) -> Iterator[Finding]:
    """Compare all of a mask on a picture of `size` (height, width)."""
    recipe, columns, texts = part.task.recipe, part.columns, part.texts
    original = decode_mask(mask.segmentation)
    remade = {
        name: remake_view(original, view, recipe.images[view.over], size)
        for name, view in recipe.masks.items()
        if view.size != "own"
    }
    first, last = np.searchsorted(columns["expressions/mask"], [row, row + 1])
    phrases = texts["expressions/text"][first:last]
    compared: list[tuple[str, object, object]] = [
        ("masks/object_id", texts["masks/object_id"][row], mask.object_id),
        ("masks/category", texts["masks/category"][row], mask.category),
        ("masks/area", int(columns["masks/area"][row]), int(np.count_nonzero(original))),
    ]
    if recipe.prompt is not None:
        cells = int(remade[recipe.prompt].sum())
        compared.append(("masks/prompt_cells", int(columns["masks/prompt_cells"][row]), cells))
    for array, found, wanted in compared:
        if found != wanted:
            yield tensor_fault("source-differs", array, row, f"{found!r:.200}", f"{wanted!r:.200}")
    if phrases != [_clean(phrase) for phrase in mask.expressions]:
        text = f"its expressions are {phrases!r:.200}"
        yield tensor_fault("source-differs", "masks/object_id", row, text, f"{list(mask.expressions)!r:.200}")
    for name, view in recipe.masks.items():
        if view.size == "own":
            yield from compare_own_mask(part, name, row, original)
    yield from compare_box(part, row, original, size)
    for name, wanted_cells in remade.items():
        values = part.row(f"masks/{name}", row)
        if values is not None and (count := np.count_nonzero(values != wanted_cells)):
            reason = explain_mask(values, name, original, size, recipe, remade)
            text = f"{count:,} of {values.size:,} pixels differ{reason}"
            yield tensor_fault("source-differs", f"masks/{name}", row, text, "equal bits")


def _compare_samples(
    part: Part, rows: Sequence[int], masks: dict[tuple[int, str], int], pairs: Sequence[Pair], is_cut: bool
) -> Iterator[Finding]:
    """Compare which samples a scene gives: its pairs, or each of its masks."""
    samples = part.columns["samples/mask"]
    mask_rows = np.flatnonzero(np.isin(part.columns["masks/image"], rows))
    found = samples[np.isin(samples, mask_rows).any(axis=1)].tolist()
    wanted = [[row] for row in masks.values()]
    if part.task.paired:
        ends = (((pair.time1, pair.object_id), (pair.time2, pair.object_id)) for pair in pairs)
        wanted = [
            [masks[first], masks[second]] for first, second in ends if first in masks and second in masks
        ]
    if found != (wanted[: len(found)] if is_cut else wanted):
        row = rows[0] if rows else None
        text = f"the scene's samples are {found!r:.200}"
        yield tensor_fault("source-differs", "images/scene", row, text, f"{wanted!r:.200}")


def _clean(text: str) -> str:
    """Return a text as UTF-8 can hold it: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
