"""What `resizeonce info --environment` says of the compiled cores, and of what else decides bytes and speed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from resizeonce.loader.format import core
from resizeonce.preprocess.cli import main

NAMES = {"loader": "resizeonce.loader.kernels._core", "converter": "resizeonce.preprocess.kernels._core"}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["info", "--environment", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def levels() -> Iterator[dict[str, str]]:
    """The levels that both cores take, which are theirs again afterwards."""
    cores = {name: core.load_core(module.removesuffix("._core")) for name, module in NAMES.items()}
    if None in cores.values():
        pytest.skip("no compiled core")
    before = {name: found.level() for name, found in cores.items()}
    yield before
    for name, found in cores.items():
        found.use(before[name])


def test_it_says_which_instructions_each_core_takes(
    levels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = run().splitlines()
    for name, level in levels.items():
        assert f"{name:<13} compiled core, {level}" in lines
    monkeypatch.setenv("RESIZEONCE_CORE", "plain")
    plain = json.loads(run("--json"))
    assert {plain[name] for name in NAMES} == {"compiled core, plain"}


def test_it_says_that_the_cores_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIZEONCE_CORE", "off")
    loader, converter, *_ = run().splitlines()
    assert loader == (
        "loader        no compiled core: numpy does the work, to the same bytes but more slowly. "
        'RESIZEONCE_CORE is "off"; unset it'
    )
    assert converter.startswith("converter     no compiled core: numpy and Pillow do the work")


def test_it_says_what_an_install_without_a_compiler_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESIZEONCE_CORE", raising=False)
    for module in NAMES.values():
        import_module(module.rpartition(".")[0])
        monkeypatch.setitem(sys.modules, module, None)
    found = json.loads(run("--json"))
    for name in NAMES:
        assert found[name].endswith(
            "the install had no working C compiler; install one, such as gcc, then resizeonce anew: "
            "pip install --force-reinstall --no-deps --no-cache-dir"
        )


def test_it_says_why_a_core_that_is_there_cant_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"{name}: undefined symbol")

    monkeypatch.delenv("RESIZEONCE_CORE", raising=False)
    monkeypatch.setattr(core, "import_module", refuse)
    assert "it can't be loaded (resizeonce.loader.kernels._core: undefined symbol)" in run()


def test_a_level_that_there_is_not_gives_exit_code_2_and_no_traceback() -> None:
    """In a process of its own: the cores are loaded with the command's modules."""
    done = subprocess.run(
        [sys.executable, "-m", "resizeonce.preprocess", "info", "--environment"],
        env=os.environ | {"RESIZEONCE_CORE": "avx3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: RESIZEONCE_CORE may be off, plain, avx2, avx512, found 'avx3'\n"


def test_it_says_the_versions_and_the_processor() -> None:
    found = json.loads(run("--json"))
    for name in ("numpy", "pillow", "torch", "zarr", "numcodecs", "simplejpeg"):
        assert found["versions"][name] == version(name)
    assert {"python", "libjpeg", "libjpeg-turbo"} < set(found["versions"])
    assert found["processor"]
    assert found["cores"] >= 1


@pytest.mark.parametrize("arguments", [[], ["store.zarr", "--environment"]])
def test_it_is_a_store_or_the_environment(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["info", *arguments])
    assert result.exit_code == 2
    assert "give a store, or --environment" in result.output
