"""The README's pictures, of the raw data of `make demo`: `make pictures` writes them."""

import sys
import tempfile
from pathlib import Path

from demo import write_raw

from resizeonce.loader import Store
from resizeonce.preprocess import convert, load_config
from resizeonce.preprocess.look.choose import choose_by_chance
from resizeonce.preprocess.look.output_file import write_picture
from resizeonce.preprocess.look.plots import histogram
from resizeonce.preprocess.look.sheet import draw_sheet
from resizeonce.preprocess.look.statistics import measure_store

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SHEET, PLOT = "sheet.webp", "plot.svg"

STYLE = """<style>
svg { color: #1f2328; background: #fff; font-family: system-ui, sans-serif; --accent: #0f766e; --line: #d8dee4 }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117; --accent: #2dd4bf; --line: #30363d } }
</style>"""
"""What a page gives a plot that stands in it."""


def write_pictures(folder: Path) -> None:
    """Write a contact sheet of the samples of OpenImages, and a plot of the report on SA-1B, into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        write_raw(raw)
        for name in ("openimages", "sa1b"):
            convert(load_config(name), raw / name, Path(scratch) / name)
        store = Store(Path(scratch) / "openimages")
        write_picture(draw_sheet(store, choose_by_chance(store, 6, 1), 200, 3).image, folder / SHEET)
        areas = measure_store(Path(scratch) / "sa1b").distributions["area_share"]
        plot = histogram(areas, "Area of masks in percent of the image", 100)
        (folder / PLOT).write_text(plot.replace(">", f">{STYLE}", 1))


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
