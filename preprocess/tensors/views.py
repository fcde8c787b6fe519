"""What a frame becomes: its four tensors, made one after the other while they are written."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = tuple[NDArray[Any], NDArray[np.uint8]]
"""`pixel_values`, uint8 0..255 or float32 [3, S, S] as it is stored, and `g_pixel_values`, uint8 [3, S, S]."""
Masks: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""`prompt_masks` and `masks` of one object, each bool [S, S]."""


class Views(NamedTuple):
    """The tensors of a frame, each made when it is called for: a frame may have hundreds of masks."""

    images: Callable[[], Images]
    masks: Sequence[Callable[[], Masks]]
    """Of each mask, in the frame's order."""
