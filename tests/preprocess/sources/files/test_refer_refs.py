"""The refs files of RefCOCO: pickles of strangers, of which none is run, and gRefCOCO's JSON."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniature.refcoco import write_refcoco
from miniature.shapes import picture_of
from refcoco_reading import SIZES, expressions_of, open_source

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.files.refer_refs import load_pickle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refcoco(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_pickle_with_line_ends_of_windows_says_so(root: Path, protocol: int) -> None:
    refs = [{"ref_id": 10, "image_id": 111, "ann_id": 10, "split": "train", "sentences": [{"raw": "a\nb"}]}]
    path = root / "refcoco" / "refs(unc).p"
    path.write_bytes(pickle.dumps(refs, protocol).replace(b"\n", b"\r\n"))
    with pytest.raises(SourceError, match="ends in CR LF, as after a transfer in text mode"):
        open_source(root)


class _Pickled:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_calls_a_function_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps([_Pickled(Path.touch, mark)], protocol)
    with pytest.raises(SourceError, match=r"wants to import|instruction"):
        load_pickle(content, tmp_path / "refs.p")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_with_numpy_scalars_says_how_to_convert_it(protocol: int) -> None:
    with pytest.raises(SourceError, match=r"wants to import 'numpy.*\.item\(\)"):
        load_pickle(pickle.dumps([{"ann_id": np.int64(5)}], protocol), Path("refs.p"))


LONG_TEXT = b"X" + struct.pack("<I", 2**32 - 1)


PICKLES: dict[str, tuple[bytes, str]] = {
    "empty list of opcodes": (b".", "damaged"),
    "memo bomb": (b"\x80\x02]r" + struct.pack("<I", 10**9) + b".", "place 1000000000 of the memo"),
    "text memo bomb": (b"]p1000000000\n.", "place 1000000000 of the memo"),
    "memo place of 10,000 digits": (b"]p" + b"9" * 10_000 + b"\n.", "damaged"),
    "negative memo place": (b"]p-1\n.", "damaged"),
    "text longer than the file": (LONG_TEXT + b"abc.", "breaks off"),
    "frame longer than the file": (b"\x80\x04\x95" + b"\xff" * 8 + b"].", "damaged"),
    "bytearray longer than the file": (b"\x80\x05\x96" + struct.pack("<Q", 2**40), "BYTEARRAY8"),
    "nested tuples": (b")" + b"\x85" * 1_000_000 + b".", "EMPTY_TUPLE"),
    "persistent id": (b"\x80\x02X\x01\x00\x00\x00xQ.", "BINPERSID"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "unknown opcode": (b"\x80\x02\xff.", "0xff"),
    "protocol 200": (b"\x80\xc8].", "damaged"),
    "append to text": (b"\x80\x02X\x01\x00\x00\x00xK\x01a.", "damaged"),
    "list as a key": (b"\x80\x02}]K\x01s.", "damaged"),
    "memo place without a value": (b"\x80\x02h\x07.", "damaged"),
    "no mark": (b"\x80\x02e.", "damaged"),
    "integer of 10,000 digits": (b"L" + b"9" * 10_000 + b"L\n.", "damaged"),
    "no integer": (b"Iabc\n.", "damaged"),
    "a dict": (pickle.dumps({"refs": []}, 2), "holds a dict, expected a list"),
    "text": (pickle.dumps("refs", 0), "holds a str, expected a list"),
    "HTML": (b"<!DOCTYPE html><html></html>", "0x3c"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "instruction"),
}


@pytest.mark.parametrize(("content", "reason"), PICKLES.values(), ids=PICKLES)
def test_hostile_or_damaged_pickle_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        load_pickle(content, Path("refs.p"))
    assert len(str(caught.value)) < 400


def test_shared_lists_are_not_multiplied(tmp_path: Path) -> None:
    sentences = [{"raw": "a"}] * 2000
    refs = [{"ref_id": number, "sentences": sentences} for number in range(2000)]
    with pytest.raises(SourceError, match="share their lists"):
        load_pickle(pickle.dumps(refs, 2), tmp_path / "refs.p")


def test_nested_lists_are_no_danger() -> None:
    content = b"]" * 200_000 + b"a" * 199_999 + b"."
    assert len(load_pickle(content, Path("refs.p"))) == 1


def test_count_of_instructions_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.preprocess.sources.files.refer_refs.MAX_OPCODES", 1000)
    assert len(load_pickle(b"(" + b"}" * 998 + b"l.", Path("refs.p"))) == 998
    with pytest.raises(SourceError, match="over the limit of 1000"):
        load_pickle(b"(" + b"}" * 999 + b"l.", Path("refs.p"))


def test_damage_anywhere_gives_a_list_or_a_source_error(root: Path) -> None:
    rng = np.random.default_rng(7)
    contents = [path.read_bytes() for path in sorted(root.glob("*/refs*.p"))]
    outcomes = set()
    for number in range(3000):
        content = bytearray(contents[number % len(contents)])
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        if number % 3 == 0:
            del content[rng.integers(0, len(content)) :]
        try:
            outcomes.add(type(load_pickle(bytes(content), Path("refs.p"))))
        except SourceError:
            outcomes.add(SourceError)
    assert outcomes == {list, SourceError}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[", b"[{]", b'"refs"', b"[" * 100_000, b"\xff\xfe", b"null", b"[1] [2]"],
)
def test_grefs_that_are_no_json_list_are_refused(root: Path, content: bytes) -> None:
    (root / "grefcoco" / "grefs(unc).json").write_bytes(content)
    with pytest.raises(SourceError, match=r"grefs\(unc\)\.json"):
        open_source(root, "grefcoco")


def python2_pickle(value: object, encoding: str) -> bytes:
    """Pickle as Python 2's protocol 2 does: text is a byte string without an encoding."""
    stream = io.BytesIO()

    def write(value: object) -> None:
        if isinstance(value, dict):
            stream.write(b"}(")
            for key, field in value.items():
                write(key)
                write(field)
            stream.write(b"u")
        elif isinstance(value, list):
            stream.write(b"](")
            for element in value:
                write(element)
            stream.write(b"e")
        elif isinstance(value, str):
            encoded = value.encode(encoding)
            stream.write(b"U" + bytes([len(encoded)]) + encoded)
        else:
            assert isinstance(value, int)
            stream.write(b"J" + struct.pack("<i", value))

    stream.write(b"\x80\x02")
    write(value)
    return stream.getvalue() + b"."


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_of_python_2_is_read_in_both_encodings(root: Path, encoding: str) -> None:
    path = root / "refcoco" / "refs(unc).p"
    path.write_bytes(python2_pickle(pickle.loads(path.read_bytes()), encoding))
    assert expressions_of(open_source(root))["refcoco/111/10"][1] == "le garçon à gauche"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hostile_global", "wants to import 'posix' 'getcwd'"),
        ("hostile_stack_global", "wants to import 'posix' 'getcwd'"),
        ("inst", "wants to import 'os' 'getcwd'"),
        ("truncated", "damaged pickle"),
        ("empty", "is empty"),
        ("not_a_list", "holds a dict, expected a list"),
        ("persid", "BINPERSID"),
    ],
)
def test_real_odd_pickles_are_refused(shared_data: Path, name: str, reason: str) -> None:
    refs = f"../odd/pickles/refs({name}).p"
    with pytest.raises(SourceError, match=reason):
        open_source(shared_data / "refcoco", "refcocog", refs=refs)
