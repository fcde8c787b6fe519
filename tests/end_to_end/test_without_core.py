"""The contract with and without a compiled core: a fresh interpreter writes and reads the golden stores, to the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from make_golden import GOLDEN, libraries

from resizeonce.loader.kernels.core import CORE
from resizeonce.preprocess.kernels.core import CORE as CONVERTER_CORE

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
from pathlib import Path
from make_golden import GOLDEN, convert_golden, describe_batch
from stores import tree_digest
from resizeonce.loader import BatchLoader, BatchOptions, Order, OrderOptions, SampleDataset, SampleIndex, Store, to_device
from resizeonce.loader.kernels.core import CORE
from resizeonce.preprocess.kernels.core import CORE as CONVERTER_CORE

made = {"cores": [core and core.level() for core in (CORE, CONVERTER_CORE)]}
for folder in sorted(GOLDEN.iterdir()):
    store = Path(sys.argv[1]) / folder.name
    convert_golden(folder, store)
    golden = Store(folder / "store.zarr")
    order = Order([SampleIndex(golden)], OrderOptions(shuffle=None))
    compact = BatchLoader(order, len(golden), 0, options=BatchOptions(compact=True))
    batches = golden.batch(range(len(golden))), SampleDataset(golden)[:], to_device(next(iter(compact)), "cpu")
    made[folder.name] = {"files": tree_digest(store), "batches": [describe_batch(batch) for batch in batches]}
print(json.dumps(made))
"""

LEVELS = ["off", "plain", "avx2", "avx512"]


def levels_here() -> list[str]:
    """Return what `RESIZEONCE_CORE` may say on this machine."""
    if CORE is None or CONVERTER_CORE is None:
        return LEVELS[:1]
    return LEVELS[: LEVELS.index(CORE.level()) + 1]


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_and_none_write_and_read_the_golden_bytes(tmp_path: Path, level: str) -> None:
    if level not in levels_here():
        pytest.skip("no compiled core, or a processor without these instructions")
    folders = [ROOT / name for name in ("tests/support", "examples")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        env=os.environ | {"RESIZEONCE_CORE": level, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    assert made.pop("cores") == [None if level == "off" else level] * 2
    for name, found in made.items():
        golden = json.loads((GOLDEN / name / "golden.json").read_text("utf-8"))
        for batch in found["batches"]:
            # Of the whole batch; a compact one has besides what it was made of.
            assert batch | golden["batch"] == batch
        if golden["libraries"] == libraries():
            # The root holds versions, and a digest over them.
            del found["files"]["zarr.json"], golden["files"]["zarr.json"]
            assert found["files"] == golden["files"]
