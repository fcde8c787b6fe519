"""Modules that should never be run: each leaves a trace."""

from pathlib import Path

NAMES = (
    "pickle", "socket", "struct", "mmap", "ctypes", "multiprocessing", "signal", "threading", "numpy", "loader", "preprocess",
    "sitecustomize",
)  # fmt: skip
"""Of the standard library, of packages and of this project, as workers import them."""


def put_shadows(folder: Path) -> Path:
    """Write the modules into a new folder; return the file that is there once one was run."""
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r} + '\\n')\n")
    return folder / "ran"
