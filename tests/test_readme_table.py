"""The README's table of speeds is what tests/support/readme_table.py makes of measured medians."""

import re
from pathlib import Path

import pytest
import readme_table

ROOT = Path(__file__).parents[1]

CONVERT = {
    "SA-1B, 100 masks": {"ours": 35.7, "plain": 469.6, "decode": 12.2},
    "SA-1B, 1 mask": {"ours": 19.2, "plain": 52.0, "decode": 13.1},
    "COCO, 8 masks": {"ours": 6.24, "plain": 23.3, "decode": 1.1},
    "COCO, 1 mask": {"ours": 4.5, "plain": 14.7, "decode": 1.1},
    "SA-1B, 1 mask, writers": {"ours": 82.3, "mds": 26.8, "ffcv": 24.7},
}
LOADING = {
    "floor, 2 processes": 2700.0,
    "ours, 2 processes": 2512.4,
    "ours in DataLoader, 2 workers": 2073.0,
    "FFCV, 2 threads": 657.6,
    "np.memmap full, no workers": 442.0,
    "np.memmap full, 2 workers": 234.4,
    "np.memmap compact, 2 workers": 149.0,
}


@pytest.fixture
def table() -> list[str]:
    return readme_table.table(CONVERT, LOADING)


def test_each_row_has_the_medians(table: list[str]) -> None:
    assert table[2:] == [
        "| converting an SA-1B image with 100 masks, one core | 36 ms | 470 ms with Pillow and pycocotools |",
        "| an SA-1B image with one mask | 19 ms, of them 13 to decode | 52 ms |",
        "| a COCO image with 8 masks | 6.2 ms | 23 ms |",
        "| SA-1B images with one mask, two workers | 82 images/s | MosaicML 27, FFCV 25 |",
        "| shuffled batches of 8, two processes, from memory | 2512 samples/s | FFCV 658, np.memmap full 442 |",
        "| in a `DataLoader` with 2 workers | 2073 samples/s | np.memmap there 234 |",
    ]


def test_the_readme_has_these_rows(table: list[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    start = readme.index(table[0])
    rows = re.findall(r"^\| ([^|]+) \|", readme[start : start + 1500], re.MULTILINE)
    assert rows[: len(table) - 2] == [line.split(" | ")[0].removeprefix("| ") for line in table[2:]]
