"""Reads samples from raw files by the shortest way there is, to compare a store with: json, pickle, csv, tarfile, numpy,
pycocotools and Pillow as they come. It shares no code with the converter and trusts what it reads, so it is only ever
asked for samples that the converter has accepted.
"""

import csv
import io
import json
import pickle
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

Mask = NDArray[np.bool_]


class NaiveReader:
    """The samples of a raw dataset.

    Args:
        root: its folder.
        source: name of the source.
        refs: the refs file below the root, for the RefCOCO family.
    """

    def __init__(self, root: Path, source: str, refs: str = "") -> None:
        self._root = root
        self._source = source
        self._refs = refs
        self._parse = cache(_parse)

    def images(self, path: str, key: str) -> Iterator[Image.Image]:
        """Yield the picture, and what it may be besides: turned as its EXIF says."""
        if self._source == "npz":
            with np.load(self._root / path) as file:
                name = "image" + (key[-1] if key[-2:] in ("/1", "/2") else "")
                yield Image.fromarray(file[name])
        elif path.endswith(".mp4"):
            yield self._parse("mp4", self._root / path)[int(key.rpartition("/")[2])]
        else:
            with Image.open(io.BytesIO(self._content(path))) as picture:
                if picture.format == "PNG":
                    check_png(self._content(path))
                picture.load()
                yield _rgb(picture)
                yield _rgb(ImageOps.exif_transpose(picture))

    def mask(self, path: str, key: str, object_id: str, time: int) -> Mask:
        """Return the mask of an object in a picture."""
        found: Mask = getattr(self, f"_mask_{self._source}")(path, key, object_id, time)
        return found

    def expressions(self, key: str, object_id: str) -> set[str]:
        """Return all that is said about an object; half a character, which no store can hold, as a question mark."""
        if self._source == "mevis":
            return self._said_in_video(key.split("/")[1], object_id)
        image_id = int(key.split("/")[1])
        targets = [int(number) for number in object_id.partition("#")[0].split("+")]
        return {
            str(sentence["raw"]).encode("utf-8", "replace").decode()
            for ref in self._parse("refs", self._root / self._refs)
            if isinstance(ref, dict) and ref.get("image_id") == image_id
            and ref.get("ann_id") in (targets, targets[0])
            for sentence in ref["sentences"]
            if "raw" in sentence
        }  # fmt: skip

    def listed(self) -> set[str]:
        """Return the keys of the samples that an index file still lists; empty where no file lists samples."""
        if self._source == "coco":
            content = self._parse("json", self._root / "annotations" / "instances_train2017.json")
            return {
                f"coco/{one['image_id']}/{one['id']}" for one in content["annotations"] if not one["iscrowd"]
            }
        if self._source == "refcoco":
            refs = self._parse("refs", self._root / self._refs)
            folder = Path(self._refs).parent.name
            return {
                f"{folder}/{ref['image_id']}/" + "+".join(map(str, _listed(ref["ann_id"])))
                for ref in refs
                if ref["split"] == "train"
            }
        if self._source == "openimages":
            return {f"openimages/{row['ImageID']}/{_object_id(row)}" for row in self._rows()}
        return set()

    def _mask_coco(self, path: str, key: str, object_id: str, time: int) -> Mask:
        return self._annotated("annotations/instances_train2017.json", key, [int(object_id)])

    def _mask_refcoco(self, path: str, key: str, object_id: str, time: int) -> Mask:
        targets = [int(number) for number in object_id.partition("#")[0].split("+")]
        return self._annotated(f"{key.split('/')[0]}/instances.json", key, targets)

    def _annotated(self, instances: str, key: str, targets: list[int]) -> Mask:
        content = self._parse("json", self._root / instances)
        image_id = int(key.split("/")[1])
        image = next(one for one in content["images"] if _is_dict_of(one, "id", image_id))
        union = np.zeros((image["height"], image["width"]), np.bool_)
        for target in targets:
            annotation = next(
                one
                for one in content["annotations"]
                if _is_dict_of(one, "id", target) and one.get("image_id") == image_id
            )
            union |= _decode(annotation["segmentation"], image["height"], image["width"])
        return union

    def _mask_sa1b(self, path: str, key: str, object_id: str, time: int) -> Mask:
        content = _load_json(self._content(path.removesuffix("jpg") + "json"))
        annotation = next(one for one in content["annotations"] if _is_dict_of(one, "id", int(object_id)))
        size = int(content["image"]["height"]), int(content["image"]["width"])
        return _decode(annotation["segmentation"], *size)

    def _mask_sav(self, path: str, key: str, object_id: str, time: int) -> Mask:
        video_id = key.split("/")[1]
        if "-" not in object_id:
            with Image.open(
                self._root / "Annotations_6fps" / video_id / object_id / f"{time:05d}.png"
            ) as picture:
                return np.asarray(picture) != 0
        kind, _, masklet = object_id.partition("-")
        content = self._parse("json", self._root / "sav_000" / f"{video_id}_{kind}.json")
        place = [int(number) for number in content["masklet_id"]].index(int(masklet))
        rle = content["masklet"][time // 4][place]
        return _decode(rle, *(int(side) for side in rle["size"]))

    def _mask_npz(self, path: str, key: str, object_id: str, time: int) -> Mask:
        with np.load(self._root / path) as file:
            masks = file["mask" + (key[-1] if key[-2:] in ("/1", "/2") else "")]
        found: Mask = (masks[None] if masks.ndim == 2 else masks)[int(object_id)] != 0
        return found

    def _mask_openimages(self, path: str, key: str, object_id: str, time: int) -> Mask:
        image_id, split = key.split("/")[1], path.split("/")[0]
        row = next(
            row for row in self._rows(split) if row["ImageID"] == image_id and _object_id(row) == object_id
        )
        folder = self._root / f"{split}-masks"
        # Archives are unpacked side by side, or each into a folder of the first character of its names.
        flat = folder / row["MaskPath"]
        content = (flat if flat.exists() else folder / image_id[0] / row["MaskPath"]).read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            if picture.format == "PNG":
                check_png(content)
            array = np.asarray(picture)
        return array.reshape(*array.shape[:2], -1).any(axis=2)

    def _mask_folders(self, path: str, key: str, object_id: str, time: int) -> Mask:
        return self._labelled(path.replace("images/", "masks/"), object_id)

    def _mask_vos(self, path: str, key: str, object_id: str, time: int) -> Mask:
        return self._labelled(path.replace("JPEGImages/", "Annotations/"), object_id)

    def _mask_mevis(self, path: str, key: str, object_id: str, time: int) -> Mask:
        masks = self._parse("json", self._root / "mask_dict.json")
        union = [masks[member][time] for member in object_id.split("+")]
        found: Mask = np.logical_or.reduce([_decode(rle, *rle["size"]) for rle in union if rle])
        return found

    def _said_in_video(self, video_id: str, object_id: str) -> set[str]:
        video = self._parse("json", self._root / "meta_expressions.json")["videos"][video_id]
        return {
            said["exp"].encode("utf-8", "replace").decode()
            for said in video["expressions"].values()
            if "+".join(map(str, said["anno_id"])) == object_id
        }

    def _labelled(self, path: str, object_id: str) -> Mask:
        content = self._root.joinpath(path).with_suffix(".png").read_bytes()
        check_png(content)
        with Image.open(io.BytesIO(content)) as picture:
            found: Mask = np.asarray(picture) == int(object_id)
        return found

    def _rows(self, split: str = "train") -> list[dict[str, str]]:
        rows: list[dict[str, str]] = self._parse(
            "csv", self._root / f"{split}-annotations-object-segmentation.csv"
        )
        return rows

    def _content(self, path: str) -> bytes:
        if path.startswith("sa_000000.tar/"):
            with tarfile.open(self._root / "sa_000000.tar") as archive:
                wanted = path.partition("/")[2]
                for member in archive:
                    if member.name.removeprefix("./") == wanted and member.isreg():
                        found = archive.extractfile(member)
                        return found.read() if found else b""
            raise FileNotFoundError(path)
        return (self._root / path).read_bytes()


def check_png(content: bytes) -> None:
    """Raise ValueError unless each chunk of pixels has the right checksum; Pillow doesn't look at those."""
    place = 8
    while (name := content[place + 4 : place + 8]) not in (b"IEND", b""):
        stop = place + 8 + int.from_bytes(content[place : place + 4], "big")
        checksum = int.from_bytes(content[stop : stop + 4], "big")
        if name == b"IDAT" and zlib.crc32(content[place + 4 : stop]) != checksum:
            raise ValueError(f"the chunk at byte {place} is damaged")
        place = stop + 4


def _parse(kind: str, path: Path) -> Any:
    content = path.read_bytes()
    if kind == "json" or path.suffix == ".json":
        return _load_json(content)
    if kind == "refs":
        try:
            return _Unpickler(io.BytesIO(content), encoding="utf-8").load()
        except UnicodeDecodeError:
            return _Unpickler(io.BytesIO(content), encoding="latin-1").load()
    if kind == "csv":
        text = content.decode("utf-8-sig", "backslashreplace")
        lines = [
            line for line in io.StringIO(text, newline=None).read().split("\n") if line and "\0" not in line
        ]
        names = [name.strip().strip('"') for name in lines[0].split(",")]
        rows = (next(csv.reader([line])) for line in lines[1:])
        return [dict(zip(names, row, strict=False)) for row in rows if len(row) >= 4]
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"{module}.{name}")


def _load_json(content: bytes) -> Any:
    return json.loads(content.decode("utf-8", "replace"))


def _is_dict_of(value: object, key: str, number: int) -> bool:
    return isinstance(value, dict) and value.get(key) == number


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _object_id(row: dict[str, str]) -> str:
    return f"{row['LabelName'].replace('/', '')}_{row['BoxID']}"


def _decode(segmentation: Any, height: int, width: int) -> Mask:
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        if isinstance(counts, list):
            values = np.arange(len(counts)) % 2 == 1
            return np.repeat(values, [int(run) for run in counts]).reshape(width, height).T
        rle = {"size": [int(side) for side in segmentation["size"]], "counts": counts.encode()}
        return coco_mask.decode(rle).astype(np.bool_)
    union = np.zeros((height, width), np.bool_)
    for part in segmentation:
        # Boxes (4 numbers) and what is no polygon at all are no parts; 6 numbers are the least.
        if isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 and _are_numbers(part):
            union |= coco_mask.decode(coco_mask.frPyObjects([part], height, width))[..., 0].astype(np.bool_)
    return union


def _are_numbers(part: list[Any]) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e6 for x in part)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) // 256).astype(np.uint8)).convert("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return picture.convert("RGB")
