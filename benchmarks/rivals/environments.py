"""Makes the environments that other projects need, and prints where they are, as `--rivals` takes it.

::

    python benchmarks/rivals/environments.py FOLDER [NAME ...]       all by default

One that can't be installed here is named, with the reason, on standard error and left out. FFCV is compiled against
libraries that pip does not bring: OpenCV and libturbojpeg with their headers, and pkg-config.
"""

import argparse
import subprocess
import sys
import venv
from collections.abc import Collection, Sequence
from pathlib import Path

FORMATS = ("datasets", "grain", "array-record", "pylance", "safetensors")
"""All in one environment: they agree on what they need."""

REQUIREMENTS = {
    "ffcv": ("ffcv", "simplejpeg"),
    "mds": ("mosaicml-streaming",),
    "litdata": ("litdata",),
    "webdataset": ("webdataset",),
    "huggingface": FORMATS,
    "safetensors": FORMATS,
    "lance": FORMATS,
    "grain": FORMATS,
}
COMMON = ("torch", "pycocotools", "pillow")
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def parse_rivals(options: Sequence[str], known: Collection[str] = tuple(REQUIREMENTS)) -> dict[str, str]:
    """Return the interpreter of each rival of `NAME=PYTHON`."""
    pythons = dict(option.split("=", 1) for option in options)
    if unknown := pythons.keys() - set(known):
        raise SystemExit(f"unknown rival {sorted(unknown)}; known: {', '.join(known)}")
    return pythons


def make_environment(folder: Path, requirements: tuple[str, ...]) -> str | None:
    """Make an environment unless it is there; return why it can't be made."""
    if (folder / "done").exists():
        return None
    venv.create(folder, with_pip=True, clear=True)
    command = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
    # Torch first: the others would take any.
    for packages in (("torch",), (*COMMON, *requirements)):
        done = subprocess.run(
            [*command, "--constraint", str(CONSTRAINTS), *packages], capture_output=True, text=True
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return (lines or [f"pip returned {done.returncode}"])[-1]
    (folder / "done").touch()
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REQUIREMENTS)}")
    options = parser.parse_args()
    if unknown := set(options.names) - REQUIREMENTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(REQUIREMENTS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or REQUIREMENTS:
        requirements = REQUIREMENTS[name]
        where = options.folder.absolute() / (name if requirements is not FORMATS else "formats")
        if reason := make_environment(where, requirements):
            print(f"{name}: can't be installed here: {reason}", file=sys.stderr)
        else:
            print(f"{name}={where / 'bin/python'}")


if __name__ == "__main__":
    main()
