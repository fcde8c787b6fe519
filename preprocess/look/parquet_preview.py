"""A few samples of a store as a Parquet file that the Hugging Face Hub's viewer shows: thumbnails, keys, classes, expressions."""

import io
import json
from dataclasses import dataclass
from typing import Any

from ...loader import Store
from ...loader.notebook import encode_jpeg
from .choose import choose_by_chance
from .extras import require_package
from .samples import thumbnail

PREVIEW_FILE = "preview.parquet"

ROW_GROUP = 20
"""Rows that a viewer fetches to show one of them: half a megabyte."""

JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview, made."""

    content: bytes
    """Of the file."""
    num_rows: int
    classes: list[str]
    """Names of the classes of its objects, by the numbers that stand in its rows; empty where the dataset has none."""


def make_preview(store: Store, count: int, height: int, seed: int) -> Preview:
    """Return samples that are drawn with a seed, as `choose_by_chance` does it, in the order of the store.

    Raises:
        ConfigError: pyarrow is missing.
        StoreError: a table can't be read; a sample whose pixels can't be is a tile that says so.
    """
    require_package("pyarrow", "pyarrow", "card", "a preview in Parquet")
    import pyarrow
    from pyarrow import parquet

    rows = [_row(store, number, height) for number in choose_by_chance(store, count, seed).samples]
    classes = sorted({row["category"] for row in rows} - {""})
    for row in rows:
        # -1 is a label that is not known, as the Hub's library has it.
        row["category"] = classes.index(row["category"]) if row["category"] else -1
    kept = [name for name in _COLUMNS if name != "category" or classes]
    kept = [name for name in kept if name != "expressions" or store.has_expressions]
    table = pyarrow.Table.from_pylist(
        [{name: row[name] for name in kept} for row in rows], schema=_schema(pyarrow, kept, classes)
    )
    written = io.BytesIO()
    parquet.write_table(table, written, row_group_size=ROW_GROUP)
    return Preview(written.getvalue(), len(rows), classes)


_COLUMNS: dict[str, dict[str, Any]] = {
    "image": {"_type": "Image"},
    "key": {"dtype": "string", "_type": "Value"},
    "category": {"_type": "ClassLabel"},
    "expressions": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
}
"""As the Hub's library describes them; "Sequence" is read by its old versions and by those that call it a list."""


def _schema(pyarrow: Any, kept: list[str], classes: list[str]) -> Any:
    types = {
        "image": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
        "key": pyarrow.string(),
        "category": pyarrow.int64(),
        "expressions": pyarrow.list_(pyarrow.string()),
    }
    features = {name: _COLUMNS[name] | ({"names": classes} if name == "category" else {}) for name in kept}
    described = json.dumps({"info": {"features": features}})
    return pyarrow.schema({name: types[name] for name in kept}, metadata={"huggingface": described})


def _row(store: Store, number: int, height: int) -> dict[str, Any]:
    part, masks = store.locate(number)
    key = store.key(number)
    encoded = encode_jpeg(thumbnail(store, number, height), JPEG_QUALITY)
    return {
        "image": {"bytes": encoded, "path": f"{key.replace('/', '_')}.jpg"},
        "key": key,
        "category": part.text("masks/category", masks.item(0)),
        "expressions": store.expressions(number),
    }
