"""Index files as large as those of the published datasets, for benchmarks/index.py: the same bytes at every run.

Fields, their order and their lengths are those of the real files. Images are not made: opening a dataset reads none.
"""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

COCO_IMAGES, COCO_ANNOTATIONS = 118_287, 860_001
"""Of instances_train2017.json, 448 MB."""
REFCOCO_IMAGES, REFCOCO_ANNOTATIONS, REFS, SENTENCES = 19_994, 196_771, 50_000, 142_210
"""Of RefCOCO's instances.json and refs(unc).p."""
OPENIMAGES_ROWS, OPENIMAGES_IMAGES = 2_700_000, 944_037
"""Of train-annotations-object-segmentation.csv."""
SA1B_PAIRS = 100_000

SIZE = (480, 640)
_DISTINCT = 4096
"""Different outlines, clicks and sentences; the others repeat them, under ids of their own."""


def write_coco(root: Path) -> None:
    """Write instances JSON like train2017's."""
    _write_instances(root / "annotations/instances_train2017.json", COCO_IMAGES, COCO_ANNOTATIONS)


def write_refcoco(root: Path) -> None:
    """Write RefCOCO's two index files; every fourth annotation has a ref, with two or three sentences."""
    _write_instances(root / "refcoco/instances.json", REFCOCO_IMAGES, REFCOCO_ANNOTATIONS)
    words = ["man", "woman", "dog", "on", "left", "in", "red", "blue", "shirt", "umbrella", "second", "from"]
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(words, rng.integers(2, 7))) for _ in range(_DISTINCT)]
    image_ids = _image_ids(REFCOCO_IMAGES)
    splits = ("train",) * 17 + ("val", "testA", "testB")
    refs: list[dict[str, Any]] = []
    for number in range(REFS):
        image_id = int(image_ids[3 * number % REFCOCO_IMAGES])
        ids = list(range(SENTENCES * number // REFS, SENTENCES * (number + 1) // REFS))
        said = [(one, texts[one % _DISTINCT]) for one in ids]
        ref = {"sent_ids": ids, "file_name": f"COCO_train2014_{image_id:012}_{number}.jpg"}
        ref |= {"ann_id": _annotation_id(3 * number), "ref_id": number, "image_id": image_id}
        ref["split"] = splits[number % len(splits)]
        ref["sentences"] = [
            {"tokens": text.split(), "raw": text, "sent_id": one, "sent": text} for one, text in said
        ]
        refs.append(ref | {"category_id": 1 + number % 90})
    (root / "refcoco/refs(unc).p").write_bytes(pickle.dumps(refs, protocol=0))


def write_openimages(root: Path) -> None:
    """Write the segmentation CSV of train and the class names."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(2)
    labels = [f"m0{number:05x}" for number in rng.integers(0, 1 << 20, 350)]
    clicks = [_clicks(rng) for _ in range(_DISTINCT)]
    image_ids = rng.integers(0, 1 << 62, OPENIMAGES_IMAGES)
    images = rng.integers(0, OPENIMAGES_IMAGES, OPENIMAGES_ROWS)
    images[:OPENIMAGES_IMAGES] = np.arange(OPENIMAGES_IMAGES)
    boxes = rng.integers(0, 1 << 32, OPENIMAGES_ROWS)
    header = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    with (root / "train-annotations-object-segmentation.csv").open("w") as file:
        file.write(header)
        for number, (image, box) in enumerate(zip(images, boxes, strict=True)):
            label = labels[number % len(labels)]
            name = f"{image_ids[image]:016x}"
            file.write(
                f"{name}_{label}_{box:08x}.png,{name},/m/{label[1:]},{box:08x},"
                f"0.299375,0.629375,0.020833,0.983333,0.86864,{clicks[number % _DISTINCT]}\n"
            )
    names = (f"/m/{label[1:]},Class {number}\n" for number, label in enumerate(labels))
    (root / "class-descriptions-boxable.csv").write_text("".join(names))


def write_sa1b_folder(root: Path) -> None:
    """Write empty files in folders as the extracted tars are."""
    for number in range(1, SA1B_PAIRS + 1):
        folder = root / f"sa_{(number - 1) // 11_186:06}"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("jpg", "json"):
            (folder / f"sa_{number}.{suffix}").touch()


def write_sa1b_tar(root: Path) -> None:
    """Write as many members into one tar file, each of one block."""
    root.mkdir(parents=True)
    with tarfile.open(root / "sa_000000.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(1, SA1B_PAIRS + 1):
            for suffix in ("jpg", "json"):
                info = tarfile.TarInfo(f"sa_{number}.{suffix}")
                info.size = 2
                tar.addfile(info, io.BytesIO(b"{}"))


def _write_instances(path: Path, num_images: int, num_annotations: int) -> None:
    """Write an instances JSON, element by element; one annotation in a hundred is a crowd with run lengths."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    image_ids = _image_ids(num_images)
    outlines = [json.dumps([_outline(rng)]) for _ in range(_DISTINCT)]
    crowds = [json.dumps({"counts": _runs(rng), "size": list(SIZE)}) for _ in range(64)]
    with path.open("w") as file:
        file.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
        file.write(", ".join(_image_entry(int(image_id)) for image_id in image_ids))
        file.write('], "annotations": [')
        for number in range(num_annotations):
            crowd = number % 100 == 99
            shapes = crowds if crowd else outlines
            file.write(
                f'{", " if number else ""}{{"segmentation": {shapes[number % len(shapes)]}, '
                f'"area": 2765.1486500000005, "iscrowd": {int(crowd)}, '
                f'"image_id": {image_ids[number % num_images]}, "bbox": [199.84, 200.46, 77.71, 70.88], '
                f'"category_id": {1 + number % 90}, "id": {_annotation_id(number)}}}'
            )
        categories = [{"supercategory": "thing", "id": one, "name": f"class {one}"} for one in range(1, 91)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def _image_entry(image_id: int) -> str:
    name = f"{image_id:012}.jpg"
    entry: dict[str, Any] = {"license": 3, "file_name": name}
    entry |= {"coco_url": f"http://images.cocodataset.org/train2017/{name}", "height": SIZE[0]}
    entry |= {"width": SIZE[1], "date_captured": "2013-11-14 11:18:45"}
    flickr = f"http://farm9.staticflickr.com/8186/{image_id:010}_9dffd562fa_z.jpg"
    return json.dumps(entry | {"flickr_url": flickr, "id": image_id})


def _image_ids(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(3).permutation(581_929)[:count] + 1


def _annotation_id(number: int) -> int:
    """Return an id as COCO numbers them: those of crowds exceed 32 bits."""
    return 900_100_000_000 + number if number % 100 == 99 else 1 + number


def _outline(rng: np.random.Generator) -> list[float]:
    count = max(4, int(rng.lognormal(np.log(17), 0.6)))
    corners = rng.uniform(0, 1, (count, 2)) * SIZE[::-1]
    return [float(value) for value in corners.round(2).ravel()]


def _runs(rng: np.random.Generator) -> list[int]:
    ends = np.sort(rng.choice(SIZE[0] * SIZE[1], 300, replace=False))
    return [int(run) for run in np.diff(ends, prepend=0, append=SIZE[0] * SIZE[1])]


def _clicks(rng: np.random.Generator) -> str:
    shares = rng.uniform(0, 1, (rng.integers(1, 8), 2))
    return ";".join(f"{x:.6f} {y:.6f} {number % 2}" for number, (x, y) in enumerate(shares))
