import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.npz import write_npz_pairs, write_npz_single
from miniature.shapes import ellipse_of, picture_of
from PIL import Image

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.npz import NpzSource, Options
from resizeonce.preprocess.sources.records import Frame, Pair, Record, Reject

IMAGE = picture_of(20, 30, 0)
MASK = ellipse_of(20, 30, 0)
SINGLE = Options(paired=False)


def read(root: Path, options: Options = SINGLE, index: int = 0) -> list[Record]:
    return list(NpzSource(root, options)[index].read())


def read_single(root: Path, **arrays: Any) -> Frame:
    np.savez(root / "a.npz", **({"image": IMAGE, "mask": MASK} | arrays))
    (frame,) = read(root)
    assert isinstance(frame, Frame), frame
    return frame


def reject_of(root: Path, options: Options = SINGLE) -> Reject:
    (reject,) = read(root, options)
    assert isinstance(reject, Reject), reject
    assert reject.path == "a.npz"
    return reject


def reason_against(root: Path, **arrays: Any) -> str:
    np.savez(root / "a.npz", **({"image": IMAGE, "mask": MASK} | arrays))
    return reject_of(root).reason


def npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    """Return an npy file whose header may claim anything."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + content


def write_members(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def test_pair_of_frames(tmp_path: Path) -> None:
    pictures = [picture_of(20, 30, seed) for seed in range(4)]
    write_npz_pairs(tmp_path, [(pictures[0], pictures[1]), (pictures[2], pictures[3])])
    source = NpzSource(tmp_path, Options())
    assert (len(source), source.paired, source.dataset_type) == (2, True, "sav")
    earlier, later, *pairs = source[1].read()
    assert isinstance(earlier, Frame)
    assert isinstance(later, Frame)
    assert (earlier.key, earlier.time) == ("npz/clips/00001/1", 0)
    assert (later.key, later.time) == ("npz/clips/00001/2", 1)
    assert earlier.path == later.path == "clips/00001.npz"
    np.testing.assert_array_equal(earlier.image, pictures[2])
    np.testing.assert_array_equal(later.image, pictures[3])
    with np.load(tmp_path / "clips" / "00001.npz") as arrays:
        for frame, name in ((earlier, "mask1"), (later, "mask2")):
            assert [mask.object_id for mask in frame.masks] == ["0", "1"]
            for mask, expected in zip(frame.masks, arrays[name], strict=True):
                np.testing.assert_array_equal(mask.segmentation.decode(), expected == 255)
    assert pairs == [Pair(number, 0, 1, ("npz/clips/00001/1", "npz/clips/00001/2")) for number in ("0", "1")]


def test_single_images_with_a_phrase_for_each_object(tmp_path: Path) -> None:
    write_npz_single(tmp_path, [picture_of(20, 30, seed) for seed in range(3)])
    source = NpzSource(tmp_path, Options(paired=False, dataset_type="refcoco"))
    assert (len(source), source.paired, source.dataset_type) == (3, False, "refcoco")
    (frame,) = source[2].read()
    assert isinstance(frame, Frame)
    assert (frame.key, frame.time) == ("npz/stills/00002", 0)
    phrases = [mask.expressions for mask in frame.masks]
    assert phrases == [("the wide shape of 2",), ("the other one",)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", ">u2", "int8", "float32", "float64"])
def test_masks_of_0_and_1_of_any_type(tmp_path: Path, dtype: str) -> None:
    frame = read_single(tmp_path, mask=MASK.astype(dtype))
    np.testing.assert_array_equal(frame.masks[0].segmentation.decode(), MASK)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
def test_masks_of_0_and_255(tmp_path: Path, dtype: str) -> None:
    frame = read_single(tmp_path, mask=(MASK * 255).astype(dtype))
    np.testing.assert_array_equal(frame.masks[0].segmentation.decode(), MASK)


def test_one_object_and_a_stack_of_one_are_the_same(tmp_path: Path) -> None:
    flat = read_single(tmp_path, mask=MASK)
    stacked = read_single(tmp_path, mask=MASK[None])
    assert [mask.object_id for mask in stacked.masks] == ["0"]
    np.testing.assert_array_equal(flat.masks[0].segmentation.decode(), MASK)
    np.testing.assert_array_equal(stacked.masks[0].segmentation.decode(), MASK)


def test_fortran_order_is_undone(tmp_path: Path) -> None:
    frame = read_single(tmp_path, image=np.asfortranarray(IMAGE), mask=np.asfortranarray(MASK))
    np.testing.assert_array_equal(frame.image, IMAGE)
    np.testing.assert_array_equal(frame.masks[0].segmentation.decode(), MASK)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ((IMAGE / np.float32(255) - 0.45) / np.float32(0.225), "looks ImageNet-normalised"),
        (IMAGE / np.float32(255), "looks scaled to 0..1"),
        (IMAGE / np.float32(127.5) - 1, "looks scaled to -1..1"),
        (IMAGE.astype(np.float32), "float32 [20, 30, 3] with values"),
        (np.full((20, 30, 3), np.nan), "float64 [20, 30, 3] with values nan..nan"),
        (IMAGE.astype(np.int64), "int64"),
        (IMAGE.transpose(2, 0, 1), "uint8 [3, 20, 30]: channels first"),
        (IMAGE[..., 0], "uint8 [20, 30]: grey"),
        (np.dstack([IMAGE, IMAGE[..., :1]]), "uint8 [20, 30, 4]: RGBA"),
        (IMAGE[:0], "expected between 1 and"),
        (np.array("no"), "<U2"),
    ],
)
def test_image_that_is_no_original_is_called_what_it_looks_like(
    tmp_path: Path, image: Any, words: str
) -> None:
    assert words in reason_against(tmp_path, image=image)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (MASK * 7, "split label maps"),
        (MASK * -1, "expected only 0 and 1"),
        (MASK * 0.37, "threshold soft masks"),
        (np.where(MASK, np.nan, 0.0), "nan"),
        (np.where(MASK, 255, 1), "expected only 0 and 1"),
        (MASK.T, "expected [20, 30]"),
        (MASK[..., None], "objects last"),
        (MASK[None, None], "expected [20, 30]"),
        (np.zeros((0, 20, 30), bool), "no object"),
        (MASK.astype(complex), "expected bool, integers or floats"),
        (MASK.astype(str), "expected bool, integers or floats"),
    ],
)
def test_mask_that_is_no_mask_of_its_image(tmp_path: Path, mask: Any, words: str) -> None:
    assert words in reason_against(tmp_path, mask=mask)


@pytest.mark.parametrize(
    ("num_objects", "expressions", "expected"),
    [
        (1, "one phrase", [("one phrase",)]),
        (1, ["a", "b", "\u96e8\u5098"], [("a", "b", "\u96e8\u5098")]),
        (2, ["a", " "], [("a",), ()]),
        (2, [["a", "b"], ["c", ""]], [("a", "b"), ("c",)]),
    ],
)
def test_expressions(
    tmp_path: Path, num_objects: int, expressions: Any, expected: list[tuple[str, ...]]
) -> None:
    masks = np.stack([MASK] * num_objects)
    frame = read_single(tmp_path, mask=masks, expressions=np.array(expressions))
    assert [mask.expressions for mask in frame.masks] == expected


@pytest.mark.parametrize(
    ("expressions", "words"),
    [
        (np.array(["a", "b", "c"]), "expected [2] or [2, N]"),
        (np.array("a"), "expected [2] or [2, N]"),
        (np.array([b"a", b"b"]), "expected unicode strings"),
        (np.array([0xFFFFFFFF, 1], np.uint32).view("<U1"), "0xffffffff for a character"),
    ],
)
def test_expressions_that_fit_no_object(tmp_path: Path, expressions: Any, words: str) -> None:
    assert words in reason_against(tmp_path, mask=np.stack([MASK, MASK]), expressions=expressions)


@pytest.mark.parametrize("number", [0x110000, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_number_beyond_unicode_is_no_character(tmp_path: Path, number: int, order: str) -> None:
    expressions = np.array(["a cat", "a dog"], f"{order}U5")
    expressions.view(f"{order}u4")[7] = number
    reason = reason_against(tmp_path, expressions=expressions)
    assert f"expressions holds the number {number:#x} for a character, and Unicode ends at 0x10ffff" in reason


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_last_character_of_unicode_is_one(tmp_path: Path, order: str) -> None:
    frame = read_single(tmp_path, expressions=np.array(["a \U0010ffff"], f"{order}U9"))
    assert frame.masks[0].expressions == ("a \U0010ffff",)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        # 65,537 masks of one pixel, and 1,048,577 phrases: some kilobytes, packed.
        (
            {"image": np.zeros((1, 1, 3), np.uint8), "mask": np.ones((65_537, 1, 1), bool)},
            "65537 objects, over the limit of 65536",
        ),
        ({"expressions": np.zeros(1_048_577, "U1")}, "1048577 phrases, over the limit of 1048576"),
    ],
)
def test_more_objects_and_phrases_than_anybody_has_are_refused_before_they_take_memory(
    tmp_path: Path, arrays: dict[str, Any], words: str
) -> None:
    assert words in reason_against(tmp_path, **arrays)


def test_pair_with_different_objects_is_rejected(tmp_path: Path) -> None:
    masks = {"mask1": np.stack([MASK, MASK]), "mask2": MASK}
    np.savez(tmp_path / "a.npz", image1=IMAGE, image2=IMAGE, **masks)
    assert "mask1 has 2 objects and mask2 has 1" in reject_of(tmp_path, Options()).reason


def test_each_frame_of_a_pair_is_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image1=IMAGE, image2=IMAGE / 255, mask1=MASK, mask2=MASK)
    assert reject_of(tmp_path, Options()).reason.startswith("image2 is float64")


def test_missing_array_names_what_is_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=MASK)
    reason = reject_of(tmp_path, Options()).reason
    assert reason == "no array 'image1'; the file holds image, mask"


def test_of_an_array_that_is_there_twice_none_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=MASK)
    stream = io.BytesIO()
    np.save(stream, ~MASK)
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "a") as file,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        file.writestr("mask.npy", stream.getvalue())
    assert reject_of(tmp_path).reason == "the file holds 2 arrays 'mask': which is meant is not known"


def test_names_of_members_can_be_chosen(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rgb=IMAGE, target=MASK, text="it")
    (frame,) = read(tmp_path, Options(paired=False, image="rgb", mask="target", expressions="text"))
    assert isinstance(frame, Frame)
    assert frame.masks[0].expressions == ("it",)


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_pickles_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", image=np.array([Trap()], object), mask=MASK, allow_pickle=True)
    assert "pickles are never read" in reject_of(tmp_path).reason
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Trap()))
    assert "no readable npz" in reject_of(tmp_path).reason
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999, 3)}"), "the limit of"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9999, 9999, 3)}"), "but the zip holds 0"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 20, 3)}"), "claims uint8 [-1, 20, 3]"),
        (npy("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}"), "not plain numbers"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nmkdir\n"), "pickles"),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1," * 5000 + ")}"), "damaged"),
        (npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"), "damaged"),
        (npy("(" * 900), "damaged"),
        (npy("{}", version=3), "npy version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "damaged"),
        (b"", "damaged"),
    ],
)  # fmt: skip
def test_npy_header_is_not_believed(tmp_path: Path, member: bytes, words: str) -> None:
    write_members(tmp_path / "a.npz", image=member, mask=b"")
    assert words in reject_of(tmp_path).reason


def bomb(path: Path, claimed_bytes: int | None) -> None:
    """Write 50 MB of zeros, deflated to 50 kB, as an image of 20 x 30; the zip's index may lie about the size."""
    header = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (20, 30, 3)}")
    write_members(path, image=header + bytes(50_000_000), mask=b"")
    if claimed_bytes is not None:
        content = path.read_bytes()
        place = content.index(b"PK\x01\x02") + 24
        claim = struct.pack("<I", len(header) + claimed_bytes)
        path.write_bytes(content[:place] + claim + content[place + 4 :])


@pytest.mark.parametrize("claimed_bytes", [None, 1800])
def test_zip_bomb_is_not_unpacked(tmp_path: Path, claimed_bytes: int | None) -> None:
    bomb(tmp_path / "a.npz", claimed_bytes)
    scene = NpzSource(tmp_path, SINGLE)[0]
    tracemalloc.start()
    try:
        (record,) = scene.read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(record, Reject)
    assert peak < 8_000_000


def test_member_shorter_than_claimed_takes_no_memory(tmp_path: Path) -> None:
    header = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9000, 9000, 3)}")
    write_members(tmp_path / "a.npz", image=header, mask=b"")
    content = (tmp_path / "a.npz").read_bytes()
    place = content.index(b"PK\x01\x02") + 24
    claim = struct.pack("<I", len(header) + 9000 * 9000 * 3)
    (tmp_path / "a.npz").write_bytes(content[:place] + claim + content[place + 4 :])
    tracemalloc.start()
    try:
        reason = reject_of(tmp_path).reason
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "image" in reason
    assert peak < 8_000_000


def test_huge_zip_index_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for number in range(20_000):
            file.writestr(f"{number:030d}", b"")
    assert "the zip's index is over the limit" in reject_of(tmp_path).reason


def test_other_compression_is_rejected(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, IMAGE)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("image.npy", buffer.getvalue())
    assert "another method than deflate" in reject_of(tmp_path).reason


def test_flipped_byte_is_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=MASK)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(IMAGE.tobytes()) + 700] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert reject_of(tmp_path).reason.startswith("image is damaged: Bad CRC-32")


def test_truncated_and_empty_files_are_rejected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=MASK)
    content = (tmp_path / "a.npz").read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "a.npz").write_bytes(content[:length])
        assert reject_of(tmp_path).reason.startswith("no readable npz")


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b/1.npz", "a.npz", "b/0/2.npz", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    source = NpzSource(tmp_path, SINGLE)
    keys = [source[index].key for index in range(len(source))]
    assert keys == ["npz/a", "npz/b/0/2", "npz/b/1"]


def test_links_are_reported_and_not_followed(tmp_path: Path) -> None:
    write_npz_single(tmp_path / "outside", [IMAGE])
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.npz").symlink_to(tmp_path / "outside" / "stills" / "00000.npz")
    source = NpzSource(root, SINGLE)
    assert [reject.path for reject in source.rejects] == ["folder"]
    (reject,) = source[0].read()
    assert isinstance(reject, Reject)
    assert "leads out of" in reject.reason


def test_file_that_links_to_itself_is_rejected_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to("a.npz")
    assert "Symlink loop" in reject_of(tmp_path).reason or "symbolic links" in reject_of(tmp_path).reason


@pytest.mark.parametrize("name", [b"\xff.npz", b"\xfe"])
def test_name_that_is_no_utf8_is_rejected_and_the_rest_goes_on(tmp_path: Path, name: bytes) -> None:
    np.savez(tmp_path / "a.npz", image=IMAGE, mask=MASK)
    odd = tmp_path / os.fsdecode(name)
    if odd.suffix:
        odd.touch()
    else:
        odd.mkdir()
    source = NpzSource(tmp_path, SINGLE)
    (reject,) = source.rejects
    assert "no UTF-8" in reject.reason
    assert reject.path.encode()
    assert len(source) == 1


def test_empty_folder_can_not_be_opened(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SourceError, match="--root"):
            NpzSource(root, Options())


def test_fingerprint_tells_added_and_changed_files(tmp_path: Path) -> None:
    write_npz_single(tmp_path, [IMAGE])
    first = NpzSource(tmp_path, SINGLE).fingerprint()
    assert first == NpzSource(tmp_path, SINGLE).fingerprint()
    write_npz_single(tmp_path, [IMAGE, IMAGE])
    second = NpzSource(tmp_path, SINGLE).fingerprint()
    write_npz_single(tmp_path, [IMAGE, IMAGE[:, :20]])
    assert len({str(found) for found in (first, second, NpzSource(tmp_path, SINGLE).fingerprint())}) == 3


def test_scene_survives_pickling(tmp_path: Path) -> None:
    write_npz_single(tmp_path, [IMAGE])
    scene = NpzSource(tmp_path, SINGLE)[0]
    assert len(pickle.dumps(scene)) < 1000
    (frame,) = pickle.loads(pickle.dumps(scene)).read()
    np.testing.assert_array_equal(frame.image, IMAGE)


def test_real_pair_from_sav_frames(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "sav" / "sav_val"
    arrays = {}
    for suffix, name in (("1", "00004"), ("2", "00012")):
        with Image.open(root / "JPEGImages_24fps" / "sav_091001" / f"{name}.jpg") as picture:
            arrays[f"image{suffix}"] = np.asarray(picture)
        with Image.open(root / "Annotations_6fps" / "sav_091001" / "000" / f"{name}.png") as mask:
            arrays[f"mask{suffix}"] = np.asarray(mask)
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    earlier, later, pair = read(tmp_path, Options())
    assert isinstance(earlier, Frame)
    assert isinstance(later, Frame)
    assert pair == Pair("0", 0, 1, ("npz/a/1", "npz/a/2"))
    for frame, suffix in ((earlier, "1"), (later, "2")):
        np.testing.assert_array_equal(frame.image, arrays[f"image{suffix}"])
        mask = frame.masks[0].segmentation
        assert mask.area == np.count_nonzero(arrays[f"mask{suffix}"]) > 0
