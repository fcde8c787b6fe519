"""SA-1B's tars: read as their folders are, whatever wrote, cut or damaged them."""

import gzip
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from miniature.sa1b import write_sa1b
from records import of_type
from sa1b_reading import add, keys, open_source, pair_of, pictures, read, write_tar

from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.sources.files.tar_members import read_member, scan_tar
from resizeonce.preprocess.sources.records import Frame, Skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_sa1b(tmp_path, pictures())
    return tmp_path


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./", "sa_000000/", "folder/" * 40])
def test_a_tar_gives_what_its_folder_gives(
    root: Path, tmp_path_factory: pytest.TempPathFactory, tar_format: int, prefix: str
) -> None:
    if tar_format == tarfile.USTAR_FORMAT and len(prefix) > 200:
        prefix = "folder/" * 20
    other = tmp_path_factory.mktemp("tars")
    with tarfile.open(other / "sa_000000.tar", "w", format=tar_format) as archive:
        for path in sorted((root / "sa_000000").iterdir()):
            archive.add(path, f"{prefix}{path.name}")
    expected, found = read(open_source(root)), read(open_source(other))
    assert len(found) == len(expected) == 3
    for one, two in zip(expected, found, strict=True):
        assert one.key == two.key
        np.testing.assert_array_equal(one.image, two.image)
        for mask, same in zip(one.masks, two.masks, strict=True):
            assert mask.object_id == same.object_id
            np.testing.assert_array_equal(mask.segmentation.decode(), same.segmentation.decode())
    folder = "" if prefix == "./" else prefix
    assert found[0].path == f"sa_000000.tar/{folder}sa_1.jpg"


def test_the_tar_writer_of_the_miniature_agrees_with_its_folder(tmp_path: Path) -> None:
    for name, tar in (("folder", False), ("tar", True)):
        (tmp_path / name).mkdir()
        write_sa1b(tmp_path / name, pictures(), tar)
    folder, tar_frames = (read(open_source(tmp_path / name)) for name in ("folder", "tar"))
    assert [frame.path for frame in tar_frames] == [f"sa_000000.tar/sa_{n}.jpg" for n in (1, 2, 3)]
    for one, two in zip(folder, tar_frames, strict=True):
        np.testing.assert_array_equal(one.image, two.image)


def test_a_member_that_is_there_twice_is_rejected_the_second_time(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (5, 5))
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_5"]
    assert [reject.path for reject in source.rejects] == ["a.tar/sa_5.jpg", "a.tar/sa_5.json"]


def test_a_pair_of_a_tar_whose_names_are_both_damaged_is_counted_and_named(tmp_path: Path) -> None:
    jpg, json = pair_of(7)
    with tarfile.open(tmp_path / "sa_000000.tar", "w") as archive:
        add(archive, "sa_7.j\x10g", jpg)
        add(archive, "ca_7.j3on", json)
        for name, content in zip(("sa_8.jpg", "sa_8.json"), pair_of(8), strict=True):
            add(archive, name, content)
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_8"]
    assert list(source.skips) == [
        Skip(
            "member of a tar that is called neither sa_<image id>.jpg nor .json, not read, such as "
            "sa_000000.tar/ca_7.j3on",
            2,
        )
    ]


def test_a_member_that_a_damaged_header_calls_a_directory_is_no_directory(tmp_path: Path) -> None:
    jpg, _ = pair_of(7)
    with tarfile.open(tmp_path / "sa_000000.tar", "w") as archive:
        add(archive, "sa_7.jpg", jpg)
    damaged = bytearray((tmp_path / "sa_000000.tar").read_bytes())
    damaged[156:157] = tarfile.DIRTYPE
    damaged[148:156] = b" " * 8
    damaged[148:156] = b"%06o\0 " % sum(damaged[:512])
    (tmp_path / "sa_000000.tar").write_bytes(damaged)
    assert ("sa1b/sa_7.jpg", "sa_000000.tar/sa_7.jpg") in [
        (reject.key, reject.path) for reject in open_source(tmp_path).rejects
    ]


def test_hostile_members_are_never_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "/sa_1.jpg", b"x")
        add(archive, "../sa_2.jpg", b"x")
        add(archive, "in/../../sa_3.json", b"x")
        add(archive, "sa_4.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "sa_5.jpg", type=tarfile.LNKTYPE, linkname="sa_6.jpg")
        add(archive, "sa_7.jpg", type=tarfile.CHRTYPE)
        add(archive, "sa_8.jpg", type=tarfile.FIFOTYPE)
        add(archive, "sa_9.jpg", b"x", pax_headers={"GNU.sparse.major": "1"})
        add(archive, "../evil.sh", b"x")
        add(archive, "sa_10.jpg/", type=tarfile.DIRTYPE)
        for suffix, content in zip(("jpg", "json"), pair_of(6), strict=True):
            add(archive, f"sa_6.{suffix}", content)
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_6"]
    reasons = {Path(reject.key).name: reject.reason for reject in source.rejects}
    assert {name: reason.split(" ", 2)[1] for name, reason in reasons.items()} == {
        "sa_1.jpg": "member's",
        "sa_2.jpg": "member's",
        "sa_3.json": "member's",
        "sa_4.jpg": "link",
        "sa_5.jpg": "link",
        "sa_7.jpg": "special",
        "sa_8.jpg": "special",
        "sa_9.jpg": "sparse",
    }
    assert len(of_type(Frame, read(source))) == 1


def test_members_after_an_old_gnu_sparse_member_are_found(tmp_path: Path) -> None:
    # By hand: type "S", one further block of map (byte 482 of the header says so), then 512 bytes of content.
    member = tarfile.TarInfo("sa_1.jpg")
    member.size = 512
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    write_tar(tmp_path / "rest.tar", (2,))
    content = bytes(header) + bytes(512) + b"x" * 512 + (tmp_path / "rest.tar").read_bytes()
    (tmp_path / "rest.tar").unlink()
    (tmp_path / "a.tar").write_bytes(content)
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_2"]
    assert [(r.key, "sparse" in r.reason) for r in source.rejects] == [("sa1b/sa_1.jpg", True)]


@pytest.mark.parametrize("kept", range(0, 20 * 512, 512 // 2))
def test_a_truncated_tar_gives_what_is_whole_and_one_reject_for_itself(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, (1, 2, 3))
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        ends = {member.name: member.offset_data + member.size for member in archive}
        # An end mark is a block of zeros at least.
        end = archive.offset + 512
    kept = min(kept, end)
    path.write_bytes(whole[:kept])
    complete = [n for n in (1, 2, 3) if max(ends[f"sa_{n}.jpg"], ends[f"sa_{n}.json"]) <= kept]
    source = open_source(tmp_path)
    assert keys(source) == [f"sa1b/sa_{number}" for number in complete]
    assert [reject.path for reject in source.rejects].count("a.tar") == (0 if kept == end else 1)
    assert len(of_type(Frame, read(source))) == len(complete)


def test_a_truncated_tar_never_raises_wherever_it_is_cut(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (1,), "long/" * 30, format=tarfile.PAX_FORMAT)
    whole = (tmp_path / "a.tar").read_bytes()
    for kept in range(0, len(whole), 97):
        (tmp_path / "a.tar").write_bytes(whole[:kept])
        source = open_source(tmp_path) if kept else None
        assert source is None or source.rejects or len(source) == 1


def test_damaged_bytes_anywhere_never_raise(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (1, 2), "long/" * 30, format=tarfile.PAX_FORMAT)
    whole = (tmp_path / "a.tar").read_bytes()
    rng = np.random.default_rng(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "a.tar").write_bytes(damaged)
        records = read(open_source(tmp_path))
        assert records


def test_damage_in_the_middle_is_told_from_the_end(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (1, 2))
    with tarfile.open(tmp_path / "a.tar") as archive:
        second = archive.getmember("sa_2.jpg").offset
    whole = (tmp_path / "a.tar").read_bytes()
    for fill, words in ((b"\xa5", "expected a tar header"), (b"\0", "end mark")):
        (tmp_path / "a.tar").write_bytes(whole[:second] + fill * 512 + whole[second + 512 :])
        source = open_source(tmp_path)
        assert keys(source) == ["sa1b/sa_1"]
        (reject,) = source.rejects
        assert reject.path == "a.tar"
        assert words in reject.reason


def test_a_member_that_claims_more_than_the_file_has_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, (1,))
    member = tarfile.TarInfo("sa_2.jpg")
    member.size = 1 << 50
    end = path.read_bytes().rstrip(b"\0")
    end += bytes(-len(end) % 512)
    path.write_bytes(end + member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_1"]
    (reject,) = source.rejects
    assert "'sa_2.jpg', which should have 1125899906842624 bytes" in reject.reason


def test_an_extended_header_of_absurd_size_is_not_read_into_memory(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE):
        member = tarfile.TarInfo("x")
        member.size = 1 << 40
        member.type = kind
        (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        (reject,) = open_source(tmp_path).rejects
        assert "over the limit of 1048576" in reject.reason


@pytest.mark.parametrize(
    "record", [b"30 size=99999999999999999999\n", b"11 size=-1\n", b"9 size=x\n", b"99 a=b\n", b"xx"]
)
def test_damaged_pax_records_are_a_reject(tmp_path: Path, record: bytes) -> None:
    extended = tarfile.TarInfo("x")
    extended.size = len(record)
    extended.type = tarfile.XHDTYPE
    write_tar(tmp_path / "a.tar", (1,))
    rest = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(extended.tobuf() + record.ljust(512, b"\0") + rest)
    source = open_source(tmp_path)
    assert len(source) == 0
    (reject,) = source.rejects
    assert "pax" in reject.reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"x" * 2000, mtime=0), "compressed (gzip)"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 2000, "compressed (zstd)"),
        (b"<!DOCTYPE html>" + b" " * 2000, "an HTML page"),
        (b"", "empty"),
    ],
)
def test_a_file_that_is_no_tar_is_a_reject_that_says_what_it_is(
    root: Path, content: bytes, words: str
) -> None:
    (root / "sa_000001.tar").write_bytes(content)
    source = open_source(root)
    assert len(source) == 3
    (reject,) = source.rejects
    assert reject.path == "sa_000001.tar"
    assert words in reject.reason


def test_members_over_the_limit_and_of_a_tar_that_shrank_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, (1,))
    image, annotations = scan_tar(path)
    assert (image.name, annotations.name) == ("sa_1.jpg", "sa_1.json")
    assert read_member(path, image.offset, image.size, 1 << 20) == pair_of(1)[0]
    with pytest.raises(RecordError, match="over the limit of 10"):
        read_member(path, image.offset, image.size, 10)
    path.write_bytes(path.read_bytes()[: image.offset + 5])
    with pytest.raises(RecordError, match="changed after it was indexed"):
        read_member(path, image.offset, image.size, 1 << 20)


def test_a_tar_from_another_writer_is_read(tmp_path: Path) -> None:
    # A ustar header written field by field, as in POSIX.1-1988: name, modes, octal size, checksum, magic.
    jpg, content = pair_of(3)
    archive = b""
    for name, part in ((b"sa_3.jpg", jpg), (b"sa_3.json", content)):
        fields = (name, b"0000644", b"0000000", b"0000000", b"%011o" % len(part), b"0" * 11)
        header = struct.pack("100s8s8s8s12s12s8ss100s6s2s", *fields, b" " * 8, b"0", b"", b"ustar\0", b"00")
        header = header.ljust(512, b"\0")
        header = header[:148] + b"%06o\0 " % sum(header) + header[156:]
        archive += header + part + bytes(-len(part) % 512)
    (tmp_path / "a.tar").write_bytes(archive + bytes(1024))
    source = open_source(tmp_path)
    assert not source.rejects
    (frame,) = read(source)
    assert frame.masks[0].segmentation.decode().tolist() == [[True] * 3 + [False] * 3] * 4
