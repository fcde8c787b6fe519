"""docs/format.md and loader/format/layout.py say the same."""

import re
from pathlib import Path

from resizeonce.loader.format.layout import FORMAT_VERSIONS, TEXT_COLUMNS, array_specs
from resizeonce.loader.format.recipe import DEFAULT_RECIPE

PAGE = (Path(__file__).parents[3] / "docs" / "format.md").read_text()


def arrays_of_the_page() -> dict[str, tuple[str, str]]:
    """Return dtype and shape of each column in the page's tree, by path."""
    found: dict[str, tuple[str, str]] = {}
    table = ""
    for line in PAGE.split("```")[1].splitlines():
        if match := re.match(r"    (images|masks|expressions|samples|scenes)/", line):
            table = match[1]
        elif match := re.match(r"      (\w+) +(uint8 or float32|\w+) (\[.*?\])", line):
            found[f"{table}/{match[1]}"] = (match[2], match[3])
    return found


def arrays_of_the_layout() -> dict[str, tuple[str, str]]:
    letters = {"images": "I", "masks": "M", "expressions": "E", "samples": "S", "scenes": "K"}
    texts = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
    expected: dict[str, tuple[str, str]] = {}
    for spec in array_specs(DEFAULT_RECIPE, 1):
        column = spec.path.rpartition("_")[0]
        if column in texts:
            expected[column] = ("text", f"[{letters[spec.table]}]")
        else:
            shape = ", ".join([letters[spec.table], *map(str, spec.row_shape)])
            expected[spec.path] = (spec.dtype, f"[{shape}]")
    expected["images/pixel_values"] = ("uint8 or float32", expected["images/pixel_values"][1])
    expected["samples/mask"] = ("int64", "[S, F]")
    return expected


def test_the_page_lists_every_array_of_the_layout_and_no_other() -> None:
    assert arrays_of_the_page() == arrays_of_the_layout()


def test_the_page_is_of_these_format_versions() -> None:
    *earlier, last = map(str, FORMAT_VERSIONS)
    assert PAGE.startswith(f"# The store, format versions {', '.join(earlier)} and {last}\n")


def test_the_prompt_has_16_cells_a_side_because_of_patches_and_pixel_shuffle() -> None:
    sides = [view.size for view in DEFAULT_RECIPE.views.values()]
    assert sides == [(448, 448), (1024, 1024), (16, 16), (1024, 1024)]
    assert 448 // 14 // 2 == 16
