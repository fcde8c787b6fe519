"""Stores in memory: only the tables that an order reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from resizeonce.loader.format.recipe import DEFAULT_VIEWS, Recipe


class FakePart:
    """Columns by path; counts which were asked for."""

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self.columns = columns
        self.asked: set[str] = set()

    def column(self, path: str) -> NDArray[Any]:
        self.asked.add(path)
        return self.columns[path]


@dataclass
class FakeStore:
    parts: list[FakePart]
    attributes: dict[str, Any]
    paired: bool = False
    opened: list[int] = field(default_factory=list)

    def tables(self, number: int) -> FakePart:
        self.opened.append(number)
        return self.parts[number]

    def open_part(self, number: int) -> FakePart:
        self.opened.append(number)
        return self.parts[number]


def fake_store(
    parts: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    name: str = "fake",
    pairs: Sequence[int] = (),
    side: int = 448,
) -> FakeStore:
    """Return a store of parts, each given by the number of masks of each of its images.

    With `pairs`, one number for each part, samples are that many random pairs of masks, in no order.
    """
    random = np.random.default_rng(seed)
    made, listed, image = [], [], 0
    for number, masks in enumerate(parts):
        owners = np.repeat(np.arange(len(masks)), masks)
        keys = [f"{name}/{image + row:06d}" + ("/00004" if pairs else "") for row in range(len(masks))]
        image += len(masks)
        rows = np.arange(len(owners))[:, None]
        if pairs:
            rows = random.integers(0, len(owners), (pairs[number], 2))
        encoded = [key.encode() for key in keys]
        made.append(
            FakePart(
                {
                    "masks/image": owners,
                    "masks/area": random.integers(0, 5000, len(owners)),
                    "masks/prompt_cells": random.integers(0, 12, len(owners)).astype(np.int32),
                    "images/key_offsets": np.cumsum([0, *map(len, encoded)]),
                    "images/key_bytes": np.frombuffer(b"".join(encoded), np.uint8),
                    "samples/mask": rows,
                }
            )
        )
        counts = {"images": len(masks), "masks": len(owners), "samples": len(rows), "expressions": 0}
        listed.append({"name": f"part-{number:05d}", "rows": counts, "sha256": f"{name}-{seed}-{number}"})
    small = replace(DEFAULT_VIEWS["pixel_values"], size=(side, side))
    recipe = Recipe(name="custom", views=DEFAULT_VIEWS | {"pixel_values": small}).attributes()
    return FakeStore(made, {"fingerprint": name, "recipe": recipe, "parts": listed}, bool(pairs))


def plain_store(samples: int, **options: Any) -> FakeStore:
    """Return a store of one part with one mask an image."""
    return fake_store([[1] * samples], **options)


Frame = Mapping[str, int]
"""Of an image: the area of the mask of each object in it."""


def video_store(
    parts: Sequence[Sequence[Sequence[Frame]]],
    sentences: Mapping[str, int] | None = None,
    *,
    name: str = "videos",
    is_each_mask_described: bool = False,
) -> FakeStore:
    """Return a store of parts of scenes of frames; frames may be empty. Prompt cells are a hundredth of the area.

    With `sentences`, objects of that id have so many of them, at their first mask of a scene or at each.
    """
    made, listed, scene = [], [], 0
    for number, scenes in enumerate(parts):
        rows = [(time, frame) for video in scenes for time, frame in enumerate(video)]
        masks = [(row, *item) for row, (_, frame) in enumerate(rows) for item in frame.items()]
        owners = np.repeat(np.arange(scene, scene + len(scenes)), [len(video) for video in scenes])
        keys = [f"{name}/{owner}/{time:03d}" for owner, (time, _) in zip(owners.tolist(), rows, strict=True)]
        described, seen = [], set()
        for mask, (row, object_id, _) in enumerate(masks):
            if is_each_mask_described or (owners[row], object_id) not in seen:
                described += [mask] * (sentences or {}).get(object_id, 0)
            seen.add((owners[row], object_id))
        areas = np.array([area for _, _, area in masks], np.int64)
        columns = {
            "images/scene": owners,
            "images/time": np.array([time for time, _ in rows], np.int32),
            "masks/image": np.array([row for row, _, _ in masks], np.int64),
            "masks/area": areas,
            "masks/prompt_cells": (areas // 100).astype(np.int32),
            "samples/mask": np.arange(len(masks))[:, None],
            "expressions/mask": np.array(described, np.int64),
            **text_column("images/key", keys),
            **text_column("masks/object_id", [object_id for _, object_id, _ in masks]),
        }
        made.append(FakePart(columns))
        counts = {"images": len(rows), "masks": len(masks), "samples": len(masks)}
        counts |= {"expressions": len(described), "scenes": len(scenes)}
        listed.append({"name": f"part-{number:05d}", "rows": counts, "sha256": f"{name}-{number}"})
        scene += len(scenes)
    recipe = Recipe(name="custom", views=DEFAULT_VIEWS).attributes()
    attributes = {"fingerprint": name, "recipe": recipe, "parts": listed, "empty_frames": True}
    return FakeStore(made, attributes)


def text_column(path: str, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the two arrays of a column of text."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    return {f"{path}_offsets": offsets, f"{path}_bytes": np.frombuffer(b"".join(encoded), np.uint8)}
