"""Whether a step waits, worked out by hand."""

import pytest

from resizeonce.preprocess.look.step_waits import Fillers, Outlook, Step, outlook

STEP = Step(seconds=0.4, ranks=8, batch_size=8)


def test_all_ranks_take_a_batch_in_each_step() -> None:
    # 8 ranks x 8 samples, 2.5 steps a second.
    assert STEP.needed == 160


def test_the_slowest_part_of_the_path_decides() -> None:
    assert outlook(STEP, {"processor": 900.0, "disk": 320.0, "memory": 4000.0}) == Outlook(320.0, "disk", 0.0)


def test_a_step_of_twice_the_time_waits_half_of_it() -> None:
    # 64 samples at 80 a second take 800 ms, of which the step itself has 400.
    assert outlook(STEP, {"processor": 900.0, "disk": 80.0}) == Outlook(80.0, "disk", 0.5)


def test_a_step_that_takes_just_what_there_is_does_not_wait() -> None:
    assert outlook(STEP, {"disk": 160.0}).waits == 0


def test_no_more_workers_fill_at_once_than_there_are_cores() -> None:
    assert Fillers(per_core=100, cores=4, ranks=8, workers=2).rate == 400
    assert Fillers(per_core=100, cores=64, ranks=8, workers=2).rate == 1600


def test_without_workers_each_rank_fills_its_own() -> None:
    assert Fillers(per_core=100, cores=64, ranks=8, workers=0).rate == 800


@pytest.mark.parametrize(
    ("needed", "cores", "workers"),
    [
        (160, 16, 1),  # Two would do for all, but each rank has one of its own.
        (800, 16, 1),
        (801, 16, 2),
        (1600, 16, 2),
        (1601, 16, None),  # More than 16 cores fill.
    ],
)
def test_how_many_workers_each_of_8_ranks_needs(needed: float, cores: int, workers: int | None) -> None:
    assert Fillers(per_core=100, cores=cores, ranks=8, workers=2).workers_for(needed) == workers
