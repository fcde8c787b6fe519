"""Damaged raw datasets give a reject, a right sample or an error said on purpose. The long form is `make fuzz-inputs`."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from fuzz_inputs import DATASETS, TARGETS, Case, compare, fuzz, undamaged
from miniature.shapes import picture_of
from mutate_bytes import BYTES
from mutations import STRUCTURE
from naive import NaiveReader
from odd_places import PLACES
from PIL import Image

from resizeonce.loader import Store
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.registry import SOURCES

COUNT = len(TARGETS)


def test_damaged_files_give_rejects_right_samples_or_an_error_said_on_purpose(tmp_path: Path) -> None:
    # Other cases than the long form begins with.
    outcomes = list(fuzz((Case(number, 1_000_004) for number in range(COUNT)), tmp_path, workers=1))
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert len(outcomes) == COUNT
    endings = {outcome.ending for outcome in outcomes}
    assert endings == {"done", "rejects", "refused"}
    # Few: a damaged picture is a reject, so mostly it is other files whose samples can be looked at.
    assert sum(outcome.compared for outcome in outcomes) > 5


def test_every_source_and_every_format_is_damaged() -> None:
    assert {dataset.load_config().source for dataset in DATASETS.values()} == set(SOURCES)
    assert {form for _, _, form in TARGETS} == set(STRUCTURE)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "sav-mp4"])
def test_the_naive_reader_reads_what_was_converted(tmp_path: Path, name: str) -> None:
    """So that a finding of the fuzzer is the converter's fault and not the reader's."""
    base = undamaged(name, tmp_path)
    dataset = DATASETS[name]
    convert(dataset.load_config(), base.raw, tmp_path / "again.zarr")
    base.samples.clear()
    base.touches.clear()
    reader = NaiveReader(base.raw, dataset.load_config().source, dataset.refs)
    problem, compared = compare(base, tmp_path / "again.zarr", "", reader, quiet=True)
    assert problem == ""
    assert compared == len(Store(tmp_path / "again.zarr")) > 0


def test_a_wrong_picture_a_wrong_mask_and_a_lost_sample_are_findings(tmp_path: Path) -> None:
    base = undamaged("coco", tmp_path)
    dataset = DATASETS["coco"]
    store = tmp_path / "coco" / "store.zarr"
    reader = NaiveReader(base.raw, "coco")
    key = min(base.samples)

    annotations = "annotations/instances_train2017.json"
    base.samples[key] = (b"other",)
    assert "changed" in compare(base, store, "elsewhere", reader, quiet=True)[0]
    assert compare(base, store, annotations, reader, quiet=True) == ("", 1)
    base.samples["coco/1/12"] = (b"never there",)
    reader.listed = lambda: {"coco/1/12"}
    assert "nothing says so" in compare(base, store, annotations, reader, quiet=True)[0]

    for change, words in (
        (_swap_picture, "pixel_values is not the picture's"),
        (_swap_mask, "is not the object's"),
    ):
        raw = tmp_path / change.__name__
        dataset.write(raw)
        convert(dataset.load_config(), raw, tmp_path / f"{change.__name__}.zarr")
        change(raw)
        found = compare(
            base, tmp_path / f"{change.__name__}.zarr", annotations, NaiveReader(raw, "coco"), quiet=False
        )
        assert words in found[0]


def _swap_picture(raw: Path) -> None:
    Image.fromarray(picture_of(48, 64, 99)).save(raw / "train2017" / "000000000001.jpg")


def _swap_mask(raw: Path) -> None:
    path = raw / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace('"id": 10,', '"id": -1,').replace('"id": 11,', '"id": 10,'))


KINDS = dict.fromkeys([*BYTES.values(), *(change for form in STRUCTURE.values() for change in form)])


@pytest.mark.parametrize("change", KINDS, ids=lambda change: change.__name__)
def test_a_kind_of_damage_is_the_same_for_the_same_seed(tmp_path: Path, change: object) -> None:
    assert callable(change)
    forms = [form for form, changes in STRUCTURE.items() if change in changes] or ["json"]
    name, pattern, _ = next(target for target in TARGETS if target[2] == forms[0])
    DATASETS[name].write(tmp_path)
    content = min(tmp_path.glob(pattern)).read_bytes()
    results = [[change(content, Random(f"{seed}")) for seed in range(8)] for _ in range(2)]
    assert results[0] == results[1]
    assert any(result != content for result in results[0])


def test_every_kind_of_place_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "original").write_bytes(b"content")
    kinds = []
    for number, place in enumerate(PLACES):
        path = tmp_path / str(number)
        place(path, tmp_path / "outside")
        kinds.append(np.uint8(path.is_symlink() or path.is_dir() or path.is_fifo() or path.is_socket()))
    # All but the absent file and the huge one.
    assert sum(kinds) == len(PLACES) - 2
