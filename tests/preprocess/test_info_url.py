"""`resizeonce info` of a store on a web server, which takes no files and need not list any."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from raw_server import Manners, serving
from stores import coco_root, coco_store, make_unfinished

from resizeonce.preprocess.cli import main


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("manners", [Manners(), Manners(index=False, ranges=False, head=405)])
def test_info_of_a_url_prints_what_info_of_the_folder_prints(
    tmp_path: Path, options: tuple[str, ...], manners: Manners
) -> None:
    (coco_root(tmp_path) / "train2017" / "000000000002.jpg").write_bytes(b"")
    coco_store(tmp_path)
    code, local = run("info", str(tmp_path / "coco.zarr"), *options)
    assert code == 0
    assert ("the file is empty" in local) == (options == ())
    with serving(tmp_path, manners) as url:
        for address in (f"{url}/coco.zarr", f"{url}/coco.zarr/"):
            assert run("info", address, *options) == (0, local.replace(str(tmp_path / "coco.zarr"), address))


def test_of_an_unfinished_and_of_no_store_it_says_what_it_says_of_a_folder(tmp_path: Path) -> None:
    coco_store(tmp_path)
    make_unfinished(tmp_path / "coco.zarr")
    with serving(tmp_path) as url:
        for name, words in (("coco.zarr", "is not finished"), ("coco", "is no store")):
            code, local = run("info", str(tmp_path / name))
            assert (code, words in local) == (1, True)
            assert run("info", f"{url}/{name}") == (1, local.replace(str(tmp_path), url))


def test_a_server_that_refuses_or_is_gone_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.remote.connection.RETRY_SECONDS", (0.0,))
    with serving(tmp_path, Manners(statuses={"/coco.zarr/zarr.json": 403})) as url:
        code, output = run("info", f"{url}/coco.zarr")
    assert (code, output.startswith("error: ")) == (1, True)
    code, output = run("info", f"{url}/coco.zarr")
    assert (code, output.startswith("error: ")) == (1, True)


@pytest.mark.parametrize("options", [(), ("--values",), ("--source", "nowhere"), ("--json",)])
def test_verify_of_a_url_is_refused_in_the_same_words_whatever_is_asked(options: tuple[str, ...]) -> None:
    url = "https://user:secret@example.org/coco.zarr"
    assert run("verify", url, *options) == (
        1,
        "error: https://user:***@example.org/coco.zarr can't be checked where it is: copy the store to a disk, and verify that\n",
    )


def test_without_a_folder_for_what_passes_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    code, output = run("info", "http://127.0.0.1:9/coco.zarr")
    assert (code, output.startswith("error: ")) == (1, True)
    assert "set TMPDIR" in output
