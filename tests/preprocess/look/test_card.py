"""`resizeonce card`: what other libraries make of its files."""

import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from miniature.every import WRITERS
from miniature.shapes import picture_of
from PIL import Image
from publishing import published
from pyarrow import parquet
from stores import CONFIGS, TINY

from resizeonce import loader
from resizeonce.loader import Store
from resizeonce.loader.format.metadata import attributes_digest
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.look.card import CardOptions, write_card
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.sources.origins import ORIGINS, OWN, origin_of
from resizeonce.preprocess.sources.registry import SOURCES

HUB_LICENCES = {"cc-by-2.0", "cc-by-4.0", "other", "unknown"}
"""Of those that the Hub knows, the ones that cards have."""

DAY = date(2026, 1, 2)


GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small stores: of each format version, and one of somebody's own folders."""
    folder = tmp_path_factory.mktemp("card")
    for version, name in enumerate(("refcoco", "sav", "coco"), 1):
        (folder / f"{name}.zarr").symlink_to(GOLDEN / f"format-{version}" / "store.zarr")
    WRITERS["folders"](folder / "folders", [picture_of(90, 120, 0)])
    config = load_config(CONFIGS / "folders.toml", TINY)
    convert(config, folder / "folders", folder / "folders.zarr", RunOptions())
    return folder


def write(store: Path, out: Path, **options: Any) -> Path:
    """Write a card beside a link to its store, with a preview; return its folder."""
    out.mkdir(exist_ok=True)
    (out / store.name).symlink_to(store)
    said = {"parquet": out / "preview", "count": 5, "height": 48, "today": DAY} | options
    write_card(store, out, CardOptions(**said))
    return out


def front_matter(card: Path) -> dict[str, Any]:
    _, text, _ = (card / "README.md").read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


# rdflib's own reader of JSON-LD calls what rdflib calls old.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
# mlcroissant uses what pandas is about to drop.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("name", ["refcoco", "sav", "coco"])
def test_mlcroissant_finds_neither_errors_nor_warnings_and_reads_the_records(
    stores: Path, tmp_path: Path, name: str
) -> None:
    import mlcroissant

    card = write(stores / f"{name}.zarr", tmp_path / "card")
    dataset = mlcroissant.Dataset(card / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    store = Store(stores / f"{name}.zarr")
    keys = [store.key(number) for number in range(len(store))]
    records = list(dataset.records("preview"))
    assert len(records) == min(5, len(store))
    for record in records:
        number = keys.index(record["preview/key"].decode())
        assert record["preview/image"].height == 48
        if name == "refcoco":
            assert [text.decode() for text in record["preview/expressions"]] == store.expressions(number)
    if name == "coco":
        classes = {one["classes/number"]: one["classes/name"] for one in dataset.records("classes")}
        for record in records:
            part, masks = store.locate(keys.index(record["preview/key"].decode()))
            assert classes[record["preview/category"]] == part.text("masks/category", masks.item(0))


def test_each_digest_in_the_croissant_document_is_that_of_the_file_it_names(
    stores: Path, tmp_path: Path
) -> None:
    card = write(stores / "refcoco.zarr", tmp_path / "card")
    document = json.loads((card / "croissant.json").read_text())
    files = [one for one in document["distribution"] if one["@type"] == "cr:FileObject"]
    parts = [path.name for path in (stores / "refcoco.zarr").glob("part-*")]
    assert {one["@id"] for one in files} == {
        "zarr.json",
        "preview.parquet",
        "rejects.jsonl",
        *(f"{part}/zarr.json" for part in parts),
    }
    for one in files:
        assert one["sha256"] == hashlib.sha256((card / one["contentUrl"]).read_bytes()).hexdigest()
    # Every other file of a part belongs to an array that is described, or is told by the root's.
    sets = [one for one in document["distribution"] if one["@type"] == "cr:FileSet"]
    described = {path for one in sets for path in card.glob(one["includes"]) if path.is_file()}
    stored = {path for part in parts for path in (card / "refcoco.zarr" / part).rglob("*") if path.is_file()}
    assert {path for path in stored - described if path.name not in ("zarr.json", "rejects.jsonl")} == set()


def test_the_front_matter_is_yaml_of_the_fields_that_the_hub_knows(stores: Path, tmp_path: Path) -> None:
    found = front_matter(write(stores / "refcoco.zarr", tmp_path / "card"))
    assert found == {
        "pretty_name": "gRefCOCO for training",
        "license": "other",
        "license_name": "grefcoco-licences",
        "license_link": "https://cocodataset.org/#termsofuse",
        "language": ["en"],
        "task_categories": ["image-segmentation", "mask-generation"],
        "size_categories": ["n<1K"],
        "tags": ["segmentation", "zarr", "resizeonce", "refcoco", "referring-expressions"],
        "configs": [
            {
                "config_name": "preview",
                "data_files": [{"split": "train", "path": "preview/preview.parquet"}],
            }
        ],
    }
    assert front_matter(write(stores / "sav.zarr", tmp_path / "pairs"))["license"] == ["cc-by-4.0"]


def test_every_source_has_its_licences_and_citations_or_asks_its_owner() -> None:
    for name in SOURCES:
        origin = origin_of({"name": name, "dataset": name})
        assert (origin.licences and origin.citations) or origin.note, name
    for name in ("refcoco", "refcoco+", "refcocog", "grefcoco"):
        assert origin_of({"name": "refcoco", "dataset": name}) is ORIGINS[name]
    assert origin_of({"name": "npz"}) is origin_of({"name": "somebody's"}) is OWN
    for origin in ORIGINS.values():
        for licence in origin.licences:
            assert licence.identifier in HUB_LICENCES or licence.address.startswith("https://")
        for citation in origin.citations:
            assert re.match(r"@[a-z]+\{[a-z0-9]+,\n", citation)
            assert citation.count("{") == citation.count("}")
            assert {"title = {", "author = {", "year = {"} <= set(re.findall(r"[a-z]+ = \{", citation))


def test_the_licences_and_citations_stand_in_both_files(stores: Path, tmp_path: Path) -> None:
    card = write(stores / "refcoco.zarr", tmp_path / "card")
    page, document = (
        (card / "README.md").read_text(),
        json.loads((card / "croissant.json").read_text()),
    )
    for licence in ORIGINS["grefcoco"].licences:
        assert f"[{licence.name}](<{licence.address}>)" in page
        assert licence.address in document["license"]
    for citation in ORIGINS["grefcoco"].citations:
        assert citation in page
        assert citation in document["citeAs"]


def test_the_owner_of_data_is_asked_for_its_licence_and_may_give_it(stores: Path, tmp_path: Path) -> None:
    asked = write(stores / "folders.zarr", tmp_path / "asked")
    assert front_matter(asked)["license"] == "unknown"
    assert front_matter(asked)["pretty_name"] == "folders"
    assert (asked / "README.md").read_text().count("**To be filled in by the owner.**") == 2
    given = write(
        stores / "folders.zarr",
        tmp_path / "given",
        name="Cells: of 'mice'\n#1",
        licence="cc0-1.0",
        address="https://example.org/cells",
    )
    assert front_matter(given)["license"] == ["cc0-1.0"]
    assert front_matter(given)["pretty_name"] == "Cells: of 'mice'\\n#1"
    document = json.loads((given / "croissant.json").read_text())
    assert (document["license"], document["url"]) == (["cc0-1.0"], "https://example.org/cells")


def test_pyarrow_and_pillow_read_the_preview_and_the_hub_is_told_its_features(
    stores: Path, tmp_path: Path
) -> None:
    card = write(stores / "refcoco.zarr", tmp_path / "card", count=100)
    file = parquet.ParquetFile(card / "preview/preview.parquet")
    store = Store(stores / "refcoco.zarr")
    rows = file.read().to_pylist()
    assert [row["key"] for row in rows] == [store.key(number) for number in range(len(store))]
    assert [row["expressions"] for row in rows] == [store.expressions(number) for number in range(len(store))]
    for row in rows:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert (picture.format, picture.height) == ("JPEG", 48)
    features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == file.schema_arrow.names == ["image", "key", "category", "expressions"]
    assert features["image"] == {"_type": "Image"}
    names = features["category"]["names"]
    places = [store.locate(number) for number in range(len(store))]
    categories = [part.text("masks/category", masks.item(0)) for part, masks in places]
    assert [names[row["category"]] for row in rows] == categories


def test_the_samples_of_a_preview_are_those_of_the_seed(stores: Path, tmp_path: Path) -> None:
    read = [
        (
            write(stores / "refcoco.zarr", tmp_path / str(n), seed=seed) / "preview/preview.parquet"
        ).read_bytes()
        for n, seed in enumerate((1, 1, 2))
    ]
    assert read[0] == read[1] != read[2]


def test_the_hub_s_library_loads_the_preview(stores: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip(
        "datasets", reason="the library `datasets` is not installed, whose reading this compares"
    )
    card = write(stores / "refcoco.zarr", tmp_path / "card")
    loaded = datasets.load_dataset(str(card), "preview", cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded[0]["image"].height == 48
    assert loaded.features["category"].names


def first_batch(path: str, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield what a `BatchLoader` would begin with, without its processes."""
    yield Store(path).batch(range(batch_size))


def test_the_code_on_the_page_reads_the_store(
    stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = write(stores / "sav.zarr", tmp_path / "card")
    (code,) = re.findall(r"```python\n(.*?)```", (card / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(card)
    monkeypatch.setitem(vars(loader), "BatchLoader", first_batch)
    exec(code, {})
    assert "(2, 3, 14, 14) ['sav/" in capsys.readouterr().out


def test_the_page_shows_strangers_text_as_it_is(stores: Path, tmp_path: Path) -> None:
    store = tmp_path / "evil.zarr"
    store.mkdir()
    content = json.loads((stores / "coco.zarr/zarr.json").read_text())
    attributes = content["attributes"]["resizeonce"]
    attributes["versions"] = {"<script>alert(1)</script>": "![x](http://evil) | \x1b[2J"}
    attributes["totals"]["skips"] = {"a | b\n\n# <img src=x> [c](d)": 3}
    attributes["job"]["source"]["images"] = "```\n<script>"
    attributes["job"]["source"]["split"] = "train\nlicense: mit"
    attributes["sha256"] = attributes_digest(attributes)
    (store / "zarr.json").write_text(json.dumps(content))
    write_card(store, tmp_path / "card", CardOptions(name='"quoted" <b>: |', today=DAY))
    page = (tmp_path / "card/README.md").read_text()
    assert front_matter(tmp_path / "card")["pretty_name"] == '"quoted" <b>: |'
    assert "\x1b" not in page
    prose = re.sub("^```.*?^```$", "", page.partition("\n---\n")[2], flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in prose
    assert "<img" not in prose
    assert r"| a \| b\\n\\n\# &lt;img src=x&gt; \[c\](d) | 3 |" in prose


def card(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["card", *map(str, arguments)])


def test_a_card_replaces_no_file_unless_it_is_told_to(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    refused = card(stores / "coco.zarr", "-o", tmp_path)
    assert refused.exit_code == 2
    assert refused.output == (
        f"error: {tmp_path}/README.md is there already: give another folder, or --overwrite to replace it\n"
    )
    assert (tmp_path / "README.md").read_text() == "mine"
    written = card(stores / "coco.zarr", "-o", tmp_path, "--overwrite")
    files = [f"{tmp_path}/README.md", f"{tmp_path}/croissant.json"]
    assert written.output.splitlines() == files
    again = card(stores / "coco.zarr", "-o", tmp_path, "--overwrite", "--json")
    assert json.loads(again.output) == {"files": files}
    assert "configs" not in front_matter(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "{stores}/coco.zarr/card"], "is in the store"),
        (["-o", "{stores}/refcoco.zarr/part-00000"], "is in the store"),
        (["-o", "{stores}/coco.zarr/zarr.json"], "it is no folder"),
        (["-o", "{out}", "--parquet", "{stores}/coco.zarr/zarr.json"], "it is no folder"),
        (["-o", "{out}.loop"], "it is no folder"),
        (["-o", "{out}.loop/card"], "Too many levels of symbolic links"),
        (["-o", "{out}", "--parquet", "{stores}"], "is outside of the card's folder"),
        (["-o", "{out}", "--license", "my licence"], "is no identifier of a licence"),
    ],
)
def test_what_can_t_be_a_card_is_refused_before_anything_is_written(
    stores: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    (tmp_path / "out.loop").symlink_to("out.loop")
    refused = card(stores / "coco.zarr", *(option.format(stores=stores, out=out) for option in options))
    assert refused.exit_code == 2
    assert message in refused.output
    assert not out.exists()


def test_a_card_may_lie_below_a_zarr_group_that_is_no_store(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    assert card(stores / "coco.zarr", "-o", tmp_path / "card").exit_code == 0
    assert (tmp_path / "card/README.md").is_file()


def test_a_store_at_a_url_is_named_by_it_without_secrets(stores: Path, tmp_path: Path) -> None:
    with published(stores) as publisher:
        url = publisher.url.replace("://", "://somebody:secret@") + "/refcoco.zarr"
        write_card(url, tmp_path / "card", CardOptions(today=DAY))
        public = f"{publisher.url}/refcoco.zarr"
    texts = [(tmp_path / "card" / name).read_text() for name in ("README.md", "croissant.json")]
    assert f'BatchLoader("{public}"' in texts[0]
    assert f'"contentUrl": "{public}/zarr.json"' in texts[1]
    assert not any("secret" in text or "somebody" in text for text in texts)


def test_a_folder_that_can_t_be_written_to_is_an_error_in_a_line(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = card(stores / "coco.zarr", "-o", tmp_path / "file" / "card")
    assert refused.exit_code == 2
    assert refused.output == f"error: can't write {tmp_path}/file/card/README.md: Not a directory\n"


def test_without_pyarrow_a_preview_is_refused_with_what_to_install(
    stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = card(stores / "coco.zarr", "-o", tmp_path / "out", "--parquet", tmp_path / "out")
    assert refused.exit_code == 2
    assert refused.output == (
        "error: a preview in Parquet needs the package pyarrow, which is not installed: pip install 'resizeonce[card]'\n"
    )
    assert not (tmp_path / "out").exists()
