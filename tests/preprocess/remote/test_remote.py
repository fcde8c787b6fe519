"""Raw datasets in memory and behind web servers, good and bad, against the same files on disk."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from grids import slow
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.npz import write_npz_pairs
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train, write_sav_val
from miniature.shapes import picture_of
from raw_server import Manners, serving
from stores import CONFIGS, options_of, tree_digest

from resizeonce.loader.format.errors import ConnectionLostError, SourceError
from resizeonce.loader.remote import connection
from resizeonce.loader.remote.index_page import parse_index
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import Config, load_config
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.remote import path as remote_path
from resizeonce.preprocess.remote.path import RemotePath, open_root
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.sources.files.raw_files import read_file, resolve_inside
from resizeonce.preprocess.store.root import read_rejects
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

SMALL = ["recipe.g_pixel_values.size=64", "recipe.pixel_values.size=32", "recipe.masks.size=64"]
"""Tensors are not what is tested here."""

PICTURES = [picture_of(60, 90, 1), picture_of(80, 64, 2), picture_of(70, 70, 3)]

CLIPS = [(f"sav_{number:06d}", [picture_of(64, 96, 5 * number + t) for t in range(3)]) for number in range(2)]


def _sav_mp4(root: Path) -> None:
    write_sav_train(root, CLIPS, video=True)


def _sav_val(root: Path) -> None:
    write_sav_val(root, CLIPS)


def _sa1b_tar(root: Path) -> None:
    write_sa1b(root, PICTURES, tar=True)


Raw = Callable[[str], tuple[Path, dict[str, str]]]
"""What makes a layout; returns its root, and the digests of the store that is made of it on disk."""

LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    **{name: (name, lambda root, write=write: write(root, PICTURES)) for name, write in WRITERS.items()},
    "sav as mp4": ("sav", _sav_mp4),
    "sav val": ("sav_val", _sav_val),
    "sa1b as tar": ("sa1b", _sa1b_tar),
}
"""Config and writer of each layout that a source reads."""

PLACES = {
    "memory": None,
    "web": Manners(),
    "web without ranges": Manners(ranges=False),
}
"""Where a raw dataset is; the manners of a web server."""


def config_of(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.toml", ["store.scenes_per_part=2", *SMALL, *overrides])


RETRY_SECONDS = connection.RETRY_SECONDS


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """What writes a layout once, and converts it from disk once."""
    made: dict[str, tuple[Path, dict[str, str]]] = {}

    def make(layout: str) -> tuple[Path, dict[str, str]]:
        if layout not in made:
            folder = tmp_path_factory.mktemp("raw")
            config, write = LAYOUTS[layout]
            write(folder / "raw")
            convert(config_of(config), folder / "raw", folder / "store.zarr")
            made[layout] = folder / "raw", tree_digest(folder / "store.zarr")
        return made[layout]

    return make


@contextmanager
def somewhere(folder: Path, place: str) -> Iterator[str]:
    """Yield the URL of a copy of `folder`."""
    manners = PLACES[place]
    if manners is not None:
        with serving(folder.parent, manners) as url:
            yield f"{url}/{folder.name}"
        return
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/data/raw", recursive=True)
    try:
        yield "memory://data/raw"
    finally:
        memory.rm("/data", recursive=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_store_is_the_same_from_everywhere(layout: str, place: str, raw: Raw, tmp_path: Path) -> None:
    root, expected = raw(layout)
    with somewhere(root, place) as url:
        if (layout, place) == ("sa1b as tar", "web without ranges"):
            # 11 GB, for a picture each.
            with pytest.raises(SourceError, match="sends whole files only"):
                convert(config_of("sa1b"), url, tmp_path / "store.zarr")
            return
        convert(config_of(LAYOUTS[layout][0]), url, tmp_path / "store.zarr")
    assert tree_digest(tmp_path / "store.zarr") == expected


@pytest.mark.parametrize("layout", ["sa1b as tar", slow("coco"), slow("sav as mp4")])
def test_each_worker_makes_its_own_connection(layout: str, raw: Raw, tmp_path: Path) -> None:
    root, expected = raw(layout)
    with serving(root) as url:
        convert(config_of(LAYOUTS[layout][0]), url, tmp_path / "store.zarr", RunOptions(workers=2))
    assert tree_digest(tmp_path / "store.zarr") == expected


def test_what_is_in_memory_is_not_given_to_workers(raw: Raw, tmp_path: Path) -> None:
    root, _ = raw("coco")
    with somewhere(root, "memory") as url, pytest.raises(SourceError, match="with one worker"):
        convert(config_of("coco"), url, tmp_path / "store.zarr", RunOptions(workers=2))


@pytest.mark.parametrize("layout", ["npz", "sav as mp4", "sa1b as tar", "refcoco"])
def test_verify_makes_scenes_anew_from_a_url(layout: str, raw: Raw) -> None:
    root, _ = raw(layout)
    with serving(root) as url:
        report = verify_store(root.parent / "store.zarr", VerifyOptions(source=url))
    assert not report.findings
    assert report.counts["scenes made anew"] > 0


@pytest.mark.parametrize("fault", [{"drop_every": 5}, {"cut_every": 5}], ids=str)
@pytest.mark.parametrize("layout", ["npz", "sav as mp4", "sa1b as tar"])
def test_what_breaks_now_and_then_is_asked_for_again(
    layout: str, fault: dict[str, int], raw: Raw, tmp_path: Path
) -> None:
    root, expected = raw(layout)
    with serving(root, Manners(**fault)) as url:
        convert(config_of(LAYOUTS[layout][0]), url, tmp_path / "store.zarr")
    assert tree_digest(tmp_path / "store.zarr") == expected


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_dead_server_stops_the_run_and_the_same_command_goes_on(raw: Raw, tmp_path: Path) -> None:
    root, expected = raw("coco")
    manners = Manners()
    with serving(root, manners) as url:
        command = [
            "convert",
            CONFIGS / "coco.toml",
            "--root",
            url,
            "--out",
            tmp_path / "coco.zarr",
            *options_of(["store.scenes_per_part=2", *SMALL]),
        ]
        assert run(*command, "--dry-run").exit_code == 0
        # As many as it takes to open the dataset; two for the digest of its list, and two for each picture of a part.
        manners.answers_left = len(manners.requests) + 2 + 2 * 2
        stopped = run(*command)
        parts = sorted(path.name for path in (tmp_path / "coco.zarr").glob("part-*"))
        manners.answers_left = float("inf")
        assert stopped.exit_code == 1
        assert "lost the connection to http://127.0.0.1" in stopped.output
        assert "run the same command again to go on" in stopped.output
        assert parts == ["part-00000"]
        assert not (tmp_path / "coco.zarr" / "rejects.jsonl").exists()
        assert run(*command).exit_code == 0
    assert tree_digest(tmp_path / "coco.zarr") == expected


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        pass
    with pytest.raises(ConnectionLostError, match=r"4 attempts failed: run the same command again to go on"):
        convert(config_of("coco"), url, tmp_path / "coco.zarr")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_says_nothing_about_a_record(status: int, raw: Raw) -> None:
    root, _ = raw("coco")
    manners = Manners(statuses={"/x.jpg": status})
    with serving(root, manners) as url, pytest.raises(ConnectionLostError, match=f"answers {status}"):
        read_file(open_root(f"{url}") / "x.jpg")
    assert len(manners.requests) == 4


def test_a_busy_server_is_asked_again_when_it_asks_for_that(
    raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = raw("coco")
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    manners = Manners(statuses={"/x.jpg": 429})
    with serving(root, manners) as url:
        for told in ("7", "86400", "Wed, 21 Oct 2026 07:28:00 GMT", "-1"):
            manners.retry_after = told
            with pytest.raises(ConnectionLostError, match="answers 429"):
                read_file(open_root(url) / "x.jpg")
    assert [wait for wait in waits if wait] == [7.0] * 3 + [60.0] * 3


def test_a_file_that_changes_between_two_blocks_is_read_anew_and_is_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_path, "BLOCK_BYTES", 1000)
    file = tmp_path / "x.npz"
    file.write_bytes(b"a" * 5000)

    def change(request: str) -> None:
        if "2000-2999" in request:
            file.write_bytes(b"b" * 5000)

    manners = Manners(versions=True, before=change)
    with serving(tmp_path, manners) as url:
        assert read_file(open_root(url) / "x.npz") == b"b" * 5000
    assert manners.requests[-1] == "GET /x.npz"


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_stops_the_run(status: int, raw: Raw) -> None:
    root, _ = raw("coco")
    with (
        serving(root, Manners(statuses={"/x.jpg": status})) as url,
        pytest.raises(SourceError, match=f"is denied .*{status}.*credentials"),
    ):
        read_file(open_root(url) / "x.jpg")


@pytest.mark.parametrize("place", ["memory", "web"])
@pytest.mark.parametrize("layout", ["coco", "refcoco", "openimages"])
def test_an_absent_picture_is_the_same_reject(layout: str, place: str, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    LAYOUTS[layout][1](root)
    next(iter(sorted(root.rglob("*.jpg")))).unlink()
    with somewhere(root, place) as url:
        convert(config_of(layout), url, tmp_path / "remote.zarr")
    convert(config_of(layout), root, tmp_path / "local.zarr")
    assert len(list(read_rejects(tmp_path / "local.zarr"))) == 1
    assert tree_digest(tmp_path / "remote.zarr") == tree_digest(tmp_path / "local.zarr")


@pytest.mark.parametrize("place", ["memory", "web"])
def test_damaged_files_and_folders_give_the_same_rejects(place: str, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_npz_pairs(root, [(picture, picture) for picture in PICTURES])
    write_sav_val(root, CLIPS)
    (root / "clips" / "00001.npz").write_bytes(b"no zip")
    (root / "clips" / "empty.npz").write_bytes(b"")
    for name in ("npz", "sav_val"):
        with (root / "sav_val.txt").open("a") as file:
            file.write("sav_999999\n")
        with somewhere(root, place) as url:
            convert(config_of(name), url, tmp_path / f"{name}-remote.zarr")
        convert(config_of(name), root, tmp_path / f"{name}-local.zarr")
        assert list(read_rejects(tmp_path / f"{name}-local.zarr"))
        assert tree_digest(tmp_path / f"{name}-remote.zarr") == tree_digest(tmp_path / f"{name}-local.zarr")


@pytest.mark.parametrize("layout", ["npz", "sa1b", "sav", "sav val"])
def test_a_server_without_index_pages_is_told_from_an_empty_dataset(
    layout: str, raw: Raw, tmp_path: Path
) -> None:
    root, _ = raw(layout)
    with serving(root, Manners(index=False)) as url, pytest.raises(SourceError, match="gives no index page"):
        convert(config_of(LAYOUTS[layout][0]), url, tmp_path / "store.zarr")


@pytest.mark.parametrize(
    ("layout", "head"), [("coco", 405), ("coco", 403), ("refcoco", 405), ("openimages", 405)]
)
def test_what_has_a_list_of_its_files_needs_little_of_a_server(
    layout: str, head: int, raw: Raw, tmp_path: Path
) -> None:
    root, expected = raw(layout)
    with serving(root, Manners(index=False, ranges=False, sizes=False, head=head)) as url:
        convert(config_of(LAYOUTS[layout][0]), url, tmp_path / "store.zarr")
    assert tree_digest(tmp_path / "store.zarr") == expected


NAMES = ["a b.npz", "50%.npz", "a%20b.npz", "a#1.npz", "was?.npz", "ü+(1).npz", "a&amp;b.npz", "it's.npz"]


@pytest.mark.parametrize("place", [slow("memory"), "web"])
def test_names_may_hold_what_means_something_in_a_url(place: str, tmp_path: Path) -> None:
    write_npz_pairs(tmp_path, [(PICTURES[0], PICTURES[0])])
    root = tmp_path / "raw"
    (root / "x #1").mkdir(parents=True)
    for name in NAMES:
        (root / "x #1" / name).hardlink_to(tmp_path / "clips" / "00000.npz")
    with somewhere(root, place) as url:
        convert(config_of("npz"), url, tmp_path / "remote.zarr")
    report = convert(config_of("npz"), root, tmp_path / "local.zarr")
    assert report.attributes["totals"]["images"] == 2 * len(NAMES)
    assert tree_digest(tmp_path / "remote.zarr") == tree_digest(tmp_path / "local.zarr")


@pytest.mark.parametrize("place", ["memory", "web"])
@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../../secret.jpg", "/etc/passwd", "a\0b", "", "."])
def test_no_name_leads_out_of_its_folder(name: str, place: str, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_coco(root, PICTURES[:1])
    (root / "secret.jpg").hardlink_to(next((root / "train2017").glob("*.jpg")))
    index = root / "annotations" / "instances_train2017.json"
    content = json.loads(index.read_text())
    content["images"][0]["file_name"] = name
    index.write_text(json.dumps(content))
    with somewhere(root, place) as url:
        convert(config_of("coco"), url, tmp_path / "remote.zarr")
    convert(config_of("coco"), root, tmp_path / "local.zarr")
    assert len(list(read_rejects(tmp_path / "local.zarr"))) == 1
    assert tree_digest(tmp_path / "remote.zarr") == tree_digest(tmp_path / "local.zarr")


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/x.jpg", "//127.0.0.1:9/x.jpg", "..%2f..%2fx.jpg", "x.jpg?y"]
)
def test_a_name_is_never_taken_for_an_address(name: str, raw: Raw) -> None:
    root, _ = raw("coco")
    manners = Manners()
    with serving(root, manners) as url, pytest.raises(RecordError, match=r"is missing|leads out"):
        read_file(resolve_inside(open_root(url) / "train2017", name))
    assert all(request.split()[1].startswith("/train2017/") for request in manners.requests)


def test_options_may_not_lead_out_of_a_remote_root(raw: Raw, tmp_path: Path) -> None:
    root, _ = raw("coco")
    with serving(root) as url, pytest.raises(SourceError, match="leads out of"):
        convert(config_of("coco", "source.images=../train2017"), url, tmp_path / "store.zarr")


@pytest.mark.parametrize("manners", [Manners(), Manners(sizes=False), Manners(ranges=False)], ids=str)
def test_no_more_is_read_than_the_limit(manners: Manners, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(bytes(5000))
    with serving(tmp_path, manners) as url:
        path = open_root(url) / "x.jpg"
        assert len(read_file(path, 5000)) == 5000
        with pytest.raises(RecordError, match="limit of 4999"):
            read_file(path, 4999)


@pytest.mark.parametrize("place", PLACES)
def test_large_files_come_in_blocks(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_path, "BLOCK_BYTES", 1000)
    content = np.random.default_rng(0).bytes(3500)
    root = tmp_path / "raw"
    root.mkdir()
    (root / "x.jpg").write_bytes(content)
    with somewhere(root, place) as url:
        assert read_file(open_root(url) / "x.jpg") == content


def test_no_scratch_file_is_left(raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = raw("npz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with serving(root) as url:
        convert(config_of("npz"), url, tmp_path / "store.zarr")
    assert not list(scratch.iterdir())


def test_a_full_scratch_disk_stops_the_run(raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = raw("npz")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with serving(root) as url, pytest.raises(SourceError, match="set TMPDIR"):
        convert(config_of("npz"), url, tmp_path / "store.zarr")


def test_a_system_without_numbered_files_stops_the_run_and_rejects_nothing(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = raw("npz")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: not str(path).startswith("/dev/fd/") and exists(path))
    with serving(root) as url, pytest.raises(SourceError, match="see that /proc is mounted"):
        convert(config_of("npz"), url, tmp_path / "store.zarr")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://bucket/x", "can't open nosuch://bucket/x"),
        ("http://host/x?token=1", "must end in a folder"),
        ("http://127.0.0.1:1/x", "lost the connection"),
    ],
)
def test_a_url_that_can_not_be_opened_is_an_error(url: str, message: str, tmp_path: Path) -> None:
    result = run("convert", CONFIGS / "coco.toml", "--root", url, "--out", tmp_path / "store.zarr")
    assert result.exit_code == 1
    assert f"error: {message}" in result.output or message in result.output


def test_a_file_url_is_the_folder(raw: Raw) -> None:
    root, _ = raw("coco")
    assert open_root(f"file://{root}") == root
    assert open_root(str(root)) == open_root(root) == root


def test_the_page_says_when_it_is_asked_again() -> None:
    page = " ".join((Path(__file__).parents[3] / "docs" / "remote.md").read_text().split())
    first, second, last = (f"{seconds:g}" for seconds in RETRY_SECONDS)
    assert f"asked again after {first}, {second} and {last} seconds" in page


def test_passwords_are_not_printed() -> None:
    path = RemotePath("sftp://user:secret@host/data", "a/b.jpg")
    assert str(path) == "sftp://user:***@host/data/a/b.jpg"
    assert "secret" not in repr(path)


def test_fsspec_is_needed_for_urls_only(raw: Raw, tmp_path: Path) -> None:
    root, expected = raw("coco")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from resizeonce.preprocess.config import load_config\n"
        "from resizeonce.loader.format.errors import SourceError\n"
        "from resizeonce.preprocess.run.convert import convert\n"
        "config_file, overrides, root, out = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3], sys.argv[4]\n"
        "sys.modules['fsspec'] = sys.modules['aiohttp'] = None\n"
        "config = load_config(config_file, overrides)\n"
        "convert(config, root, out)\n"
        "try:\n"
        "    convert(config, 's3://bucket/x', out + '2')\n"
        "except SourceError as err:\n"
        "    print(err)\n"
    )
    overrides = " ".join(["store.scenes_per_part=2", *SMALL])
    arguments = [str(CONFIGS / "coco.toml"), overrides, str(root), str(tmp_path / "store.zarr")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    assert "pip install 'resizeonce[remote]'" in done.stdout
    assert tree_digest(tmp_path / "store.zarr") == expected


@pytest.mark.parametrize(
    ("link", "names"),
    [
        ("a.npz", {"a.npz": False}),
        ("./a.npz", {"a.npz": False}),
        ("/raw/a.npz", {"a.npz": False}),
        ("http://host/raw/a.npz", {"a.npz": False}),
        ("a%20b/", {"a b": True}),
        ("a&amp;b", {"a&b": False}),
        ("../", {}),
        ("/", {}),
        ("/raw/", {}),
        ("?C=N;O=D", {}),
        ("http://other/raw/a.npz", {}),
        ("a/b.npz", {}),
        ("..%2fa.npz", {}),
        ("%2e%2e", {}),
        ("http://[", {}),
        ("mailto:a@b", {}),
    ],
)
def test_what_an_index_page_links_to(link: str, names: dict[str, bool]) -> None:
    page = f'<html><head><link href="style.css"></head><body><a class="x" href="{link}">x</a> <a>y</a>'
    assert parse_index(page, "http://host/raw/") == names


def test_a_tar_is_never_fetched_whole(raw: Raw, tmp_path: Path) -> None:
    root, _ = raw("sa1b as tar")
    manners = Manners()
    with serving(root, manners) as url:
        convert(config_of("sa1b"), url, tmp_path / "store.zarr")
    asked = [line for line in manners.requests if line.startswith("GET /sa_000000.tar")]
    assert len(asked) > len(PICTURES)
    assert all("bytes=" in line for line in asked)


def test_the_size_of_what_has_to_be_listed_must_be_known(raw: Raw) -> None:
    root, _ = raw("npz")
    with (
        serving(root, Manners(sizes=False)) as url,
        pytest.raises(SourceError, match=r"does not say how large .*\.npz is"),
    ):
        open_source(config_of("npz"), url)


def test_the_settings_of_fsspec_are_used(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = raw("coco")
    manners = Manners(token="let me in")
    monkeypatch.setitem(fsspec.config.conf, "http", {"headers": {"Authorization": "let me in"}})
    with serving(root, manners) as url:
        assert len(open_source(config_of("coco"), url)) == len(PICTURES)
    monkeypatch.undo()
    with serving(root, manners) as url, pytest.raises(SourceError, match="is denied"):
        open_source(config_of("coco"), url)


def test_a_lost_connection_is_seen_through_other_file_systems(raw: Raw, tmp_path: Path) -> None:
    root, expected = raw("coco")
    with serving(root) as url:
        convert(config_of("coco"), f"simplecache::{url}", tmp_path / "store.zarr")
    assert tree_digest(tmp_path / "store.zarr") == expected
    with pytest.raises(ConnectionLostError):
        read_file(open_root(f"simplecache::{url}") / "never-read.jpg")
