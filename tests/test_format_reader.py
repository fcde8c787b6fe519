"""The reader of docs/format.md, run where this project can't be imported, against zarr-python."""

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from make_golden import GOLDEN
from numpy.testing import assert_array_equal
from pycocotools import mask as coco_mask

PAGE = Path(__file__).parents[1] / "docs" / "format.md"
READER = re.search(r"## A reader\n.*?^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)

RUN = """
import pickle, sys
from pathlib import Path
sys.modules["resizeonce"] = None
exec(sys.argv[1])
pickle.dump(list(samples(Path(sys.argv[2]))), sys.stdout.buffer)
assert {name.partition(".")[0] for name in sys.modules} & {"zarr", "torch", "resizeonce", "loader"} == {"resizeonce"}
"""


def read_by_the_page(store: Path) -> Any:
    assert READER is not None
    command = [sys.executable, "-I", "-c", RUN, READER[1], str(store)]
    return pickle.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def read_by_zarr(store: Path) -> Iterator[Any]:
    """Yield each sample as the reader does: images, masks, expressions, each row with all of its columns."""
    for part in sorted(store.glob("part-*")):
        tables = {
            table: {
                name: np.asarray(array[...])
                for name, array in zarr.open_group(part / table, mode="r").arrays()
            }
            for table in ("images", "masks", "expressions", "samples")
        }
        said = tables["expressions"]["mask"]
        for frames in tables["samples"]["mask"]:
            masks = [row(tables["masks"], number) for number in frames]
            told = [row(tables["expressions"], i)["text"] for i in range(len(said)) if said[i] == frames[0]]
            yield [row(tables["images"], mask["image"]) for mask in masks], masks, told


def row(table: dict[str, Any], number: int) -> dict[str, Any]:
    found = {}
    for name, values in table.items():
        column, _, kind = name.rpartition("_")
        if kind == "offsets":
            # The others of the column are read with it.
            start, stop = values[number : number + 2]
            inside = table[next(f"{column}_{end}" for end in ("bytes", "runs") if f"{column}_{end}" in table)]
            found[column] = inside[start:stop]
        elif kind not in ("bytes", "runs"):
            found[name] = values[number]
    for name, values in found.items():
        if f"{name}_runs" in table:
            height, width = map(int, found[f"{name}_size"])
            rle = coco_mask.frPyObjects({"size": [height, width], "counts": values.tolist()}, height, width)
            found[name] = coco_mask.decode(rle).astype(bool)
    return found


@pytest.mark.parametrize("name", [folder.name for folder in sorted(GOLDEN.iterdir())])
def test_the_reader_gives_every_column_of_every_sample_of_each_format_version(name: str) -> None:
    store = GOLDEN / name / "store.zarr"
    found, expected = read_by_the_page(store), list(read_by_zarr(store))
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for ours, theirs in zip(one[:2], other[:2], strict=True):
            for columns, others in zip(ours, theirs, strict=True):
                assert columns.keys() == others.keys()
                for column, values in columns.items():
                    assert values.dtype == others[column].dtype
                    assert_array_equal(values, others[column])
        assert [text.tobytes().decode() for text in one[2]] == [text.tobytes().decode() for text in other[2]]


def test_the_reader_has_fewer_than_60_lines() -> None:
    assert READER is not None
    assert len(READER[1].splitlines()) < 60
