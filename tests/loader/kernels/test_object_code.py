"""Object code that is kept and linked without numba, against numba's own functions, numpy, and masks packed here."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from resizeonce.loader.format.gradient import pack_gradient
from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.loader.kernels import native, object_code
from resizeonce.loader.kernels.batch_kernels import MEAN, STD
from resizeonce.loader.kernels.native import NativeLoops
from resizeonce.loader.kernels.object_code import ObjectCode, ObjectCodeError, load_functions

numba = pytest.importorskip("numba", reason="numba is not installed")
carray, cfunc, types = numba.carray, numba.cfunc, numba.types


@pytest.fixture(scope="module")
def kept_code() -> ObjectCode:
    """What an earlier process compiled from these sources, or this one compiles now."""
    load_functions()
    name = object_code.file_name()
    assert name is not None
    (found, *_) = [folder / name for folder in object_code.folders() if (folder / name).exists()]
    return ObjectCode.from_bytes(found.read_bytes())


SLOW = ["numba", "compiled here"]
"""To compile them takes some ten seconds; those that are kept are from the same sources."""


@pytest.fixture(params=[*(pytest.param(name, marks=pytest.mark.slow) for name in SLOW), "kept"])
def loops(request: pytest.FixtureRequest) -> Iterator[NativeLoops]:
    if request.param == "kept":
        code = request.getfixturevalue("kept_code")
        yield NativeLoops(object_code.link(ObjectCode.from_bytes(code.to_bytes())))
        return
    functions = import_module("resizeonce.loader.kernels.row_loops").FUNCTIONS
    if request.param == "numba":
        yield NativeLoops({name: function.address for name, function in functions.items()})
    else:
        yield NativeLoops(object_code.link(object_code.make_code(functions)))


def addresses(rows: Iterable[np.ndarray]) -> np.ndarray:
    return np.array([row.ctypes.data for row in rows], np.int64)


def check_copies(loops: NativeLoops) -> None:
    stored = np.random.default_rng(1).integers(0, 256, (4, 3, 9, 11), np.uint8)
    out = np.zeros_like(stored)
    loops.copy_rows(addresses(stored[::-1]), out)
    assert np.array_equal(out, stored[::-1])


def test_rows_are_copied_normalised_and_widened(loops: NativeLoops) -> None:
    check_copies(loops)
    stored = np.random.default_rng(2).integers(0, 256, (4, 3, 9, 11), np.uint8)
    out = np.zeros(stored.shape, np.float32)
    loops.normalize_rows(addresses(stored), MEAN, STD, out)
    scaled = stored.astype(np.float32) / np.float32(255)
    assert np.array_equal(out, (scaled - MEAN[:, None, None]) / STD[:, None, None])
    mask = np.random.default_rng(3).integers(0, 2, (9, 11), np.uint8).view(np.bool_)
    wide = np.full(mask.shape, 7, np.float32)
    loops.widen(mask, wide)
    assert np.array_equal(wide, mask.astype(np.float32))


def test_masks_are_decoded_and_damaged_ones_are_not(loops: NativeLoops) -> None:
    y, x = np.mgrid[:256, :256]
    masks = [(x - 90) ** 2 + (y - 120) ** 2 < radius**2 for radius in (20, 60, 100)]
    frames = [np.frombuffer(compress_mask(mask), np.uint8) for mask in masks]
    frames[1] = frames[1][:-3].copy()
    sizes = np.array([frame.size for frame in frames])
    out = np.full((3, 256, 256), 7, np.float32)
    done = loops.expand_rows(np.array([frame.ctypes.data for frame in frames]), sizes, out)
    assert done.tolist() == [True, False, True]
    assert np.array_equal(out[0], masks[0].astype(np.float32))
    assert np.array_equal(out[2], masks[2].astype(np.float32))


def test_compact_images_are_unpacked_and_damaged_ones_are_not(loops: NativeLoops) -> None:
    stored = np.random.default_rng(4).integers(0, 60, (3, 3, 9, 70), np.uint8)
    packed = [pack_gradient(image) for image in stored]
    packed[1] = packed[1][:-1].copy()
    places = addresses(packed), np.array([one.size for one in packed])
    out = np.zeros_like(stored)
    assert loops.unpack_rows(*places, out).tolist() == [True, False, True]
    assert np.array_equal(out[::2], stored[::2])
    normalized = np.zeros(stored.shape, np.float32)
    assert loops.unpack_normalized_rows(*places, MEAN, STD, normalized).tolist() == [True, False, True]
    scaled = stored.astype(np.float32) / np.float32(255)
    assert np.array_equal(normalized[::2], ((scaled - MEAN[:, None, None]) / STD[:, None, None])[::2])


def test_a_batch_of_no_rows_is_nothing(loops: NativeLoops) -> None:
    nothing = np.zeros(0, np.int64)
    loops.copy_rows(nothing, np.zeros((0, 4), np.uint8))
    loops.normalize_rows(nothing, MEAN, STD, np.zeros((0, 3, 1, 1), np.float32))
    assert not loops.expand_rows(nothing, nothing, np.zeros((0, 0, 0), np.float32)).size
    assert not loops.unpack_rows(nothing, nothing, np.zeros((0, 3, 1, 1), np.uint8)).size
    images = np.zeros((0, 3, 1, 1), np.float32)
    assert not loops.unpack_normalized_rows(nothing, nothing, MEAN, STD, images).size


@pytest.fixture(scope="module")
def few_loops() -> SimpleNamespace:
    """Stands in for `loader.kernels.row_loops` where it matters only that something is kept: all but one loop do nothing."""
    copy = import_module("resizeonce.loader.kernels.loops").copy_rows

    @cfunc(types.void(types.CPointer(types.int64), types.int64, types.CPointer(types.uint8), types.int64))
    def copy_rows(addresses: Any, count: int, out: Any, size: int) -> None:
        copy(carray(addresses, (count,)), carray(out, (count, size)))

    nothing = {name: cfunc(types.void())(lambda: None) for name in native.ARGUMENTS}
    return SimpleNamespace(FUNCTIONS=nothing | {"copy_rows": copy_rows})


@pytest.fixture(params=["few loops", pytest.param("all loops", marks=pytest.mark.slow)])
def compiled(request: pytest.FixtureRequest, few_loops: SimpleNamespace) -> Callable[[str], Any]:
    """What gives a process that finds nothing its loops."""
    return object_code.compiled if request.param == "all loops" else lambda _: few_loops


@pytest.fixture
def folder(compiled: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where object code is kept in a test, a folder that is not there yet."""
    monkeypatch.setattr(object_code, "compiled", compiled)
    monkeypatch.setattr(object_code, "folders", lambda: [tmp_path / "kept"])
    return tmp_path / "kept"


def load() -> NativeLoops:
    functions = load_functions.__wrapped__()
    assert functions is not None
    return NativeLoops(functions)


def test_what_one_process_made_the_next_one_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_copies(load())
    (kept,) = folder.iterdir()
    monkeypatch.setattr(object_code, "compiled", None)
    check_copies(load())
    assert list(folder.iterdir()) == [kept]


@pytest.mark.parametrize("damage", ["empty", "cut", "changed"])
def test_kept_code_that_is_damaged_is_made_anew(folder: Path, damage: str) -> None:
    load()
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    place = len(whole) // 2
    changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    kept.write_bytes({"empty": b"", "cut": whole[:place], "changed": changed}[damage])
    with pytest.raises(ObjectCodeError):
        ObjectCode.from_bytes(kept.read_bytes())
    check_copies(load())
    assert kept.read_bytes() == whole


def test_kept_code_that_can_not_be_read_is_not_needed(folder: Path) -> None:
    load()
    (kept,) = folder.iterdir()
    kept.unlink()
    # Not even root may read it.
    kept.mkdir()
    with pytest.warns(UserWarning, match="no place"):
        check_copies(load())


def test_it_is_kept_in_the_first_place_that_can_be_written_to_and_works_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: Callable[[str], Any]
) -> None:
    monkeypatch.setattr(object_code, "compiled", compiled)
    (tmp_path / "file").touch()
    monkeypatch.setattr(object_code, "folders", lambda: [tmp_path / "file", tmp_path / "second"])
    check_copies(load())
    assert len(list((tmp_path / "second").iterdir())) == 1
    monkeypatch.setattr(object_code, "folders", lambda: [tmp_path / "file"])
    with pytest.warns(UserWarning, match="no place to be kept in.*set NUMBA_CACHE_DIR"):
        check_copies(load())


def test_threads_that_come_at_the_same_time_both_get_their_functions(folder: Path) -> None:
    both, found = threading.Barrier(2), []

    def run() -> None:
        both.wait()
        found.append(load())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    for loops in found:
        check_copies(loops)
    (kept,) = folder.iterdir()
    ObjectCode.from_bytes(kept.read_bytes())


def test_code_of_other_settings_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    name = object_code.file_name()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert object_code.file_name() == name
    assert object_code.folders()[0] == Path("/somewhere")
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert object_code.file_name() != name


def test_it_is_kept_beside_the_sources_or_in_the_cache_of_who_may_not_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    beside = Path(object_code.__file__).parent / "__pycache__"
    assert object_code.folders() == [beside, tmp_path / "resizeonce"]


def test_without_numba_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_code, "find_spec", lambda _: None)
    assert load_functions.__wrapped__() is None


def test_without_sources_to_compile_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> bytes:
        raise FileNotFoundError(2, "No such file", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.warns(UserWarning, match="filled by numpy, more slowly: .*gradient.py"):
        assert load_functions.__wrapped__() is None


def test_with_compiling_switched_off_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert load_functions.__wrapped__() is None


def test_what_can_not_be_written_whole_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, _: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.warns(UserWarning, match="no place"):
        check_copies(load())
    assert list(folder.iterdir()) == []


def test_code_without_one_of_the_functions_is_not_used(kept_code: ObjectCode) -> None:
    other = dataclasses.replace(kept_code, symbols={"copy_rows": "nothing_of_this_name"})
    with pytest.raises(ObjectCodeError):
        object_code.link(other)


def test_functions_are_called_with_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    # What they are declared to take is told without compiling them.
    monkeypatch.setattr("numba.cfunc", lambda signature: lambda _: signature)
    file = Path(object_code.__file__).with_name("row_loops.py")
    spec = spec_from_file_location("resizeonce.loader.kernels.declared_loops", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    declared = module.FUNCTIONS
    found = {
        name: "".join("a" if isinstance(kind, types.CPointer) else "n" for kind in signature.args)
        for name, signature in declared.items()
    }
    assert found == native.ARGUMENTS


NUMBA_AFTERWARDS = """
import numpy as np
from resizeonce.loader.kernels.object_code import load_functions

assert load_functions()
import sys
assert "numba" not in sys.modules
from numba import njit

@njit
def spread(count):
    if count < 0:
        raise ValueError("negative")
    return np.arange(count) * 2

assert spread(4).tolist() == [0, 2, 4, 6]
try:
    spread(-1)
except ValueError as err:
    print(err)
"""


def test_numba_works_as_ever_in_a_process_that_linked_before_it_was_imported() -> None:
    load_functions()
    done = subprocess.run(
        [sys.executable, "-c", NUMBA_AFTERWARDS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "negative\n"
