"""Stores that are signed rightly and hostile: each is an error or a finding, and takes no memory that it only claims."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from forge import Forgery, frame
from fuzz_forged import fuzz
from grids import slow
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import COMPACT_IMAGES, CONFIGS, TINY

from resizeonce.loader import SampleIndex, Store, Subset
from resizeonce.loader.fill import SampleError
from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.verify.check_store import VerifyOptions, VerifyReport, verify_store

PART = "part-00000"
MASKS = f"{PART}/masks/masks/c/0/0/0"
PIXELS = f"{PART}/images/pixel_values/c/0/0/0/0"
GROUNDING = f"{PART}/images/g_pixel_values/c/0/0/0/0"

Forge = Callable[[Callable[[Forgery], object]], Path]


@pytest.fixture(scope="module")
def compact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of single frames with expressions, its images stored compact."""
    folder = tmp_path_factory.mktemp("compact")
    WRITERS["refcoco"](folder / "raw", [picture_of(60, 90, seed) for seed in range(8)])
    config = load_config(CONFIGS / "refcoco.toml", [*TINY, *COMPACT_IMAGES])
    convert(config, folder / "raw", folder / "refcoco.zarr")
    return folder / "refcoco.zarr"


@pytest.fixture
def forge(compact: Path, tmp_path: Path) -> Forge:
    def write(change: Callable[[Forgery], object]) -> Path:
        forgery = Forgery(compact)
        change(forgery)
        forgery.write(tmp_path / "forged.zarr")
        return tmp_path / "forged.zarr"

    return write


def found(report: VerifyReport) -> list[tuple[str, str, int | None]]:
    return [(finding.check, finding.array, finding.row) for finding in report.findings]


def test_forged_stores_give_what_they_say_or_an_error_or_findings() -> None:
    # One of each kind of store, others than the long form begins with; one has something else where a file was.
    assert fuzz(5, 1_000_013, processes=1) == []


@pytest.mark.parametrize("seed", [slow(2_000_003)])
def test_many_forged_stores_give_what_they_say_or_an_error_or_findings(seed: int) -> None:
    assert fuzz(400, seed) == []


def test_an_untouched_forgery_is_a_sound_store(forge: Forge) -> None:
    store = forge(lambda _: None)
    assert verify_store(store, VerifyOptions(values=True)).findings == []
    assert len(Store(store)) > 0


@pytest.mark.parametrize("array", [GROUNDING, PIXELS])
@pytest.mark.parametrize(
    "change",
    [
        lambda row: row[:-1],
        lambda row: row + b"\0",
        lambda row: b"\x88" * len(row),
        lambda row: b"\xff" * len(row),
        lambda row: row[:-8] + b"\xff" * 8,
        lambda row: row[:3],
        lambda _: b"\1",
    ],
    ids=["cut", "long", "other", "too many bits", "slack", "short", "one byte"],
)
def test_a_compact_row_that_is_none_is_a_finding_beside_the_others(
    forge: Forge, array: str, change: Callable[[bytes], bytes]
) -> None:
    def spoil(forgery: Forgery) -> None:
        rows = forgery.chunks(array)
        forgery.set_chunks(array, [change(rows[0]), *rows[1:]])
        forgery.set_chunks(MASKS, [frame(9, 9), *forgery.chunks(MASKS)[1:]])

    store = forge(spoil)
    assert verify_store(store).findings == []
    name = array.removeprefix(f"{PART}/").removesuffix("/c/0/0/0/0")
    values = found(verify_store(store, VerifyOptions(values=True)))
    assert ("row-decode", name, 0) in values
    assert ("row-decode", "masks/masks", 0) in values
    with pytest.raises(SampleError):
        Store(store).batch([0])


@pytest.mark.parametrize(("states", "holds"), [(3 << 30, 3 << 30), (1 << 50, 9), (1 << 63, 9), (9, 1 << 28)])
def test_a_mask_that_states_gigabytes_takes_none(forge: Forge, states: int, holds: int) -> None:
    def spoil(forgery: Forgery) -> None:
        rows = forgery.chunks(MASKS)
        forgery.set_chunks(MASKS, [frame(states, holds), *rows[1:]])

    store = forge(spoil)
    Path("/proc/self/clear_refs").write_text("5")
    report = verify_store(store, VerifyOptions(values=True))
    with pytest.raises(SampleError, match=f"it holds {states} bytes, expected"):
        Store(store).batch([0])
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) < 1_500_000
    assert any(check.startswith(("row-decode", "file-size", "shard-tiling")) for check, _, _ in found(report))


def test_a_frame_that_states_no_size_is_not_unpacked(forge: Forge) -> None:
    # A frame of one window of 1 KiB, without a content size: one block, the last, of a repeated byte.
    unstated = b"\x28\xb5\x2f\xfd\x00\x00" + ((1 << 10) << 3 | 2 | 1).to_bytes(3, "little") + b"\1"

    def spoil(forgery: Forgery) -> None:
        forgery.set_chunks(MASKS, [unstated, *forgery.chunks(MASKS)[1:]])

    store = forge(spoil)
    report = verify_store(store, VerifyOptions(values=True))
    assert ("row-decode", "masks/masks", 0) in found(report)
    assert "it states -1 bytes" in next(finding.found for finding in report.findings)


@pytest.mark.parametrize("value", [2**63 - 1, 10**9, -1, 3])
def test_offsets_that_leave_their_text_are_refused_when_they_are_opened(forge: Forge, value: int) -> None:
    path = f"{PART}/images/key_offsets/c/0"

    def spoil(forgery: Forgery) -> None:
        [offsets] = forgery.chunks(path)
        forgery.set_chunks(path, [struct.pack("<q", value) + offsets[8:]])

    store = forge(spoil)
    with pytest.raises(StoreError, match=r"images/key_offsets is damaged: .* ascend from 0"):
        SampleIndex(Store(store), Subset(key_range=(0, 0.9)))
    with pytest.raises(SampleError, match="images/key_offsets is damaged"):
        Store(store).batch([0])
    assert ("text-offsets", "images/key_offsets", None) in found(verify_store(store))


@pytest.mark.parametrize("path", ["samples/mask/c/0/0", "masks/image/c/0", "expressions/mask/c/0"])
@pytest.mark.parametrize("value", [-1, 10**6, 2**63 - 1])
def test_row_numbers_that_leave_their_table_are_refused(forge: Forge, path: str, value: int) -> None:
    def spoil(forgery: Forgery) -> None:
        [numbers] = forgery.chunks(f"{PART}/{path}")
        forgery.set_chunks(f"{PART}/{path}", [numbers[:-8] + struct.pack("<q", value)])

    store = forge(spoil)
    with pytest.raises(SampleError, match="it holds other numbers than rows 0 to"):
        Store(store).batch([len(Store(store)) - 1])
    assert "table-join" in {check for check, _, _ in found(verify_store(store))}


def test_text_that_is_none_is_an_error_and_a_finding(forge: Forge) -> None:
    path = f"{PART}/images/key_bytes/c/0"

    def spoil(forgery: Forgery) -> None:
        [text] = forgery.chunks(path)
        forgery.set_chunks(path, [b"\xff" + text[1:]])

    store = forge(spoil)
    with pytest.raises(SampleError, match="images/key_bytes is damaged: row 0 is no text"):
        Store(store).batch([0])
    assert "text-utf8" in {check for check, _, _ in found(verify_store(store))}


def put(*steps: Any) -> Callable[[Forgery], None]:
    """Return a change of the root's attributes: the last of `steps` goes where the others lead."""
    *path, last, value = steps

    def change(forgery: Forgery) -> None:
        place: Any = forgery.root
        for step in path:
            place = place[step]
        place[last] = value

    return change


ODD = {
    "a size in words": put("recipe", "masks", "size", "64"),
    "half a pixel": put("recipe", "pixel_values", "size", 64.5),
    "a whole float": put("recipe", "pixel_values", "size", 32.0),
    "true pixels": put("recipe", "masks", "size", True),
    "pixels without end": put("recipe", "masks", "size", 2**70),
    "no pixels": put("recipe", "g_pixel_values", "size", None),
    "no recipe": put("recipe", None),
    "a number in words": put("parts", 0, "rows", "images", "4"),
    "rows without end": put("parts", 0, "rows", "masks", 2**62),
    "fewer rows than none": put("parts", 0, "rows", "samples", -1),
    "a part called 5": put("parts", 0, "name", 5),
    "a part above": put("parts", 0, "name", "../part-00000"),
    "a part that is absolute": put("parts", 0, "name", "/dev"),
    "a long name": put("parts", 0, "name", "a" * 5000),
    "a file above": put("files", {"../x": {"bytes": 1, "sha256": "0" * 64}}),
    "no totals": put("totals", None),
    "names of rejects without counts": put("totals", "rejects", 4),
    "bytes by name": put("totals", "bytes", {"a": 1}),
    "a list for a version": put("format_version", [1]),
    "true for a version": put("format_version", True),
    "a word for yes": put("paired", "no"),
    "a number for a digest": put("fingerprint", 5),
    "pairs of single frames": put("paired", True),
    "scenes without end": put("job", "store", "scenes_per_part", 10**30),
    "no scenes": put("job", "store", "scenes_per_part", 0),
    "parts in words": put("parts", "part-00000"),
    "more samples than masks": put("parts", 0, "rows", "samples", 1),
}


OF_THE_JOB = [
    ODD[name]
    for name in (
        "a file above",
        "scenes without end",
        "no scenes",
        "names of rejects without counts",
        "bytes by name",
    )
]
"""Samples are read without them."""


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_attributes_of_other_types_or_sizes_are_refused_and_found(
    forge: Forge, change: Callable[[Forgery], None]
) -> None:
    store = forge(change)
    if change not in OF_THE_JOB:
        with pytest.raises(StoreError):
            Store(store).batch([0])
    runner = CliRunner()
    for command in ("info", "verify"):
        result = runner.invoke(main, [command, str(store)], catch_exceptions=False)
        # Rows that differ between root and part are told by `verify`, which looks at both.
        assert result.exit_code in ((1, 4) if command == "verify" else (0, 1)), result.output
        assert "damage" in result.output or "version" in result.output or result.exit_code == 0


# ---- files that are none


def link_to_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("annex-object-that-was-not-fetched")


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_sparse(path: Path) -> None:
    os.truncate(path, 8 << 40)


@pytest.mark.parametrize(
    "spoil", [link_to_a_device, link_to_nothing, make_a_pipe, make_a_folder, make_sparse]
)
@pytest.mark.parametrize(
    "file",
    ["zarr.json", f"{PART}/zarr.json", GROUNDING, f"{PART}/masks/image/c/0", f"{PART}/masks/zarr.json"],
)
def test_what_is_no_file_is_not_read(forge: Forge, file: str, spoil: Callable[[Path], None]) -> None:
    store = forge(lambda _: None)
    spoil(store / file)
    if not file.endswith("masks/zarr.json"):
        # The loader needs no metadata of arrays.
        with pytest.raises(StoreError):
            Store(store).batch([0])
    for options in (VerifyOptions(), VerifyOptions(values=True)):
        assert verify_store(store, options).is_damaged


def test_a_list_of_rejects_that_is_no_file_is_refused(forge: Forge) -> None:
    line = json.dumps({"key": "a", "path": "b", "stage": "read", "reason": "c"}).encode() + b"\n"

    def reject(forgery: Forgery) -> None:
        forgery.set_file("rejects.jsonl", line)
        forgery.root["totals"]["rejects"] = {"read": 1}

    store = forge(reject)
    assert verify_store(store).findings == []
    for spoil in (make_sparse, link_to_a_device):
        spoil(store / "rejects.jsonl")
        assert verify_store(store).is_damaged
        result = CliRunner().invoke(main, ["info", str(store)], catch_exceptions=False)
        assert result.exit_code == 1
        assert "rejects.jsonl" in result.stderr
    # Nor is it one that was replaced, while the store is appended to.
    (store / ".job.json").write_bytes(b"{}")
    make_a_folder(store / "rejects.jsonl")
    assert verify_store(store).is_damaged


def test_links_to_files_are_read_as_files(forge: Forge, tmp_path: Path) -> None:
    """As in the caches of DVC and git-annex."""
    store = forge(lambda _: None)
    whole = Store(store).batch([0])
    (tmp_path / "cache").mkdir()
    for number, path in enumerate(sorted(path for path in store.rglob("*") if path.is_file())):
        path.rename(tmp_path / "cache" / str(number))
        path.symlink_to(tmp_path / "cache" / str(number))
    assert verify_store(store, VerifyOptions(values=True)).findings == []
    assert Store(store).batch([0])["masks"].tobytes() == whole["masks"].tobytes()


@pytest.mark.parametrize("file", ["zarr.json", f"{PART}/zarr.json", f"{PART}/masks/masks/zarr.json"])
def test_json_without_a_bottom_is_no_metadata(forge: Forge, file: str) -> None:
    store = forge(lambda _: None)
    (store / file).write_text("[" * 200_000 + "]" * 200_000)
    report = verify_store(store)
    assert any("nested too deep" in finding.found for finding in report.findings)
    if not file.endswith("masks/zarr.json"):
        with pytest.raises(StoreError, match=r"nested too deep|was changed or swapped"):
            Store(store).batch([0])


def test_a_document_of_gigabytes_is_not_read(forge: Forge) -> None:
    store = forge(lambda _: None)
    os.truncate(store / "zarr.json", 3 << 30)
    with pytest.raises(StoreError, match="more than the 33,554,432 bytes"):
        Store(store)
    assert "more than the 33,554,432 bytes" in verify_store(store).findings[0].found


@pytest.mark.parametrize("version", ["", "\u202e", "9" * 5000, "13"])
def test_version_of_pillow_that_is_none_is_no_crash(forge: Forge, version: str) -> None:
    def spoil(forgery: Forgery) -> None:
        forgery.root["versions"]["pillow"] = version

    assert not verify_store(forge(spoil)).is_damaged


def test_what_strangers_wrote_does_not_reach_the_terminal_as_it_is(forge: Forge) -> None:
    def spoil(forgery: Forgery) -> None:
        path = f"{PART}/images/key_bytes/c/0"
        [text] = forgery.chunks(path)
        forgery.set_chunks(path, [b"\x1b[2J\n" + text[5:]])
        forgery.root["versions"]["\x1b]0;owned\a"] = "\u202e1"
        forgery.root["totals"]["skips"] = {"\x1b[31m": 1}

    store = forge(spoil)
    os.close(os.open(bytes(store) + b"/\xff\x1b[2J", os.O_CREAT | os.O_WRONLY))
    for arguments in (["info"], ["verify"], ["verify", "--json"]):
        result = CliRunner().invoke(main, [*arguments, str(store)], catch_exceptions=False)
        assert result.exit_code in (0, 4)
        assert "\x1b" not in result.output
        assert "\u202e" not in result.output
        assert result.output.encode()
