"""Who may import whom: docs/architecture.md, held."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from forks import run_in_forks

ROOT = Path(__file__).parents[1]
PACKAGES = ("loader", "preprocess")

LAYERS = (
    "loader.format",
    "loader.remote",
    "loader.order loader.kernels loader.buffers loader.overlay loader.notebook",
    "loader.readahead loader.picture",
    "loader.array loader.cache loader.zarr_codec",
    "loader.part",
    "loader.own_size",
    "loader.open_parts",
    "loader.describe",
    "loader.fill",
    "loader.store",
    "loader.batch",
    "loader.compact loader.check_shapes",
    "loader.check_views",
    "loader.check",
    "loader.workers",
    "loader",
    "preprocess.errors preprocess.printable preprocess.shortage preprocess.signals",
    "preprocess.findings preprocess.kernels preprocess.safe_path",
    "preprocess.remote preprocess.decode",
    "preprocess.sources.options preprocess.sources.records preprocess.tensors",
    "preprocess.sources.files",
    "preprocess.sources.base",
    "preprocess.sources",
    "preprocess.sources.registry",
    "preprocess.config_tables",
    "preprocess.recipe_config",
    "preprocess.config",
    "preprocess.store",
    "preprocess.verify",
    "preprocess.run",
    "preprocess.look preprocess.doctor",
    "preprocess.environment",
    "preprocess.commands",
    "preprocess.cli",
    "preprocess.__main__ preprocess",
)
"""Drawers from the lowest up. Each imports drawers of lower lines only; those of one line do not know each other.

`preprocess.sources` is the file of each dataset; `loader` and `preprocess` are the packages themselves.
"""

LEVEL = {drawer: number for number, line in enumerate(LAYERS) for drawer in line.split()}

SHARED = {"loader.format", "loader.remote"}
"""What `preprocess` may import of the loader."""

READING = {"preprocess.look", "preprocess.commands"}
"""What reads stores with all of the loader, as a trainer does."""

LATE = {
    "loader.remote.connection": "each file system and its packages wait for a URL of its kind",
    "loader.open_parts": "a store at a path needs no cache",
    "loader.store": "workers read samples and draw none",
    "preprocess.look.choose": "torch, which comparing image views brings, takes longer to import than a sheet to draw",
    "preprocess.__main__": "Ctrl-C while modules are being imported ends in order",
}
"""Modules that import others of this project within a function, and why; the order holds for those as well."""

PRIVATE_PARTS = {
    "loader.zarr_codec": "zarr.core",
    "loader.remote.http": "fsspec.asyn",
    "preprocess.safe_path": "multiprocessing.",
}
"""Modules that use a part of another library which that does not promise to keep."""


@dataclass(frozen=True)
class Import:
    """One imported module of this project."""

    importer: str
    imported: str
    is_late: bool
    """Whether it stands within a function."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


@cache
def drawer(module: str) -> str:
    drawers = [name for name in LEVEL if name not in PACKAGES and f"{module}.".startswith(f"{name}.")]
    return max(drawers, key=len, default=module)


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def nodes_of(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """Yield all nodes of a module, and of each whether it stands within a function."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, is_late = waiting.pop()
        is_late = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield child, is_late
            waiting.append((child, is_late))


def imports_of(module: str) -> Iterator[Import]:
    """Yield what a module imports, also within functions, and what it names to be imported."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node, is_late in nodes_of(syntax_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}".removeprefix(".")
                found = name if name in MODULES else base
                if found:
                    yield Import(module, found, is_late)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.removeprefix("resizeonce.")
            if name != node.value and name in MODULES:
                yield Import(module, name, is_late=False)


@cache
def imports() -> list[Import]:
    """Return all imports of the project; not worked out before a test asks, as every process of the suite collects."""
    return [found for module in MODULES for found in imports_of(module)]


def test_each_module_has_a_drawer_and_each_drawer_a_module() -> None:
    assert {drawer(module) for module in MODULES} == set(LEVEL)


def test_no_module_imports_against_the_order() -> None:
    wrong = [
        found
        for found in imports()
        if drawer(found.importer) != drawer(found.imported)
        and LEVEL[drawer(found.imported)] >= LEVEL[drawer(found.importer)]
    ]
    assert wrong == []


def test_the_loader_imports_nothing_of_the_converter_and_is_imported_by_it_where_both_share() -> None:
    assert imports()
    for found in imports():
        sides = found.importer.partition(".")[0], found.imported.partition(".")[0]
        assert sides != ("loader", "preprocess"), found
        if sides == ("preprocess", "loader") and drawer(found.importer) not in READING:
            assert drawer(found.imported) in SHARED, found


def test_no_circle_of_modules() -> None:
    waiting = {
        module: {found.imported for found in imports() if found.importer == module} for module in MODULES
    }
    while free := [module for module, imported in waiting.items() if not imported & set(waiting)]:
        for module in free:
            del waiting[module]
    assert waiting == {}


def test_what_is_imported_within_a_function_has_a_reason() -> None:
    assert {found.importer for found in imports() if found.is_late} == set(LATE)


def test_a_source_is_made_of_its_base_readers_and_decoders() -> None:
    below = {
        "loader.format",
        "loader.remote",
        "preprocess.errors",
        "preprocess.printable",
        "preprocess.remote",
    }
    below |= {"preprocess.decode"}
    for found in imports():
        if found.importer.startswith("preprocess.sources."):
            assert drawer(found.imported) in below or found.imported.startswith("preprocess.sources."), found
        if drawer(found.importer) == "preprocess.sources":
            assert drawer(found.imported) != "preprocess.sources", found


def test_a_store_is_written_of_tensors_that_others_made() -> None:
    taken = {one.imported for one in imports() if drawer(one.importer) == "preprocess.store"}
    assert {name for name in taken if drawer(name) == "preprocess.tensors"} == {"preprocess.tensors.views"}


def test_modules_of_the_product_import_each_other_relatively() -> None:
    for module, path in MODULES.items():
        for node in ast.walk(syntax_tree(path)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.partition(".")[0] for name in names} & {"resizeonce", *PACKAGES}, module


def test_the_private_parts_of_other_libraries_are_used_where_it_is_said() -> None:
    private = ("zarr.core", "fsspec.asyn", "fsspec.implementations", "multiprocessing.")
    public = ("multiprocessing.connection", "multiprocessing.shared_memory")
    found: dict[str, str] = {}
    for module, path in MODULES.items():
        for node in ast.walk(syntax_tree(path)):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = [node.value]
            for name in names:
                for part in private:
                    if name.startswith(part) and name not in public and " " not in name:
                        found[module] = part
    assert found == PRIVATE_PARTS


OPENING = {"open", "read_bytes", "read_text", "write_bytes", "write_text"}


@pytest.mark.parametrize("name", ["loader.order", "loader.kernels.batch_kernels", "preprocess.tensors"])
def test_what_computes_opens_no_file(name: str) -> None:
    # Keys can be given as a file, and an index is kept in one.
    allowed = {"loader.order.index_file", "loader.order.subset"}
    for module in MODULES:
        if f"{module}.".startswith(f"{name}.") and module not in allowed:
            for node in ast.walk(syntax_tree(MODULES[module])):
                if isinstance(node, ast.Call):
                    called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
                    assert called not in OPENING, module


def test_a_store_and_what_is_below_it_know_no_torch() -> None:
    allowed = {"loader.buffers.dataloader_slots"}
    for module, path in MODULES.items():
        if LEVEL[drawer(module)] <= LEVEL["loader.store"] and module not in allowed:
            for node in ast.walk(syntax_tree(path)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                assert not {name.partition(".")[0] for name in names} & {"torch"}, module


def test_a_foreign_package_of_a_name_like_ours_is_never_imported(tmp_path: Path) -> None:
    for name in ("preprocess", "loader", "store", "configs", "sources", "remote"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not ours')\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import resizeonce.loader as loader; "
        "[getattr(loader, name) for name in dir(loader)]; import resizeonce.preprocess.cli; print(*sys.modules)"
    )
    [(status, said)] = run_in_forks(tmp_path, [(script, [tmp_path])])
    assert status == 0, said
    found = said.split()
    assert "resizeonce.loader.workers.batch_loader" in found
    assert not {"preprocess", "loader", "store", "configs"} & set(found)
