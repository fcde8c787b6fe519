"""Reads stores and raw datasets from a server that lies about one file: `python tests/fuzz/fuzz_servers.py COUNT [SEED]`.

Each must give what is on the disk, or an error of the project, or a reject, in little time, and take little of what is
sent; the last line says how much memory all of it took.
"""

import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lying_server import LIES, OTHER_FILES, RANGE_LIES, Liar, lying
from miniature.every import WRITERS
from miniature.sa1b import write_sa1b
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, coco_store, tree_digest

from resizeonce.loader import CacheOptions, SampleIndex, Store, Subset
from resizeonce.loader.cache import fetch as loader_remote
from resizeonce.loader.format.errors import PreprocessError
from resizeonce.loader.remote import connection, pace
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.store.root import read_rejects

SECONDS = 20.0
"""How long one reading may take."""

MOST_SENT = 1 << 30
"""Bytes that may be taken from the server by one reading: three times the limit of a root, and four times that of an index
page of the least bytes, are less."""


@dataclass
class Outcome:
    """What became of the readings."""

    right: int = 0
    refused: int = 0
    rejected: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.right} right, {self.refused} refused, {self.rejected} rejected, wrong: {self.wrong}"


@contextmanager
def hurried() -> Iterator[None]:
    """Let a minute be a third of a second, and ask again at once."""
    before = pace.WINDOW_SECONDS, connection.RETRY_SECONDS, loader_remote.PAUSES
    pace.WINDOW_SECONDS, connection.RETRY_SECONDS, loader_remote.PAUSES = 0.3, (0.0, 0.0, 0.0), (0.0, 0.0)
    try:
        yield
    finally:
        pace.WINDOW_SECONDS, connection.RETRY_SECONDS, loader_remote.PAUSES = before


def read_store(url: str, store: Path, cache: Path) -> str:
    """Read a store at a URL; return "right", "refused", or what is wrong with it."""
    expected = Store(store)
    subset = Subset(min_prompt_cells=1, key_range=(0.0, 0.9))
    try:
        opened = Store(url, cache=CacheOptions(folder=cache, max_bytes=10**8))
        chosen = len(SampleIndex(opened, subset))
        found = opened.batch(range(len(opened)))
    except PreprocessError:
        return "refused"
    batch = expected.batch(range(len(expected)))
    is_same = chosen == len(SampleIndex(expected, subset)) and found.keys() == batch.keys()
    return (
        "right"
        if is_same and all(np.array_equal(found[key], batch[key]) for key in batch)
        else "other samples"
    )


def read_raw(url: str, config: str, expected: dict[str, str], out: Path) -> str:
    """Convert a raw dataset at a URL; return "right", "refused", "rejected", or what is wrong with it."""
    try:
        convert(load_config(CONFIGS / f"{config}.toml", list(TINY)), url, out, RunOptions())
    except PreprocessError:
        return "refused"
    if tree_digest(out) == expected:
        return "right"
    return "rejected" if list(read_rejects(out)) else "another store"


class Fuzz:
    """A folder with a store and raw datasets, and what they give when they are read from the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        coco_store(folder / "made", *TINY)
        self.store = folder / "made" / "coco.zarr"
        pictures = [picture_of(60 + 3 * n, 90, n) for n in range(3)]
        for config in ("coco", "npz", "refcoco"):
            WRITERS[config](folder / config, pictures)
        write_sa1b(folder / "sa1b", pictures, tar=True)
        self.expected = {config: self._convert(config) for config in ("coco", "npz", "refcoco", "sa1b")}

    def _convert(self, config: str) -> dict[str, str]:
        out = self.folder / "expected" / config
        convert(load_config(CONFIGS / f"{config}.toml", list(TINY)), self.folder / config, out, RunOptions())
        return tree_digest(out)

    def about(self, root: str) -> list[str]:
        """Return the paths that can be lied about when a dataset, or the store, is read."""
        folder = self.store if root == "store" else self.folder / root
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        pages = [
            path for path in (folder, *sorted(folder.rglob("*"))) if path.is_dir() and root in ("npz", "sa1b")
        ]
        served = [f"/{path.relative_to(self.folder)}" for path in files]
        return served + [f"/{path.relative_to(self.folder)}/" for path in pages]

    def read(self, liar: Liar, root: str, lie: str, path: str) -> str:
        """Read a dataset, or the store, while the server lies about one path; return as `read_store` and `read_raw` do."""
        self._number += 1
        liar.tell(lie, f"^{re.escape(path)}$")
        out, begun = self.folder / "read" / str(self._number), time.monotonic()
        try:
            if root == "store":
                found = read_store(f"{liar.url}/made/coco.zarr", self.store, out)
            else:
                found = read_raw(f"{liar.url}/{root}", root, self.expected[root], out)
        except Exception as err:
            # Whatever it is, it is what is looked for.
            return f"{type(err).__name__}: {err}"
        if time.monotonic() - begun > SECONDS:
            return f"{found}, after {time.monotonic() - begun:.0f} s"
        return found if liar.sent <= MOST_SENT else f"{found}, after {liar.sent:,} bytes"


def lies_about(root: str) -> list[str]:
    """Return the lies that make a difference to a dataset, or to the store; only tars are read by ranges."""
    useless = (
        OTHER_FILES if root == "sa1b" else RANGE_LIES if root == "store" else (*RANGE_LIES, *OTHER_FILES)
    )
    return [lie for lie in LIES if lie not in useless]


def main(count: int, seed: int) -> int:
    """Read as often as that; return how often it went wrong."""
    chance, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory() as name, hurried():
        fuzz = Fuzz(Path(name))
        with lying(fuzz.folder) as liar:
            for _ in range(count):
                root = chance.choice(["store", "store", *fuzz.expected])
                lie = chance.choice(lies_about(root))
                path = chance.choice(fuzz.about(root))
                found = fuzz.read(liar, root, lie, path)
                if found in ("right", "refused", "rejected"):
                    setattr(outcome, found, getattr(outcome, found) + 1)
                else:
                    outcome.wrong.append(f"{lie} about {path}: {found}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{outcome}; {peak} MB of memory")
    return len(outcome.wrong) + (peak > 1500)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0), 1))
