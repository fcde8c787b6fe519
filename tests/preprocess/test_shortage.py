"""Memory that is not there: a sentence and an exit code, or a reject of the one scene that needs more than the others."""

import errno
import multiprocessing
import os
import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from grids import slow
from stores import CONFIGS, TINY, coco_root, coco_store, tree_digest
from trouble import Harm, harm_scenes

from resizeonce.preprocess import __main__, cli
from resizeonce.preprocess.decode import images
from resizeonce.preprocess.decode.images import decode_bitmap, decode_image
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.run.part_task import ShortageError
from resizeonce.preprocess.shortage import is_shortage
from resizeonce.preprocess.store.root import read_rejects

Patch = pytest.MonkeyPatch


def run_out() -> None:
    raise MemoryError


@pytest.mark.parametrize("workers", [slow(1), 2])
def test_memory_that_runs_out_once_changes_no_byte(tmp_path: Path, monkeypatch: Patch, workers: int) -> None:
    coco_store(tmp_path)
    whole = tree_digest(tmp_path / "coco.zarr")
    # Once in the forecast, which goes without that scene, and once in the part.
    harm_scenes(monkeypatch, {2: Harm(tmp_path / "harm", run_out, times=2, spared=-1)})
    coco_store(tmp_path, engine="pillow", overwrite=True, workers=workers)
    assert tree_digest(tmp_path / "coco.zarr") == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_a_scene_that_alone_needs_too_much_is_rejected_and_nothing_else(
    tmp_path: Path, monkeypatch: Patch, workers: int
) -> None:
    coco_root(tmp_path)
    harm_scenes(monkeypatch, {2: Harm(tmp_path / "harm", run_out, spared=-1)})
    report = coco_store(tmp_path, engine="pillow", workers=workers)
    (reject,) = read_rejects(tmp_path / "coco.zarr")
    assert (reject.key, reject.stage) == ("coco/3", "worker")
    assert reject.reason.startswith("memory ran out 2 times while this scene was converted")
    assert report.attributes["totals"]["images"] == 4


def test_memory_that_runs_out_everywhere_ends_the_run_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    coco_store(tmp_path, "store.scenes_per_part=8")
    whole = tree_digest(tmp_path / "coco.zarr")
    harm_scenes(monkeypatch, {n: Harm(tmp_path / f"harm{n}", run_out, spared=-1) for n in range(5)})
    with pytest.raises(
        ShortageError, match=r"in 4 scenes of part-00000 \(coco/1, coco/2, coco/3, coco/4\): raise"
    ):
        coco_store(tmp_path, "store.scenes_per_part=8", engine="pillow", overwrite=True)
    monkeypatch.undo()
    coco_store(tmp_path, "store.scenes_per_part=8", engine="pillow")
    assert tree_digest(tmp_path / "coco.zarr") == whole


def test_a_picture_is_not_called_damaged_for_lack_of_memory(tmp_path: Path, monkeypatch: Patch) -> None:
    encoded = min((coco_root(tmp_path) / "train2017").iterdir()).read_bytes()
    monkeypatch.setattr(images, "decode_jpeg", lambda _: run_out())
    with pytest.raises(RecordError, match=r"^memory ran out while the picture was decoded"):
        decode_image(encoded)


def test_an_orientation_that_can_not_be_read_for_lack_of_memory_is_not_guessed(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    encoded = min((coco_root(tmp_path) / "train2017").iterdir()).read_bytes()
    monkeypatch.setattr("PIL.Image.Image.getexif", lambda _: run_out())
    with pytest.raises(RecordError, match=r"^memory ran out"):
        decode_image(encoded)


def test_a_mask_is_not_called_damaged_for_lack_of_memory(monkeypatch: Patch) -> None:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("1", (8, 8)).save(file, "PNG")
    monkeypatch.setattr(images, "check_png", lambda _: run_out())
    with pytest.raises(RecordError, match=r"^memory ran out"):
        decode_bitmap(file.getvalue())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("cannot join thread before it is started"), False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (ValueError("can't start new thread"), False),
    ],
)
def test_what_says_that_there_is_no_more_memory(error: Exception, expected: bool) -> None:
    assert is_shortage(error) == expected
    later = RuntimeError("cleaning up failed, too")
    later.__context__ = error
    assert is_shortage(later) == expected


def open_library(words: str) -> None:
    """Fail as what loads libraries does: the reason is that of the error before."""
    try:
        raise OSError(f"libx.so: {words}")
    except OSError as err:
        raise OSError("could not find libx.so") from err


@pytest.mark.parametrize(
    ("words", "expected"), [("failed to map segment from shared object", True), ("no such file", False)]
)
def test_the_reason_of_an_error_in_a_worker_process_is_seen(words: str, expected: bool) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        error = pool.submit(open_library, words).exception()
    assert isinstance(error, OSError)
    assert is_shortage(error) == expected


def test_the_command_ends_in_a_sentence_under_a_limit_that_nothing_fits_in(tmp_path: Path) -> None:
    # Under more, a thread may begin that has no memory to say so, and Python's own `Thread.start` waits for it for ever.
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (220_000_000, 220_000_000))
    overrides = [word for override in TINY for word in ("--set", override)]
    command = [
        "convert",
        CONFIGS / "coco.toml",
        "--root",
        coco_root(tmp_path),
        "--out",
        tmp_path / "out",
        *overrides,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "resizeonce.preprocess", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 1
    # How far it comes before depends on what the libraries take.
    assert done.stderr.splitlines()[-1].startswith("error: memory ran out (")
    assert "Traceback" not in done.stderr


def test_an_error_of_the_program_stays_one(monkeypatch: Patch) -> None:
    def fail(prog_name: str) -> None:
        raise RuntimeError(f"a fault of {prog_name}")

    monkeypatch.setattr(cli, "main", fail)
    monkeypatch.setattr(__main__, "raise_on_termination", lambda: None)
    with pytest.raises(RuntimeError, match="a fault of resizeonce"):
        __main__.run()
