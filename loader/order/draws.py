"""PLACEHOLDER until the order's part is merged."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .subset import Columns, Subset


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    at_most: int
    at_least: int = 0
    of: Literal["masks", "expressions"] = "masks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    frames: int
    objects: int
    at_least: int = 0
    of: Literal["masks", "expressions"] = "masks"


Draw = Objects | Clip


class Drawn(NamedTuple):
    images: NDArray[np.int64]
    masks: NDArray[np.int64]
    expressions: NDArray[np.int64]


def draw_sample(part: Columns, unit: int, key: int, draw: Draw, subset: Subset) -> Drawn:
    owners = part.column("masks/image")
    if isinstance(draw, Clip):
        images = np.flatnonzero(part.column("images/scene") == part.column("images/scene")[unit])
        raise NotImplementedError(images)
    rows = np.flatnonzero(owners == unit)[: draw.at_most]
    return Drawn(np.array([unit]), rows[:, None], np.full(len(rows), -1))


def most_objects(draw: Draw) -> int:
    """Return how many objects a sample has at most."""
    return max(draw.objects if isinstance(draw, Clip) else draw.at_most, draw.at_least)


def draw_key(seed: int, store: int, lap: int) -> int:
    """Return what decides the draws of a lap through a store."""
    return hash((seed, store, lap)) & (2**63 - 1)
