"""What limits, whether a step waits, and what is printed of it, for rates that are made up: worked out by hand."""

from dataclasses import replace

import pytest

from resizeonce.preprocess.look.rates import BenchOptions, Measured, Outlook, Rates, Step
from resizeonce.preprocess.look.rates_text import rate_lines, step_facts, step_lines


def measured(what: str, *rates: float) -> Measured:
    return Measured(what, rates, samples=100, bytes_per_sample=4e6)


RATES = Rates(
    store="some.zarr",
    options=BenchOptions(workers=2, ranks=8),
    samples=1000,
    # 100 images of 4 MB, with ten samples each.
    bytes=400_000_000,
    row_bytes_per_sample=4e6,
    batch_bytes_per_sample=10e6,
    cores=16,
    free_bytes=10**12,
    stays_in_memory=True,
    parts_read=4,
    disk_not_measured="",
    network=None,
    disk=measured("disk", 90, 110, 100),
    memory=measured("memory", 9000),
    one_core=measured("one core", 500),
    batches=measured("two workers", 800),
)
STEP = Step(seconds=0.05, ranks=8, batch_size=8)
"""Takes 1280 samples a second."""
SLOW_STEP = Step(seconds=0.4, ranks=8, batch_size=8)


def test_sixteen_workers_fill_eight_times_what_two_do() -> None:
    assert RATES.limits["later"]["processor"] == 16 * 800 / 2


def test_of_a_store_that_stays_in_memory_the_disk_gives_each_image_once() -> None:
    # 400 MB/s are 100 images, and so 1000 samples, a second.
    assert RATES.limits["first"]["disk"] == 1000
    assert "disk" not in RATES.limits["later"]


def test_of_a_store_that_does_not_the_disk_gives_each_sample_its_rows_in_each_epoch() -> None:
    limits = replace(RATES, stays_in_memory=False).limits
    assert list(limits) == ["each"]
    assert limits["each"]["disk"] == 100


def test_memory_gives_no_less_than_the_batches_that_went_through_it() -> None:
    assert replace(RATES, memory=measured("memory", 300)).limits["later"]["memory"] == 800


def test_of_a_url_the_network_counts_in_the_first_epoch() -> None:
    assert replace(RATES, network=measured("network", 50)).limits["first"]["network"] == 50


def test_a_step_waits_in_the_first_epoch_only() -> None:
    facts = step_facts(RATES, STEP)
    assert facts["epochs"]["first"] == {
        "samples_per_second": 1000,
        "limit": "disk",
        "waits": pytest.approx(1 - 1000 / 1280),
    }
    assert facts["epochs"]["later"]["waits"] == 0
    # One worker of each rank fills 8 x 400.
    assert facts["workers_enough"] == 1
    first, later, workers, beyond = list(step_lines(RATES, STEP))[-4:]
    assert first.split() == ["first", "epoch", "1,000", "disk", "22%", "64", "ms"]
    assert later.split()[-4:] == ["processor", "0%", "50", "ms"]
    assert workers == "workers   1 for each rank fills as many"
    assert beyond == "          but the disk gives no more, however many they are"


def test_too_few_cores_are_said_with_how_many_it_takes() -> None:
    # 8 x 8 samples in 5 ms are 12,800 a second; a core fills 400 of them.
    *_, workers, _ = step_lines(RATES, Step(seconds=0.005, ranks=8, batch_size=8))
    assert workers == "workers   too few cores: filling as many takes 32.0 of them, and there are 16"


def test_runs_that_differ_by_more_than_twice_are_called_unsteady() -> None:
    assert not any(line.startswith("unsteady") for line in rate_lines(RATES))
    busy = replace(RATES, batches=measured("two workers", 300, 700, 500))
    assert any(line.startswith("unsteady") for line in rate_lines(busy))


def test_the_lines_fit_into_80_columns_with_large_numbers_too() -> None:
    fast = Measured("batches, by 128 processes", (40_000, 123_456, 130_000), 9_999_999, 9.75e5)
    rates = replace(
        RATES,
        options=BenchOptions(batch_size=256, workers=128, ranks=1024, seed=12345),
        network=measured("network, whole parts", 50),
        batches=fast,
        bytes=10**7,
        free_bytes=2 * 10**12,
        disk_not_measured="100% of the files stay in memory (tmpfs? in use?)",
    )
    for step in (Step(seconds=0.4, ranks=1024, batch_size=256), Step(seconds=1, ranks=1, batch_size=1)):
        for waiting in (rates, replace(rates, disk=None, network=None, stays_in_memory=False)):
            lines = [*rate_lines(waiting), *step_lines(waiting, step)]
            assert [line for line in lines if len(line) > 80] == []


def test_all_ranks_take_a_batch_in_each_step() -> None:
    # 8 ranks x 8 samples, 2.5 steps a second.
    assert SLOW_STEP.needed == 160


def test_the_slowest_part_of_the_path_decides() -> None:
    limits = {"processor": 900.0, "disk": 320.0, "memory": 4000.0}
    assert SLOW_STEP.outlook(limits) == Outlook(320.0, "disk", 0.0)


def test_a_step_of_twice_the_time_waits_half_of_it() -> None:
    # 64 samples at 80 a second take 800 ms, of which the step itself has 400.
    limits = {"processor": 900.0, "disk": 80.0}
    assert SLOW_STEP.outlook(limits) == Outlook(80.0, "disk", 0.5)


def test_a_step_that_takes_just_what_there_is_does_not_wait() -> None:
    assert SLOW_STEP.outlook({"disk": 160.0}).waits == 0


def hundred_per_worker(cores: int, workers: int) -> Rates:
    """Return rates of 8 ranks of which each worker fills 100 samples a second."""
    at_once = min(max(workers, 1), cores)
    options = BenchOptions(workers=workers, ranks=8)
    return replace(RATES, cores=cores, options=options, batches=measured("batches", 100 * at_once))


@pytest.mark.parametrize(
    ("cores", "workers", "rate"),
    [
        (4, 2, 400),  # No more fill at once than there are cores.
        (64, 2, 1600),
        (64, 0, 800),  # Without workers each rank fills its own.
    ],
)
def test_how_many_samples_all_ranks_fill(cores: int, workers: int, rate: float) -> None:
    assert hundred_per_worker(cores, workers).limits["later"]["processor"] == rate


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
    assert hundred_per_worker(cores, 2).workers_for(needed) == workers
