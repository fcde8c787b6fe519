import msgspec
import pytest

from resizeonce.preprocess.sources.files.stated_boxes import join_boxes, read_box, scale_box


@pytest.mark.parametrize(
    ("bbox", "corners"),
    [
        (b"[10, 20, 5, 6.5]", (10, 20, 15, 26.5)),
        (b'["10", "20", "5", "6"]', (10, 20, 15, 26)),
        (b"[-3, 0, 5, 6]", (-3, 0, 2, 6)),
        (b"null", None),
        (b"[]", None),
        (b"[1, 2, 3]", None),
        (b"[1, 2, 0, 0]", None),
        (b"[1, 2, -3, 4]", None),
        (b'[1, 2, "wide", 4]', None),
        (b'{"x": 1}', None),
        (b"[1, 2, 3, ", None),
    ],
)
def test_a_box_is_read_from_corner_and_size_and_what_is_none_is_not_compared(
    bbox: bytes, corners: tuple[float, ...] | None
) -> None:
    assert read_box(msgspec.Raw(bbox)) == corners


def test_of_several_objects_the_box_is_around_all_if_each_states_one() -> None:
    assert join_boxes([(0, 5, 10, 10), (4, 1, 20, 9)]) == (0, 1, 20, 10)
    assert join_boxes([(0, 5, 10, 10), None]) is None
    assert join_boxes([]) is None


def test_a_box_in_shares_is_one_in_pixels_of_the_mask() -> None:
    assert scale_box((0.1, 0.2, 0.5, 1.0), (200, 100)) == pytest.approx((10, 40, 50, 200))
