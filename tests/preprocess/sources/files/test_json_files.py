"""JSON as many tools write it: NaN and Infinity, which it does not have, matter only in a field that is read."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature.coco import write_coco
from miniature.refcoco import write_refcoco
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from stores import CONFIGS

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.run.convert import open_source
from resizeonce.preprocess.sources.files.json_files import decode_json
from resizeonce.preprocess.sources.records import Frame, Reject

NAN, INFINITY = float("nan"), float("inf")


def picture() -> Any:
    return picture_of(40, 60, 1)


def read(config: str, root: Path) -> tuple[list[str], list[str]]:
    """Return the keys of all masks and the reasons of all rejects."""
    source = open_source(load_config(CONFIGS / f"{config}.toml", []), root)
    records = [record for number in range(len(source)) for record in source[number].read()]
    masks = [
        f"{frame.key}/{mask.object_id}"
        for frame in records
        if isinstance(frame, Frame)
        for mask in frame.masks
    ]
    rejects = [*source.rejects, *(record for record in records if isinstance(record, Reject))]
    return masks, [reject.reason for reject in rejects]


def test_nan_in_a_field_that_nobody_reads_does_no_harm(tmp_path: Path) -> None:
    def spoil(path: Path) -> None:
        content = json.loads(path.read_text())
        records = content if isinstance(content, list) else content.get("annotations", [content])
        for record in records:
            record |= {"score": NAN, "attributes": {"a": [-INFINITY, "NaN, Infinity", INFINITY]}}
        path.write_text(json.dumps(content))

    write_coco(tmp_path / "coco", [picture()])
    write_sa1b(tmp_path / "sa1b", [picture()])
    write_refcoco(tmp_path / "grefcoco", [picture()])
    write_sav_train(tmp_path / "sav", [("sav_000001", [picture()] * 3)])
    for config, name in (
        ("coco", "annotations/instances_train2017.json"),
        ("sa1b", "sa_000000/sa_1.json"),
        ("grefcoco", "grefcoco/grefs(unc).json"),
        ("grefcoco", "grefcoco/instances.json"),
        ("sav", "sav_000/sav_000001_manual.json"),
    ):
        before = read(config, tmp_path / config)
        assert before[0]
        assert before[1] == []
        spoil(tmp_path / config / name)
        assert "NaN" in (tmp_path / config / name).read_text()
        assert read(config, tmp_path / config) == before, name


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image_id", NAN, "NaN or Infinity stands in it"),
        ("category_id", NAN, "NaN or Infinity stands in it"),
        ("iscrowd", -INFINITY, "NaN or Infinity stands in it"),
        ("segmentation", NAN, "expected a dict with size and counts"),
        ("segmentation", [[1, 1, NAN, 1, 9, 9]], "none of them NaN, Infinity"),
        ("segmentation", {"size": [40, 60], "counts": [INFINITY, 3]}, "counts must be whole numbers"),
    ],
)
def test_nan_in_a_field_that_is_read_is_a_reject(tmp_path: Path, field: str, value: Any, words: str) -> None:
    write_coco(tmp_path, [picture()])
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0][field] = value
    path.write_text(json.dumps(content))
    masks, [reason] = read("coco", tmp_path)
    assert masks == ["coco/1/11"]
    assert words in reason


@pytest.mark.parametrize("field", ["raw", "split", "sentences", "ref_id"])
def test_nan_never_becomes_a_word(tmp_path: Path, field: str) -> None:
    write_refcoco(tmp_path, [picture()])
    path = tmp_path / "grefcoco" / "grefs(unc).json"
    content = json.loads(path.read_text())
    (content[0]["sentences"][0] if field == "raw" else content[0])[field] = NAN
    path.write_text(json.dumps(content))
    masks, [reason] = read("grefcoco", tmp_path)
    assert "grefcoco/111/10" not in masks
    assert "NaN or Infinity stands in it" in reason


# Python's own reader takes NaN and Infinity: what it reads is what was meant.
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_all_but_nan_comes_out_as_it_was_written(value: Any) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, float) and (value != value or abs(value) == INFINITY):
            return {}
        if isinstance(value, list):
            return [without(inner) for inner in value]
        return {name: without(inner) for name, inner in value.items()} if isinstance(value, dict) else value

    for is_ascii in (True, False):
        encoded = json.dumps(value, ensure_ascii=is_ascii).encode()
        assert decode_json(encoded, msgspec.json.decode) == without(value)


@pytest.mark.parametrize(
    "content", [b"{", b'{"a": nan}', b'{"a": "NaN}', b"[NaN", b"\xff", b'["' + 200_000 * b'\\"']
)
def test_what_is_no_json_stays_none(content: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_json(content, msgspec.json.decode)


def test_a_compressed_file_is_named() -> None:
    with pytest.raises(RecordError, match=r"compressed \(gzip\): decompress it"):
        decode_json(gzip.compress(b"{}"), msgspec.json.decode)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a\ud83d", "a?"),
        (r"\ude00b", "?b"),
        (r"\ud83d\ude00 \ud83d x", "\U0001f600 ? x"),
        (r"\ud83d\ud83d\ude00", "?\U0001f600"),
        (r"\\ud83d \udc00", "\\ud83d ?"),
        (r"\"\ud800\"", '"?"'),
    ],
)
def test_half_a_character_becomes_a_question_mark(text: str, expected: str) -> None:
    content = f'{{"a": "{text}", "b": [NaN, 1]}}'.encode()
    assert decode_json(content, msgspec.json.decode) == {"a": expected, "b": [{}, 1]}
    assert decode_json(f'["{text}"]'.encode(), msgspec.json.decode) == [expected]


def test_half_a_character_in_a_field_that_nobody_reads_costs_no_sample(tmp_path: Path) -> None:
    write_coco(tmp_path, [picture()])
    before = read("coco", tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["info"] = {"description": "cut within \ud83d"}
    path.write_text(json.dumps(content))
    assert read("coco", tmp_path) == before
    assert before[0]
