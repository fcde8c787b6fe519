"""Servers that lie: what is read of them is what is on the disk, or an error that says what is wrong, and soon."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem
from fuzz_servers import Fuzz, hurried, lies_about
from grids import slow
from lying_server import Liar, lying
from stores import TINY, coco_store

from resizeonce.loader import CacheOptions, SampleIndex, Store, Subset
from resizeonce.loader.format import metadata
from resizeonce.loader.format.errors import ConnectionLostError, SourceError, StoreError
from resizeonce.loader.remote import pace
from resizeonce.loader.remote.http import Head
from resizeonce.loader.remote.index_page import parse_index
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.remote import path as remote_path
from resizeonce.preprocess.remote.folder import RemoteFolder
from resizeonce.preprocess.remote.path import open_root
from resizeonce.preprocess.sources.files.folder_tree import scan_folder
from resizeonce.preprocess.sources.files.raw_files import read_file

PIXELS = "part-00000/images/g_pixel_values/c/0/0/0/0"


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """A store and raw datasets."""
    return Fuzz(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture
def liar(fuzz: Fuzz) -> Iterator[Liar]:
    """The server of them."""
    with hurried(), lying(fuzz.folder) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Liar]:
    """A server of this test's folder."""
    with hurried(), lying(tmp_path) as server:
        yield server


@pytest.mark.parametrize("root", ["store", slow("npz"), "sa1b", slow("coco")])
def test_a_lie_about_one_file_gives_what_is_on_the_disk_or_is_found(
    fuzz: Fuzz, liar: Liar, root: str
) -> None:
    chance = random.Random(5)
    # Those send hundreds of megabytes before a limit is met, or are told about a store below.
    below = (
        "endless_",
        *(("packed", "says_packed", "drips", "is_silent", "redirect_") if root == "store" else ()),
    )
    for lie in [lie for lie in lies_about(root) if not lie.startswith(below)]:
        path = chance.choice(fuzz.about(root))
        assert fuzz.read(liar, root, lie, path) in ("right", "refused", "rejected"), (lie, path)


def opened(liar: Liar, cache: Path) -> Store:
    return Store(f"{liar.url}/made/coco.zarr", cache=CacheOptions(folder=cache))


@pytest.mark.parametrize("lie", ["endless_chunks", "endless_body"])
def test_a_root_without_end_is_read_up_to_its_limit(liar: Liar, lie: str, tmp_path: Path) -> None:
    liar.tell(lie, "/made/coco.zarr/zarr.json")
    with pytest.raises(StoreError, match=r"more than 33,554,432 bytes, the limit of a store's zarr\.json"):
        opened(liar, tmp_path)
    assert liar.sent < 3 * (metadata.MAX_ROOT_BYTES + (16 << 20))


def test_the_metadata_of_a_part_has_a_limit_of_its_own(liar: Liar, tmp_path: Path) -> None:
    liar.tell("endless_chunks", "/part-00000/zarr.json")
    with pytest.raises(StoreError, match=r"more than 4,194,304 bytes, the limit of a part's zarr\.json"):
        opened(liar, tmp_path).part(0)
    assert liar.sent < 3 * (metadata.MAX_METADATA_BYTES + (16 << 20))


@pytest.mark.parametrize("lie", ["endless_chunks", "endless_body", "longer_than_it_is"])
def test_a_row_file_is_read_up_to_the_size_that_is_listed_and_nothing_of_it_stays(
    fuzz: Fuzz, liar: Liar, lie: str, tmp_path: Path
) -> None:
    liar.tell(lie, f"/{PIXELS}")
    size = (fuzz.store / PIXELS).stat().st_size
    with pytest.raises(
        StoreError, match=f"it has {size + 1} bytes, expected {size}, and was read no further"
    ):
        opened(liar, tmp_path).part(0)
    assert liar.sent < 3 * (16 << 20)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) == 0


def test_a_column_that_a_filter_reads_ends_at_its_listed_size(liar: Liar, tmp_path: Path) -> None:
    liar.tell("endless_body", "/images/key_bytes/c/0")
    with pytest.raises(StoreError, match="and was read no further"):
        SampleIndex(opened(liar, tmp_path), Subset(key_range=(0.0, 0.9)))
    assert liar.sent < 3 * (16 << 20)


@pytest.mark.parametrize("lie", ["packed_bomb", "packed", "says_packed"])
def test_what_comes_packed_is_refused_unread(liar: Liar, lie: str, tmp_path: Path) -> None:
    for about in ("coco.zarr/zarr.json", "/part-00000/zarr.json", PIXELS):
        liar.tell(lie, about)
        with pytest.raises(StoreError, match=r"comes packed \(Content-Encoding: (gzip|br)\)"):
            opened(liar, tmp_path).part(0)
    liar.tell(lie, "/coco/")
    with pytest.raises(SourceError, match="comes packed"):
        read_file(open_root(f"{liar.url}/coco") / "annotations/instances_train2017.json")


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("range_from_byte_0", "bytes 100-299 were asked for, and the answer is of 'bytes 0-199/1000'"),
        ("range_without_a_name", "the answer is of a part that it does not name"),
        ("range_cut_short", "the answer is of 'bytes 100-298/1000'"),
        ("no_such_range", "the server has no bytes from 100 on, and says that the file has 1000"),
    ],
)
def test_a_part_that_was_not_asked_for_is_a_connection_at_fault(
    folder: Liar, lie: str, found: str, tmp_path: Path
) -> None:
    (tmp_path / "x.tar").write_bytes(random.Random(0).randbytes(1000))
    folder.tell(lie, "x.tar")
    with pytest.raises(ConnectionLostError) as error:
        (open_root(folder.url) / "x.tar").read_range(100, 200)
    assert found in str(error.value)
    assert folder.requests == ["GET /x.tar"] * 4


def test_a_range_may_end_where_the_file_does(folder: Liar, tmp_path: Path) -> None:
    content = random.Random(0).randbytes(1000)
    (tmp_path / "x.tar").write_bytes(content)
    assert (open_root(folder.url) / "x.tar").read_range(900, 200) == content[900:]


def test_a_file_that_is_of_another_size_by_its_ranges_is_a_connection_at_fault(
    folder: Liar, tmp_path: Path
) -> None:
    (tmp_path / "x.tar").write_bytes(bytes(1000))
    folder.tell("head_is_short", "x.tar")
    with pytest.raises(ConnectionLostError, match=r"has 1000 bytes by an answer .* and had 993 before"):
        (open_root(folder.url) / "x.tar").open_ranges().read(10)


@pytest.mark.parametrize("lie", ["drips", "is_silent", "drips_headers"])
def test_a_server_below_the_least_rate_is_asked_twice_and_the_rate_is_named(
    folder: Liar, lie: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jpg").write_bytes(bytes(100_000))
    folder.tell(lie, "x.jpg")
    with pytest.raises(
        ConnectionLostError, match=r"least rate is 1,024 bytes a second|no answer came in time"
    ):
        read_file(open_root(folder.url) / "x.jpg")
    (tmp_path / "zarr.json").write_bytes(bytes(100_000))
    folder.tell(lie, "zarr.json")
    with pytest.raises(
        StoreError, match=r"TooSlowError: (\d+ bytes came in 0\.3 seconds|no answer came in time)"
    ):
        Store(folder.url, cache=CacheOptions(folder=tmp_path / "cache"))
    assert folder.requests.count("GET /zarr.json") == 2


def test_a_slow_link_that_keeps_the_least_rate_goes_on() -> None:
    speed = pace.Pace()
    # For ten hours: nothing for most of each minute, then a minute's worth at once.
    for _ in range(600):
        speed.count(10, 30.0)
        speed.count(20, 29.9)
        speed.count(60 * 1024, 0.0)
    with pytest.raises(
        pace.TooSlowError, match="61,439 bytes came in 60 seconds, and the least rate is 1,024"
    ):
        speed.count(60 * 1024 - 1, 60.0)


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("endless_redirects", "redirects again and again"),
        ("redirect_to_a_file", "redirects to file:///etc/passwd, which is no address of a web server"),
        ("redirect_to_nowhere", "which is no address of a web server"),
    ],
)
def test_redirects_that_lead_nowhere_are_an_error_at_once(
    folder: Liar, lie: str, found: str, tmp_path: Path
) -> None:
    folder.tell(lie, ".")
    with pytest.raises(StoreError, match=found):
        Store(f"{folder.url}/coco.zarr", cache=CacheOptions(folder=tmp_path / "cache"))
    with pytest.raises(SourceError, match=found):
        read_file(open_root(f"{folder.url}/coco") / "x.jpg")


@pytest.mark.parametrize(
    "lie", ["endless_headers", "endless_header", "endless_continues", "impossible_chunk"]
)
def test_an_answer_that_never_begins_is_an_error(folder: Liar, lie: str, tmp_path: Path) -> None:
    folder.tell(lie, ".")
    with pytest.raises(StoreError, match=r"can't read http://[\d.:]+/coco\.zarr/zarr\.json: \w+"):
        Store(f"{folder.url}/coco.zarr", cache=CacheOptions(folder=tmp_path / "cache"))


@pytest.mark.parametrize("lie", ["endless_chunks", "endless_body"])
def test_a_raw_file_of_which_no_size_is_stated_has_a_limit(
    folder: Liar, lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_path, "MAX_UNSTATED_BYTES", 100_000)
    (tmp_path / "x.json").write_bytes(b"{}")
    folder.tell(lie, "x.json")
    path = open_root(folder.url) / "x.json"
    with pytest.raises(SourceError, match=r"does not say how large .*x\.json is, .*more than 100,000 bytes"):
        read_file(path, 1 << 32)
    with pytest.raises(RecordError, match="more bytes than the limit of 5000"):
        read_file(path, 5000)


@pytest.mark.parametrize("lie", ["head_is_huge", "head_is_short", "head_is_empty"])
def test_a_size_that_is_not_what_comes_is_a_lost_connection_or_over_the_limit(
    folder: Liar, lie: str, tmp_path: Path
) -> None:
    (tmp_path / "x.jpg").write_bytes(bytes(5000))
    folder.tell(lie, "x.jpg")
    expected = RecordError if lie == "head_is_huge" else ConnectionLostError
    with pytest.raises(
        expected, match=r"over the limit|more than (0|4993) bytes came, the size that the server says"
    ):
        read_file(open_root(folder.url) / "x.jpg")


@pytest.mark.parametrize("lie", ["endless_links", "endless_body"])
def test_an_index_page_without_end_is_an_error_that_names_its_limit(
    folder: Liar, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.remote.web.MAX_PAGE_BYTES", 1 << 20)
    folder.tell(lie, "/raw/$")
    monkeypatch.setattr(
        "resizeonce.loader.remote.http.WebClient.head", lambda _, url: Head(url, -1, "text/html")
    )
    with pytest.raises(SourceError, match=r"can't list .*/raw/: it has more than 1,048,576 bytes, the limit"):
        list(scan_folder(open_root(f"{folder.url}/raw")))


def test_an_index_page_of_too_many_names_is_an_error(
    folder: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("index_page", "web"):
        monkeypatch.setattr(f"resizeonce.loader.remote.{name}.MAX_NAMES", 3)
    for number in range(4):
        (tmp_path / f"{number}.npz").touch()
    with pytest.raises(SourceError, match="names more than 3 files and folders, the limit of an index page"):
        list(scan_folder(open_root(folder.url)))
    (tmp_path / "3.npz").unlink()
    assert len(list(scan_folder(open_root(folder.url)))) == 3


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ('<A HREF = "a.npz">', ["a.npz"]),
        ("<a title='<a href=\"x\">' href=a.npz>", ["a.npz"]),
        ('<a href="a>b.npz">a</a>', ["a>b.npz"]),
        ('<!-- <a href="x">x</a> --><a href="a.npz">a</a>', ["a.npz"]),
        ('<script>"<a href=x>"</script><a href="a.npz">a</a><!-- <a href="y">', ["a.npz"]),
        ('it\'s <b>"one"</b> <a href="a.npz">a</a>', ["a.npz"]),
        ("<a><abbr href='x'><area href='y'><a\nclass=z\nhref='a.npz'/>", ["a.npz"]),
        ("<a href='&#" + "9" * 5000 + ";'><a href='a.npz'>", ["a.npz"]),
    ],
)
def test_links_are_found_as_a_browser_finds_them(page: str, names: list[str]) -> None:
    assert list(parse_index(page, "http://host/raw/")) == names
    assert list(parse_index(page.encode(), "http://host/raw/")) == names


@pytest.mark.parametrize(
    "piece", ["<a ", '<a href="', "<a x='\" ", "<!--", "<script>", "<a href=", "<a\n ", "<a =", "<"]
)
def test_a_page_made_to_be_slow_is_not(piece: str) -> None:
    begun = time.monotonic()
    parse_index(piece * (1_000_000 // len(piece)), "http://host/raw/")
    assert time.monotonic() - begun < 10


class Endless(AbstractFileSystem):
    """An object store of which the objects have no end, unless a range is asked for."""

    protocol = "endless"

    def info(self, path: str, **_: object) -> dict[str, object]:
        return {"name": path, "size": 10, "type": "file"}

    def open(self, *_: object, **__: object) -> "EndlessFile":
        return EndlessFile()


class EndlessFile:
    """Zeros."""

    size = None

    def __enter__(self) -> "EndlessFile":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def seek(self, place: int) -> None:
        assert place == 0

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "all of what has no end was asked for"
        return bytes(size)


def test_an_object_without_end_is_read_up_to_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("endless", Endless, clobber=True)
    monkeypatch.setattr("resizeonce.loader.cache.fetch.PAUSES", (0.0, 0.0))
    monkeypatch.setattr("resizeonce.loader.remote.connection.RETRY_SECONDS", (0.0,))
    with pytest.raises(StoreError, match="the limit of a store's"):
        Store("endless://bucket/x.zarr", cache=CacheOptions(folder=tmp_path))
    with pytest.raises(StoreError, match="has more than 1,000 bytes, the limit"):
        RemoteFolder("endless://bucket/x.zarr").read("rejects.jsonl", 1000)
    with pytest.raises(ConnectionLostError, match="more than 10 bytes came"):
        read_file(open_root("endless://bucket") / "x.jpg")


def test_a_row_file_in_an_object_store_ends_at_its_listed_size(
    fuzz: Fuzz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MemoryFileSystem().put(str(fuzz.store), "/lying.zarr", recursive=True)
    monkeypatch.setattr("resizeonce.loader.cache.fetch.PAUSES", (0.0, 0.0))
    store = Store("memory://lying.zarr", cache=CacheOptions(folder=tmp_path))
    MemoryFileSystem().pipe(f"/lying.zarr/{PIXELS}", bytes(20 << 20))
    with pytest.raises(StoreError, match="and was read no further"):
        store.part(0)


@pytest.mark.parametrize("target", ["/dev/zero", "a pipe"])
def test_of_a_device_or_a_pipe_below_a_file_url_nothing_is_read(tmp_path: Path, target: str) -> None:
    coco_store(tmp_path, *TINY)
    place = tmp_path / "coco.zarr" / PIXELS
    place.unlink()
    if target == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(target)
    store = Store((tmp_path / "coco.zarr").as_uri(), cache=CacheOptions(folder=tmp_path / "cache"))
    with pytest.raises(StoreError, match="is not a regular file"):
        store.part(0)
