"""RefCOCO as a test reads it, and what pycocotools makes of its masks."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from resizeonce.preprocess.sources.records import Frame
from resizeonce.preprocess.sources.refcoco import Options, RefcocoSource

SIZES = ((37, 61), (64, 40), (50, 50), (33, 90), (41, 77))


def open_source(root: Path, dataset: str = "refcoco", **options: str) -> RefcocoSource:
    return RefcocoSource(root, msgspec.convert({"dataset": dataset} | options, Options))


def read(source: RefcocoSource) -> list[Any]:
    return [record for index in range(len(source)) for record in source[index].read()]


def frames_of(source: RefcocoSource) -> dict[str, Frame]:
    return {record.key: record for record in read(source) if isinstance(record, Frame)}


def expressions_of(source: RefcocoSource) -> dict[str, tuple[str, ...]]:
    """Expressions by key of the sample."""
    return {
        f"{frame.key}/{mask.object_id}": mask.expressions
        for frame in frames_of(source).values()
        for mask in frame.masks
    }


def change_refs(path: Path, change: Callable[[list[Any]], None]) -> None:
    refs = pickle.loads(path.read_bytes())
    change(refs)
    path.write_bytes(pickle.dumps(refs, 2))


def expected_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """pycocotools' own reading of an annotation, as COCO.annToMask does it."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation).astype(bool)


def annotations_of(root: Path, dataset: str = "refcoco") -> dict[int, dict[str, Any]]:
    content = json.loads((root / dataset / "instances.json").read_text())
    return {annotation["id"]: annotation for annotation in content["annotations"]}
