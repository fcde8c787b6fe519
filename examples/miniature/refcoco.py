"""The RefCOCO family: four folders of annotations over one folder of COCO pictures."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from miniature.shapes import polygon_of

IMAGES = "images/mscoco/images/train2014"

# Pictures take turns through the splits, in this order.
_UNC = ("train", "val", "testA", "testB")
_GOOGLE = ("train", "val", "test")
_UMD = ("train", "val", "test")
_GOOGLE_REFCOCOG = ("train", "val")


def write_refcoco(root: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write `refcoco`, `refcoco+`, `refcocog` and `grefcoco`, each with two refs for each picture.

    Picture n (from 1) is COCO image n * 111 with annotations n * 10 (a polygon), n * 10 + 1 (a compressed RLE) and a
    crowd without a ref. In the splits by google, annotation 10 has a second ref. gRefCOCO also has a ref for both
    objects together and one for nothing in the picture.
    """
    (root / IMAGES).mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(root / IMAGES / _file_name(number), quality=95)
    instances = json.dumps(_instances([picture.shape[:2] for picture in pictures]))
    for folder in ("refcoco", "refcoco+", "refcocog", "grefcoco"):
        (root / folder).mkdir()
        (root / folder / "instances.json").write_text(instances)
    count = len(pictures)
    # Python 2 wrote protocol 0 for unc and protocol 2 for the others.
    _write_pickle(root / "refcoco" / "refs(unc).p", _refs(count, _UNC), protocol=0)
    _write_pickle(root / "refcoco" / "refs(google).p", _google(count, _GOOGLE), protocol=2)
    _write_pickle(root / "refcoco+" / "refs(unc).p", _refs(count, _UNC), protocol=0)
    _write_pickle(root / "refcocog" / "refs(umd).p", _refs(count, _UMD), protocol=2)
    _write_pickle(root / "refcocog" / "refs(google).p", _google(count, _GOOGLE_REFCOCOG), protocol=2)
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(_grefs(count, _UNC)))


def _file_name(number: int) -> str:
    return f"COCO_train2014_{number * 111:012d}.jpg"


def _instances(sizes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    images, annotations = [], []
    for number, (height, width) in enumerate(sizes, start=1):
        images.append({"id": number * 111, "file_name": _file_name(number), "height": height, "width": width})
        drawn = coco_mask.merge(
            coco_mask.frPyObjects([polygon_of(height, width, number + 100)], height, width)
        )
        crowd = [height * (width // 2), height, height * (width - width // 2 - 1)]
        for annotation_id, category_id, iscrowd, segmentation in (
            (number * 10, 1, 0, [polygon_of(height, width, number)]),
            (number * 10 + 1, 18, 0, {"size": [height, width], "counts": drawn["counts"].decode()}),
            (900100000000 + number, 1, 1, {"size": [height, width], "counts": crowd}),
        ):
            annotations.append(
                {
                    "id": annotation_id,
                    "image_id": number * 111,
                    "category_id": category_id,
                    "iscrowd": iscrowd,
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _refs(count: int, splits: Sequence[str]) -> list[dict[str, Any]]:
    """Return two refs for each picture: ref ids 0, 1 for the first, 2, 3 for the second."""
    refs = []
    for number in range(1, count + 1):
        split = splits[(number - 1) % len(splits)]
        texts = ("The person, LEFT of picture %d", "le garçon à gauche"), ("dog no. %d!",)
        for place, (annotation_id, category_id) in enumerate(((number * 10, 1), (number * 10 + 1, 18))):
            raws = [text.replace("%d", str(number)) for text in texts[place]]
            refs.append(_ref(number * 2 - 2 + place, number, annotation_id, category_id, split, raws))
    return refs


def _google(count: int, splits: Sequence[str]) -> list[dict[str, Any]]:
    return [*_refs(count, splits), _ref(2 * count, 1, 10, 1, splits[0], ["whoever stands there"])]


def _grefs(count: int, splits: Sequence[str]) -> list[dict[str, Any]]:
    refs = [
        ref | {"ann_id": [ref["ann_id"]], "category_id": [ref["category_id"]], "no_target": False}
        for ref in _refs(count, splits)
    ]
    for number in range(1, count + 1):
        split = splits[(number - 1) % len(splits)]
        both = [number * 10 + 1, number * 10]
        refs.append(
            _ref(200000 + number * 2, number, both, [18, 1], split, ["dog and person"]) | {"no_target": False}
        )
        refs.append(
            _ref(200001 + number * 2, number, [-1], [-1], split, ["the green elephant"]) | {"no_target": True}
        )
    return refs


def _ref(
    ref_id: int, number: int, ann_id: object, category_id: object, split: str, raws: list[str]
) -> dict[str, Any]:
    cleaned = ["".join(c for c in raw.lower() if c.isalnum() or c == " ") for raw in raws]
    sent_ids = [ref_id * 10 + place for place in range(len(raws))]
    return {
        "sent_ids": sent_ids,
        # A running number stands behind the image's id: no such file exists.
        "file_name": f"COCO_train2014_{number * 111:012d}_{ref_id}.jpg",
        "ann_id": ann_id,
        "ref_id": ref_id,
        "image_id": number * 111,
        "split": split,
        "sentences": [
            {"tokens": sent.split(), "raw": raw, "sent_id": sent_id, "sent": sent}
            for raw, sent, sent_id in zip(raws, cleaned, sent_ids, strict=True)
        ],
        "category_id": category_id,
    }


def _write_pickle(path: Path, refs: list[dict[str, Any]], protocol: int) -> None:
    path.write_bytes(pickle.dumps(refs, protocol))
