"""What is built and installed: one name that is ours, whatever a trainer's own folder holds. `make test-wheel` runs all of it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from miniature.sa1b import write_sa1b
from stores import TINY, coco_store, options_of, pictures

import resizeonce

ROOT = Path(__file__).parents[1]
FOLDERS = ("configs", "loader", "preprocess")

FOREIGN = ("loader.py", "preprocess/__init__.py", "store.py", "resample.py")

TRAIN = """
import sys
from itertools import islice

import torch

import resizeonce
from resizeonce import loader, preprocess
from resizeonce.loader import BatchLoader, BatchOptions

sys.path[:0] = sys.argv[2:]
model = torch.nn.Linear(256, 1)
for mode in ("process", "thread"):
    for batch in islice(BatchLoader(sys.argv[1], 2, 1, options=BatchOptions(mode=mode)), 3):
        model(batch["prompt_masks"].flatten(1)).mean().backward()
        print(mode, len(batch["key"]))
print(resizeonce.__file__)
"""

PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")

STEPS = ["process 2"] * 3 + ["thread 2"] * 3


def foreign_folder(folder: Path) -> Path:
    """Make a trainer's folder whose modules are called as ours are, and raise; return its script."""
    for name in FOREIGN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise RuntimeError('the wrong module')\n")
    (folder / "configs").mkdir()
    (folder / "configs" / "sa1b.toml").write_text("[of something else\n")
    (folder / "train.py").write_text(TRAIN)
    return folder / "train.py"


def run(*command: object, cwd: Path, **variables: str) -> list[str]:
    """Run a command, with these environment variables besides, and return the lines that it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "CC"}}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_trainer_may_have_modules_that_are_called_as_ours(tmp_path: Path) -> None:
    coco_store(tmp_path)
    script = foreign_folder(tmp_path / "trainer")
    # Of a folder without `__init__.py`, too, and of one that is put first when all is imported already.
    (tmp_path / "later" / "preprocess").mkdir(parents=True)
    shutil.copy(script.parent / "loader.py", tmp_path / "later")
    found = run(sys.executable, script, tmp_path / "coco.zarr", tmp_path / "later", cwd=script.parent)
    assert found == [*STEPS, resizeonce.__file__]


def test_the_packages_of_the_project_file_are_the_folders_that_are_packages() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in FOLDERS
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert sorted(settings["packages"]) == sorted(["resizeonce", *(f"resizeonce.{name}" for name in folders)])
    assert settings["package-dir"] == {"resizeonce": "resizeonce"} | {
        f"resizeonce.{name}": name for name in FOLDERS
    }


def included(source: Path) -> set[Path]:
    """Return the files of this project that a C source includes, and those that they include."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        path = waiting.pop()
        for name in re.findall(r'^\s*#\s*include "([^"]+)"', path.read_text(), re.MULTILINE):
            folders = path.parent, source.parent, ROOT / "loader" / "format"
            header = next(folder / name for folder in folders if (folder / name).exists()).resolve()
            if header not in found:
                found.add(header)
                waiting.append(header)
    return found


def test_each_extension_depends_on_the_headers_that_it_includes() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for extension in settings["ext-modules"]:
        (source,) = extension["sources"]
        headers = {str(path.relative_to(ROOT)) for path in included(ROOT / source)}
        # A change of any other would not build anew, and the source distribution would lack it.
        assert set(extension["depends"]) == headers, extension["name"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git tracks, so that nothing is built from what is left of an earlier build."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in run("git", "ls-files", cwd=ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def checkout_without_links(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as git makes it where links can't be made: each is a file that says where it leads."""
    folder = tmp_path_factory.mktemp("without") / "links"
    shutil.copytree(checkout, folder, symlinks=True)
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    assert {path.name for path in links} == set(FOLDERS)
    for path in links:
        leads_to = path.readlink()
        path.unlink()
        path.write_text(str(leads_to))
    return folder


def build(kind: str, project: Path, out: Path) -> Path:
    code = f"from setuptools.build_meta import build_{kind}; print(build_{kind}({str(out)!r}))"
    return out / run(sys.executable, "-c", code, cwd=project)[-1]


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name, times in Counter(archive.namelist()).items() if times > 1]
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_holds_each_file_of_the_folders_below_one_name(checkout: Path, wheel: Path) -> None:
    files = {"resizeonce/__init__.py", "resizeonce/py.typed"} | {
        f"resizeonce/{path.relative_to(checkout)}"
        for name in FOLDERS
        for path in (checkout / name).rglob("*")
        if path.is_file() and path.suffix not in {".c", ".h"}
    }
    found = contents(wheel)
    assert wheel.name == f"resizeonce-{resizeonce.__version__}-cp311-abi3-{PLATFORM}.whl"
    cores = {name for name in found if name.endswith(".so")}
    assert cores == {f"resizeonce/{name}/kernels/_core.abi3.so" for name in ("loader", "preprocess")}
    metadata = f"resizeonce-{resizeonce.__version__}.dist-info"
    assert {name.partition("/")[0] for name in found} == {"resizeonce", metadata}
    assert {name for name in found if not name.startswith(metadata)} == files | cores
    for name in files - {"resizeonce/__init__.py", "resizeonce/py.typed"}:
        assert found[name] == (checkout / name.removeprefix("resizeonce/")).read_bytes()


@pytest.mark.slow
def test_the_source_distribution_holds_nothing_twice_and_builds_the_same_wheel(
    checkout: Path, sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        members = [member for member in archive if not member.isdir()]
        assert all(member.isreg() for member in members)
        names = [member.name.partition("/")[2] for member in members]
        archive.extractall(tmp_path, filter="data")
    assert len(names) == len(set(names))
    assert not [
        name for name in names if name.startswith(tuple(f"resizeonce/{folder}" for folder in FOLDERS))
    ]
    assert {name for name in names if name.startswith(tuple(f"{folder}/" for folder in FOLDERS))} == {
        str(path.relative_to(checkout))
        for name in FOLDERS
        for path in (checkout / name).rglob("*")
        if path.is_file()
    }
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    again = build("wheel", tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path)
    assert contents(again) == contents(wheel)


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", checkout, tmp_path_factory.mktemp("sdist"))


@pytest.mark.slow
def test_the_wheel_is_the_same_where_links_cant_be_made(
    checkout_without_links: Path, wheel: Path, tmp_path: Path
) -> None:
    assert contents(build("wheel", checkout_without_links, tmp_path)) == contents(wheel)


def clean_environment(folder: Path, *installed: object, **variables: str) -> Path:
    """Make an environment in which only what is given is installed, with these environment variables; return its Python.

    What the project needs is found where it is installed for this Python; an editable install there has no effect, since
    the `.pth` file that it consists of is not read.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)[0])
    (site / "dependencies.pth").write_text(
        "".join(f"{path}\n" for path in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib"))))
    )
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--no-build-isolation", "--ignore-installed", *installed, cwd=folder, **variables)
    return python


def check_installed(python: Path, folder: Path, core: str = "compiled core, ") -> Path:
    """Convert by a config's name and train, both in a folder with modules and configs of the same names.

    Args:
        python: of the environment.
        folder: where to write.
        core: what is said of the compiled cores of the loader and of the converter.

    Returns:
        Where the package is.
    """
    command = python.parent / "resizeonce"
    loader, converter, *_ = run(command, "info", "--environment", cwd=folder)
    assert loader.startswith(f"loader        {core}")
    assert converter.startswith(f"converter     {core}")
    script = foreign_folder(folder / "trainer")
    write_sa1b(folder / "trainer" / "sa1b", pictures()[:2])
    arguments = ["sa1b", "--root", "sa1b", "--out", "sa1b.zarr", "--workers", 2, *options_of(TINY)]
    assert "samples   10" in run(
        python, "-m", "resizeonce.preprocess", "convert", *arguments, cwd=script.parent
    )
    assert "samples   10" in run(command, "info", "sa1b.zarr", cwd=script.parent)
    *steps, package = run(python, script, "sa1b.zarr", cwd=script.parent)
    assert steps == STEPS
    return Path(package)


@pytest.fixture(scope="module", params=["checkout", "source distribution", "auditwheel"])
def any_wheel(
    request: pytest.FixtureRequest, wheel: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel as it is built here, as it is built from the source distribution, and as `make wheel` makes it of that."""
    if request.param == "checkout":
        return wheel
    folder = tmp_path_factory.mktemp("any")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    built = build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    if request.param == "source distribution":
        return built
    pytest.importorskip("auditwheel", reason="`make test-wheel` installs it")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run(
        sys.executable,
        "-m",
        "auditwheel",
        "repair",
        "--wheel-dir",
        folder / "dist",
        built,
        cwd=folder,
        PATH=path,
    )
    (repaired,) = (folder / "dist").iterdir()
    assert "-cp311-abi3-manylinux" in repaired.name
    return repaired


@pytest.mark.slow
def test_the_wheel_converts_and_trains_beside_foreign_modules(any_wheel: Path, tmp_path: Path) -> None:
    python = clean_environment(tmp_path / "environment", any_wheel)
    package = check_installed(python, tmp_path)
    assert package.is_relative_to(tmp_path / "environment")
    added = {path.name for path in package.parents[1].iterdir()} - {"dependencies.pth", "__pycache__"}
    assert added == {"resizeonce", f"resizeonce-{resizeonce.__version__}.dist-info"}


@pytest.mark.slow
def test_without_a_compiler_it_installs_converts_and_trains_and_says_what_is_missing(
    sdist: Path, tmp_path: Path
) -> None:
    python = clean_environment(tmp_path / "environment", sdist, CC="false")
    missing = "no compiled core: numpy"
    package = check_installed(python, tmp_path, missing)
    assert not list(package.parent.rglob("*.so"))
    script = "import sys; from resizeonce.loader import BatchLoader; print(len(list(BatchLoader(sys.argv[1], 2, 2))))"
    store = tmp_path / "trainer" / "sa1b.zarr"
    said = run("sh", "-c", '"$@" 2>&1', "sh", python, "-c", script, store, cwd=tmp_path)
    # Once, and not again in each worker.
    assert (
        len([line for line in said if "for want of the compiled core: the install had no working C" in line])
        == 1
    )
    assert said[-1] == "5"


@pytest.mark.slow
def test_an_editable_install_works_where_links_cant_be_made(
    checkout_without_links: Path, tmp_path: Path
) -> None:
    python = clean_environment(tmp_path / "environment", "--editable", checkout_without_links)
    package = check_installed(python, tmp_path)
    assert package == checkout_without_links / "resizeonce" / "__init__.py"
