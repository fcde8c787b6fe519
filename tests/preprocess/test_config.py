from pathlib import Path

import pytest
from stores import CONFIGS

from resizeonce.loader.format.recipe import Recipe
from resizeonce.preprocess.config import load_config, parse_config
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.recipe_config import parse_recipe, spell_recipe
from resizeonce.preprocess.sources.registry import SOURCES
from resizeonce.preprocess.tensors.shipped import RECIPES


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_config(path)
    assert config.source in SOURCES
    assert config.recipe.name == "default"


def test_every_source_has_a_shipped_config() -> None:
    assert {load_config(path).source for path in CONFIGS.glob("*.toml")} == set(SOURCES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sauce": {}}, "unknown key 'sauce' (did you mean 'source'?)"),
        ({"source": {"name": "coca"}}, "source.name is 'coca' (did you mean 'coco'?)"),
        ({"source": {}}, "source.name is None; expected one of"),
        ({"source": {"name": "coco", "crowd": True}}, "unknown key 'source.crowd' (did you mean 'crowds'?)"),
        ({"source": {"name": "coco", "crowds": 1}}, "source.crowds is 1: Expected `bool`"),
        ({"source": 3}, "source is 3, expected a table [source]"),
        ({"source": {"name": "coco"}, "recipe": {"name": "sam"}}, "recipe.name is 'sam'"),
        (
            {"source": {"name": "coco"}, "recipe": {"masks": {"filter": "bilinear"}}},
            "recipe.masks.filter is 'bilinear': Invalid enum value 'bilinear'",
        ),
        ({"source": {"name": "coco"}, "recipe": {"masks": 3}}, "recipe.masks is 3, expected a table"),
        ({"source": {"name": "coco"}, "recipe": {"mask": {}}}, "(did you mean 'masks'?)"),
        (
            {"source": {"name": "coco"}, "recipe": {"masks": {"stored": "uint8"}}},
            "unknown key 'recipe.masks.stored'",
        ),
        (
            {"source": {"name": "coco"}, "recipe": {"masks": {"size": 0}}},
            "recipe.masks.size is 0: Expected `int` >= 1",
        ),
        ({"source": {"name": "coco"}, "store": {"scenes_per_part": 0}}, "store.scenes_per_part is 0"),
    ],
)
def test_a_wrong_config_is_refused_with_the_key_the_value_and_the_remedy(
    content: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(content, "x.toml")
    assert str(caught.value).startswith("x.toml: ")
    assert message in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('[source]\nname = "coco"\n', "utf-8-sig")
    assert load_config(path) == parse_config({"source": {"name": "coco"}})


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"[source]\nname = {'[' * 9999}\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(path)
    path.write_text("[source\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        load_config(path)
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "y.toml")


def test_a_shipped_config_is_found_by_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A dataset's folder is often called so.
    (tmp_path / "refcoco").mkdir()
    for path in CONFIGS.glob("*.toml"):
        assert load_config(path.stem) == load_config(path)
    assert load_config("coco", ["source.crowds=true"]) == load_config(
        CONFIGS / "coco.toml", ["source.crowds=true"]
    )
    with pytest.raises(ConfigError, match=r"^coco: unknown key 'source\.crowd'"):
        load_config("coco", ["source.crowd=true"])


def test_a_file_comes_before_the_shipped_config_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("coco", "coco.toml"):
        Path(name).write_text('[source]\nname = "coco"\nimages = "mine"\n')
    for config in ("coco", "./coco", "coco.toml", Path("coco")):
        options = load_config(config).settings()["source"]
        assert options["images"] == "mine"
    assert load_config("sa1b").source == "sa1b"


@pytest.mark.parametrize("config", ["refcoc", "REFCOCO", "./refcoco", "refcoco.toml", "configs/refcoco.toml"])
def test_an_unknown_config_is_refused_with_the_nearest_name_and_all_others(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    assert f"can't read the config {Path(config)}: No such file" in str(caught.value)
    assert "did you mean 'refcoco'?" in str(caught.value)
    listed = str(caught.value).partition("come with the package: ")[2]
    assert listed.split(", ") == [path.stem for path in sorted(CONFIGS.glob("*.toml"))]


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("source.crowds=true", lambda config: config.options.crowds is True),
        ("source.images=val2017", lambda config: config.options.images == "val2017"),
        ("source.images='val2017'", lambda config: config.options.images == "val2017"),
        ("store.scenes_per_part=7", lambda config: config.store.scenes_per_part == 7),
        (
            "recipe.prompt_masks.filter=cover",
            lambda config: config.recipe.views["prompt_masks"].filter == "cover",
        ),
    ],
)
def test_an_override_sets_one_key(override: str, found: object) -> None:
    assert callable(found)
    assert found(load_config(CONFIGS / "coco.toml", [override]))


@pytest.mark.parametrize("override", ["crowds=true", "source.crowds", "source.=3", ".x=3", "source.name.x=3"])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(CONFIGS / "coco.toml", [override])


def test_a_recipe_is_named_custom_once_a_setting_differs() -> None:
    def named(**recipe: object) -> str:
        return parse_config({"source": {"name": "coco"}, "recipe": recipe}).recipe.name

    assert named() == "default"
    assert named(name="sa2va") == "sa2va"
    assert named(name="sa2va", masks={"size": 1024}) == "sa2va"
    assert named(name="sa2va", masks={"size": 512}) == "custom"
    assert named(prompt_masks={"filter": "cover"}) == "custom"
    assert named(pixel_values={"stored": "float32"}) == "custom"
    assert named(name="custom") == "custom"


def test_the_two_recipes_are_those_of_the_design() -> None:
    def filters(name: str) -> list[str]:
        views = parse_config({"source": {"name": "coco"}, "recipe": {"name": name}}).recipe.views
        assert list(views) == ["pixel_values", "g_pixel_values", "prompt_masks", "masks"]
        assert [view.size for view in views.values()] == [(448, 448), (1024, 1024), (16, 16), (1024, 1024)]
        return [view.filter for view in views.values()]

    assert filters("default") == ["bilinear", "bilinear", "pillow-nearest", "pillow-nearest"]
    assert filters("sa2va") == ["bicubic", "bicubic", "torch-nearest", "torch-nearest"]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_goes_with_every_config_and_is_spelt_as_it_is(recipe: Recipe) -> None:
    for path in CONFIGS.glob("*.toml"):
        assert load_config(path, [f"recipe.name={recipe.name}"]).recipe == recipe
    assert parse_recipe(spell_recipe(recipe), "spelt") == recipe
