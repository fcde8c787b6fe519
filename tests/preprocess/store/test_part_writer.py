"""What the part writer accepts and refuses, record by record."""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from miniature.shapes import ellipse_of, picture_of

from resizeonce.loader.format.layout import array_specs
from resizeonce.loader.part import Part
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.run.sift import sift
from resizeonce.preprocess.sources.records import Frame, Mask, Pair, Record, Reject, Skip
from resizeonce.preprocess.store import columns
from resizeonce.preprocess.store.part_writer import PartSummary, PartWriter, RejectedError
from resizeonce.preprocess.tensors.engine import PILLOW
from resizeonce.preprocess.tensors.recipe import make_tensors
from resizeonce.preprocess.tensors.views import Views

Made = TypeVar("Made")

RECIPE = parse_config(
    {
        "source": {"name": "coco"},
        "recipe": {"pixel_values": {"size": 8}, "g_pixel_values": {"size": 12}, "masks": {"size": 12}},
    }
).recipe


def mask(object_id: str = "a", height: int = 30, width: int = 40, **fields: Any) -> Mask:
    return Mask(object_id, Rle.of_array(ellipse_of(height, width, 1)), **fields)


def frame(*masks: Mask, key: str = "x/1", time: int = 0) -> Frame:
    return Frame(key, f"{key}.jpg", picture_of(30, 40, time), masks, time)


def add(writer: PartWriter, record: Record) -> None:
    if isinstance(record, Frame):
        writer.add_frame(record, make_tensors(record.image, record.segmentations, RECIPE, PILLOW))
    else:
        writer.add(record)


def write(
    folder: Path, records: list[Record], **options: Any
) -> tuple[PartSummary, Part, list[dict[str, str]]]:
    folder.mkdir(exist_ok=True)
    with PartWriter(folder, 0, RECIPE, **{"paired": False, **options}) as writer:
        writer.start_scene(7, "x")
        for record in sift(records, RECIPE, writer.room):
            add(writer, record)
        summary = writer.commit()
    specs = {spec.path: spec for spec in array_specs(RECIPE, 2 if options.get("paired") else 1)}
    part = Part(folder / "part-00000", specs, summary.digest)
    path = folder / "part-00000" / "rejects.jsonl"
    rejects = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return summary, part, rejects


def test_an_image_is_stored_once_with_all_of_its_masks(tmp_path: Path) -> None:
    summary, part, rejects = write(tmp_path, [frame(mask("a"), mask("b"), mask("c"))])
    assert summary.rows == {"images": 1, "masks": 3, "expressions": 0, "samples": 3, "scenes": 1}
    assert part.column("masks/image").tolist() == [0, 0, 0]
    assert part.column("samples/mask").tolist() == [[0], [1], [2]]
    assert part.column("images/size").tolist() == [[30, 40]]
    assert part.column("images/scene").tolist() == [7]
    assert not rejects


def test_expressions_keep_their_letters_and_their_order(tmp_path: Path) -> None:
    words = ("la señora", "人", "", "a\nb")
    _, part, _ = write(
        tmp_path, [frame(mask("a"), mask("b", expressions=words), mask("c", expressions=("x",)))]
    )
    assert [part.expressions(row) for row in range(3)] == [[], list(words), ["x"]]


def test_half_a_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    _, part, _ = write(tmp_path, [frame(mask("a", category="x\ud800y"))])
    assert part.text("masks/category", 0) == "x?y"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Mask("b", Rle.of_array(np.zeros((30, 40), np.bool_))), "the mask covers no pixel"),
        (mask("b", 40, 30), "the mask is 40 x 30 but its image is 30 x 40"),
        (mask("a"), "a second mask of the same object"),
    ],
)
def test_a_bad_mask_is_rejected_and_the_others_stay(tmp_path: Path, bad: Mask, reason: str) -> None:
    summary, part, rejects = write(tmp_path, [frame(mask("a"), bad, mask("c"))])
    assert summary.rows["masks"] == 2
    assert [part.text("masks/object_id", row) for row in range(2)] == ["a", "c"]
    assert [(r["key"], r["path"], r["stage"]) for r in rejects] == [
        (f"x/1/{bad.object_id}", "x/1.jpg", "mask")
    ]
    assert reason in rejects[0]["reason"]


def test_a_mask_of_another_resolution_of_the_same_picture_is_right(tmp_path: Path) -> None:
    summary, part, _ = write(tmp_path, [frame(mask("a", 60, 80))])
    assert summary.rows["masks"] == 1
    assert part.column("masks/area").tolist() == [int(ellipse_of(60, 80, 1).sum())]


def test_an_empty_mask_is_kept_where_that_is_a_valid_answer(tmp_path: Path) -> None:
    empty = Mask("none", Rle.of_array(np.zeros((30, 40), np.bool_)), may_be_empty=True)
    summary, part, rejects = write(tmp_path, [frame(empty)])
    assert (summary.rows["masks"], summary.empty_prompts, len(rejects)) == (1, 1, 0)
    assert not part.array("masks/masks").row(0).any()


def test_an_image_without_a_usable_mask_is_not_stored(tmp_path: Path) -> None:
    summary, _, _ = write(tmp_path, [frame(), frame(mask("b", 40, 30), key="x/2")])
    assert summary.rows["images"] == 0
    assert summary.skips == {"image without masks": 1}
    assert summary.rejects == {"mask": 1}


def test_a_part_without_any_row_is_a_part(tmp_path: Path) -> None:
    summary, part, rejects = write(tmp_path, [Reject("x/1", "1.jpg", "read", "gone"), Skip("crowd", 3)])
    assert summary.rows == {"images": 0, "masks": 0, "expressions": 0, "samples": 0, "scenes": 1}
    assert part.column("images/key_offsets").tolist() == [0]
    assert len(part.array("images/pixel_values")) == 0
    assert (len(rejects), summary.skips) == (1, {"crowd": 3})


def test_a_pair_joins_the_rows_of_its_two_frames(tmp_path: Path) -> None:
    records: list[Record] = [
        frame(mask("a"), mask("b"), key="x/0", time=0),
        frame(mask("b"), key="x/4", time=4),
        frame(mask("a"), key="x/8", time=8),
        Pair("a", 0, 8, ("x/0", "x/8")),
        Pair("b", 0, 4, ("x/0", "x/4")),
    ]
    summary, part, _ = write(tmp_path, records, paired=True)
    assert part.column("samples/mask").tolist() == [[0, 3], [1, 2]]
    assert summary.rows["samples"] == 2
    assert part.key([0, 3]) == "x/0+8/a"


def test_a_rejected_pair_has_the_key_its_sample_would_have(tmp_path: Path) -> None:
    good: list[Record] = [
        frame(mask("a"), key="x/00000", time=0),
        frame(mask("a"), key="x/00004", time=4),
        Pair("a", 0, 4, ("x/00000", "x/00004")),
    ]
    _, part, _ = write(tmp_path / "good", good, paired=True)
    bad = [good[0], Reject("x/00004", "4.jpg", "decode", "cut"), good[2]]
    summary, _, rejects = write(tmp_path / "bad", bad, paired=True)
    assert summary.rows["samples"] == 0
    assert part.key(part.column("samples/mask")[0].tolist()) == "x/00000+00004/a"
    assert (rejects[1]["key"], rejects[1]["stage"]) == ("x/00000+00004/a", "pair")
    assert "in frame 00004" in rejects[1]["reason"]


def test_a_rejected_pair_names_the_file_of_the_frame_or_mask_that_is_missing(tmp_path: Path) -> None:
    empty = Mask("a", Rle.of_array(np.zeros((30, 40), np.bool_)), path="masks/8.png")
    records: list[Record] = [
        frame(mask("a"), mask("b"), key="x/0", time=0),
        Reject("x/4", "4.jpg", "decode", "cut"),
        frame(empty, mask("b"), key="x/8", time=8),
        Pair("a", 0, 4, ("x/0", "x/4")),
        Pair("a", 0, 8, ("x/0", "x/8")),
        Pair("a", 4, 8, ("x/4", "x/8")),
        Pair("b", 0, 8, ("x/0", "x/8")),
    ]
    summary, _, rejects = write(tmp_path, records, paired=True)
    assert summary.rows["samples"] == 1
    assert [(reject["key"], reject["path"]) for reject in rejects] == [
        ("x/4", "4.jpg"),
        ("x/8/a", "masks/8.png"),
        ("x/0+4/a", "4.jpg"),
        ("x/0+8/a", "masks/8.png"),
        ("x/4+8/a", "4.jpg"),
    ]
    assert "in frame 4 and 8" in rejects[4]["reason"]


@pytest.mark.parametrize(
    "bad",
    [
        Mask("b", Rle.of_array(np.zeros((30, 40), np.bool_)), path="masks/b.png"),
        Mask("b", Rle.of_array(np.ones((40, 30), np.bool_)), path="masks/b.png"),
        Mask("a", Rle.of_array(np.ones((30, 40), np.bool_)), path="masks/b.png"),
    ],
    ids=["empty", "of another size", "second of its object"],
)
def test_a_mask_that_is_a_file_is_rejected_under_its_own_path(tmp_path: Path, bad: Mask) -> None:
    _, _, (reject,) = write(tmp_path, [frame(mask("a"), bad)])
    assert (reject["key"], reject["path"]) == (f"x/1/{bad.object_id}", "masks/b.png")


def test_no_mask_is_written_that_no_sample_may_use(tmp_path: Path) -> None:
    summary, _, _ = write(tmp_path, [frame(mask("a"), mask("b"), mask("c"))], max_samples=2)
    assert summary.rows == {"images": 1, "masks": 2, "expressions": 0, "samples": 2, "scenes": 1}


def test_tensors_are_made_as_they_are_written_and_of_no_mask_that_is_left_out(tmp_path: Path) -> None:
    (_, whole) = sift([frame(mask("a"), mask("b", 40, 30), mask("c"))], RECIPE)
    assert isinstance(whole, Frame)
    views = make_tensors(whole.image, whole.segmentations, RECIPE, PILLOW)
    made: list[str] = []

    def noted(name: str, make: Callable[[], Made]) -> Callable[[], Made]:
        def make_noted() -> Made:
            made.append(name)
            return make()

        return make_noted

    masks = [noted(one.object_id, make) for one, make in zip(whole.masks, views.masks, strict=True)]
    with PartWriter(tmp_path, 0, RECIPE, paired=False) as writer:
        writer.start_scene(0, "x")
        writer.add_frame(whole, Views(noted("images", views.images), masks))
        assert made == ["images", "a", "c"]


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    records: list[Record] = [frame(mask("a")), Reject("x/2", "2.jpg", "read", "gone")]
    with pytest.raises(RejectedError, match="gone"):
        write(tmp_path, records, stop_on_reject=True)
    assert list(tmp_path.rglob("*")) == [tmp_path / ".attempts"]


def test_leaving_without_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    with PartWriter(tmp_path, 0, RECIPE, paired=False) as writer:
        writer.start_scene(0, "x")
        add(writer, frame(mask("a")))
    assert list(tmp_path.rglob("*")) == [tmp_path / ".attempts"]


def test_a_part_takes_no_more_memory_with_more_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BUFFER_BYTES", 1 << 10)
    masks = [mask(f"object {number}") for number in range(100)]
    with PartWriter(tmp_path, 0, RECIPE, paired=False) as writer:
        tracemalloc.start()
        held = []
        for scene in range(12):
            writer.start_scene(scene, f"x/{scene}")
            add(writer, frame(*masks, key=f"x/{scene}"))
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    # 700 masks lie between; the index of the file of masks keeps 16 bytes of each, columns in memory kept 800.
    assert held[-1] - held[4] < 700 * 100
