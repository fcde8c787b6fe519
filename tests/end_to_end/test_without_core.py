"""The contract with and without a compiled core: each writes and reads the golden stores, to the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from make_golden import GOLDEN, libraries

from resizeonce.loader.kernels.core import CORE
from resizeonce.preprocess.kernels.core import CORE as CONVERTER_CORE

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch, zarr

# Each level in a fork of one that has imported what takes longer than all of this, and nothing of ours.
assert not any(name.partition(".")[0] == "resizeonce" for name in sys.modules)
*earlier, level = sys.argv[2:]
for other in earlier:
    pid = os.fork()
    if not pid:
        level = other
        break
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"it failed at level {other}")
os.environ["RESIZEONCE_CORE"] = level
folder = Path(sys.argv[1]) / level
folder.mkdir()

from make_golden import GOLDEN, convert_golden, describe_batch
from stores import tree_digest
from resizeonce.loader import BatchLoader, BatchOptions, Order, OrderOptions, SampleDataset, SampleIndex, Store, to_device
from resizeonce.loader.kernels.core import CORE
from resizeonce.preprocess.kernels.core import CORE as CONVERTER_CORE

made = {"cores": [core and core.level() for core in (CORE, CONVERTER_CORE)]}
for source in sorted(GOLDEN.iterdir()):
    store = folder / source.name
    convert_golden(source, store)
    golden = Store(source / "store.zarr")
    order = Order([SampleIndex(golden)], OrderOptions(shuffle=None))
    compact = BatchLoader(order, len(golden), 0, options=BatchOptions(compact=True))
    batches = golden.batch(range(len(golden))), SampleDataset(golden)[:], to_device(next(iter(compact)), "cpu")
    made[source.name] = {"files": tree_digest(store), "batches": [describe_batch(batch) for batch in batches]}
(folder / "made.json").write_text(json.dumps(made))
"""

LEVELS = ["off", "plain", "avx2", "avx512"]


def levels_here() -> list[str]:
    """Return what `RESIZEONCE_CORE` may say on this machine."""
    if CORE is None or CONVERTER_CORE is None:
        return LEVELS[:1]
    return LEVELS[: LEVELS.index(CORE.level()) + 1]


def test_every_level_and_none_write_and_read_the_golden_bytes(tmp_path: Path) -> None:
    folders = [ROOT / name for name in ("tests/support", "examples")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path, *levels_here()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for level in levels_here():
        made: dict[str, Any] = json.loads((tmp_path / level / "made.json").read_text())
        assert made.pop("cores") == [None if level == "off" else level] * 2
        assert made
        for name, found in made.items():
            golden = json.loads((GOLDEN / name / "golden.json").read_text("utf-8"))
            for batch in found["batches"]:
                # Of the whole batch; a compact one has besides what it was made of.
                assert batch | golden["batch"] == batch, (level, name)
            if golden["libraries"] == libraries():
                # The root holds versions, and a digest over them.
                del found["files"]["zarr.json"], golden["files"]["zarr.json"]
                assert found["files"] == golden["files"], (level, name)
