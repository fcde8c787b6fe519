"""Which images, or scenes, of a part can give a sample that is drawn, and why others can't. numpy only."""

import numpy as np
from numpy.typing import NDArray

from .clips import Clip
from .draws import Draw, shows_clip
from .subset import Columns, Subset

GIVES, TOO_SHORT, NOBODY = 1, 2, 3
"""What is said of a unit at the row of its image, a scene's at that of its first; 0 where none is, or not of this subset."""

REASONS = {"too short": TOO_SHORT, "nobody eligible": NOBODY}
"""Why a unit is left out."""


def find_units(
    part: Columns, num_images: int, num_masks: int, draw: Draw, subset: Subset, *, videos: bool
) -> NDArray[np.int8]:
    """Return what each image of a part is: int8 [I].

    A scene is in the subset by its key where all of its images are; `videos` is whether scenes are videos.
    """
    chosen = subset.eligible_images(part, videos=videos)
    if chosen is None:
        chosen = np.ones(num_images, bool)
    if isinstance(draw, Clip):
        return _find_scenes(part, chosen, draw, subset)
    eligible = subset.eligible_masks(part, 0, num_masks)
    if draw.of == "expressions":
        described = np.zeros(num_masks, bool)
        described[part.column("expressions/mask")] = True
        eligible &= described
    units = np.where(chosen, np.int8(NOBODY), np.int8(0))
    shown = np.zeros(num_images, bool)
    shown[part.column("masks/image")[eligible]] = True
    units[chosen & shown] = GIVES
    return units


def _find_scenes(part: Columns, chosen: NDArray[np.bool_], clip: Clip, subset: Subset) -> NDArray[np.int8]:
    units = np.zeros(len(chosen), np.int8)
    scenes = part.column("images/scene")
    firsts = np.flatnonzero(np.diff(scenes, prepend=scenes[:1] - 1))
    for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(chosen)], strict=False):
        if not chosen[first:last].all():
            continue
        if last - first < clip.frames and clip.short == "skip":
            units[first] = TOO_SHORT
        else:
            units[first] = GIVES if shows_clip(part, first, clip, subset) else NOBODY
    return units


def unit_keys(part: Columns, rows: NDArray[np.int64], *, scenes: bool) -> list[str]:
    """Return the keys of images, or of the videos they are of."""
    offsets, text = part.column("images/key_offsets"), part.column("images/key_bytes")
    keys = [text[offsets[row] : offsets[row + 1]].tobytes().decode(errors="replace") for row in rows.tolist()]
    return [key.rpartition("/")[0] or key for key in keys] if scenes else keys
