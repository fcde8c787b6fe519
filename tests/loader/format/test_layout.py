"""docs/format.md and loader/format/layout.py say the same."""

import re
from pathlib import Path

from resizeonce.loader.format.layout import COLUMNS, FORMAT_VERSIONS, TEXT_COLUMNS, array_specs
from resizeonce.loader.format.recipe import DEFAULT_RECIPE, ImageView, MaskView, Recipe

PAGE = (Path(__file__).parents[3] / "docs" / "format.md").read_text()


LETTERS = {"images": "I", "masks": "M", "expressions": "E", "samples": "S", "scenes": "K"}

VIEWS = {
    "picture": ImageView(size=(30, 40)),
    "fixed": MaskView(over="picture", size=(30, 40)),
    "own": MaskView(over="picture", size="own"),
}


def arrays_of_the_page(tree: int = 0) -> dict[str, tuple[str, str]]:
    """Return dtype and shape of each column in one of the page's trees, by path."""
    found: dict[str, tuple[str, str]] = {}
    table = ""
    for line in PAGE.split("```")[2 * tree + 1].splitlines():
        if match := re.match(r"    (images|masks|expressions|samples|scenes)/", line):
            table = match[1]
        elif match := re.match(r"      (\w+) +(uint8 or float32|\w+) (\[.*?\])", line):
            found[f"{table}/{match[1]}"] = (match[2], match[3])
    return found


def arrays_of_the_layout() -> dict[str, tuple[str, str]]:
    texts = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
    expected: dict[str, tuple[str, str]] = {}
    for spec in array_specs(DEFAULT_RECIPE, 1):
        column = spec.path.rpartition("_")[0]
        if column in texts:
            expected[column] = ("text", f"[{LETTERS[spec.table]}]")
        else:
            shape = ", ".join([LETTERS[spec.table], *map(str, spec.row_shape)])
            expected[spec.path] = (spec.dtype, f"[{shape}]")
    expected["images/pixel_values"] = ("uint8 or float32", expected["images/pixel_values"][1])
    expected["samples/mask"] = ("int64", "[S, F]")
    return expected


def test_the_page_lists_every_array_of_the_layout_and_no_other() -> None:
    assert arrays_of_the_page() == arrays_of_the_layout()


def test_the_page_lists_every_array_of_other_recipes_and_columns_too() -> None:
    usual = {spec.path for spec in array_specs(DEFAULT_RECIPE, 1)}
    recipe = Recipe(name="custom", views=VIEWS)
    expected = {}
    for spec in array_specs(recipe, 1, COLUMNS):
        rows = {"_offsets": f"{LETTERS[spec.table]} + 1", "_bytes": "N", "_runs": "R"}
        ending = next((ending for ending in rows if spec.path.endswith(ending)), "")
        sides = ["H" if side == 30 else "W" if side == 40 else str(side) for side in spec.row_shape]
        shape = ", ".join([rows.get(ending, LETTERS[spec.table]), *sides])
        name = re.sub("picture|fixed|own", "VIEW", spec.name)
        if spec.path not in usual:
            expected[f"{spec.table}/{name}"] = (spec.dtype, f"[{shape}]")
    expected["images/VIEW"] = ("uint8 or float32", expected["images/VIEW"][1])
    assert arrays_of_the_page(1) == expected
    # What only a recipe with a prompt has.
    assert usual - {spec.path for spec in array_specs(recipe, 1, COLUMNS)} == {
        "images/pixel_values", "images/g_pixel_values", "masks/prompt_masks", "masks/masks", "masks/prompt_cells",
    }  # fmt: skip


def test_the_page_says_how_long_pieces_are() -> None:
    specs = {spec.path: spec for spec in array_specs(Recipe(name="custom", views=VIEWS), 1, COLUMNS)}
    in_pieces = {path: spec.piece_rows for path, spec in specs.items() if spec.piece_rows}
    assert in_pieces == {"masks/own_runs": 4096, "images/source_bytes": 65536}
    assert "inner chunks of 4,096 run\n  lengths, or 65,536 bytes" in PAGE


def test_the_page_is_of_these_format_versions() -> None:
    *earlier, last = map(str, FORMAT_VERSIONS)
    assert PAGE.startswith(f"# The store, format versions {', '.join(earlier)} and {last}\n")


def test_the_prompt_has_16_cells_a_side_because_of_patches_and_pixel_shuffle() -> None:
    sides = [view.size for view in DEFAULT_RECIPE.views.values()]
    assert sides == [(448, 448), (1024, 1024), (16, 16), (1024, 1024)]
    assert 448 // 14 // 2 == 16
