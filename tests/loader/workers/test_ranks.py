"""Which rank a loader takes itself for, and when it asks."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resizeonce.loader import BatchLoader, Ranks
from resizeonce.loader.workers.batch_loader import BatchOptions


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[Ranks]:
    """What `torch.distributed` says: nothing, until a test puts something in."""
    group: list[Ranks] = []
    monkeypatch.setattr(Ranks, "of_group", lambda: group[-1] if group else None)
    return group


def keys(loader: BatchLoader) -> list[str]:
    return [key for batch in loader for key in batch["key"]]


def test_a_group_that_comes_after_the_loader_counts(store: Path, group: list[Ranks]) -> None:
    whole = keys(BatchLoader(store, 1, 0))
    loaders = [BatchLoader(store, 1, 0) for _ in range(2)]
    found: list[list[str]] = []
    for rank, loader in enumerate(loaders):
        group[:] = [Ranks(rank, 2)]
        assert len(loader) == 5
        found.append(keys(loader))
    assert sorted(found[0] + found[1]) == sorted(whole)
    assert found[0] == whole[::2]


def test_a_place_is_the_same_before_and_after_the_group_is_there(store: Path, group: list[Ranks]) -> None:
    before = BatchLoader(store, 1, 0)
    iterator = iter(before)
    taken = [next(iterator)["key"][0] for _ in range(4)]
    state = before.state_dict()
    rest = [key for batch in iterator for key in batch["key"]]
    assert len(taken + rest) == 10
    after = BatchLoader(store, 1, 0)
    after.load_state_dict(state)
    group[:] = [Ranks(1, 2)]
    assert after.state_dict() == state
    assert keys(after) == rest[1::2]


def test_several_processes_without_a_group_are_an_error_when_the_first_iteration_begins(
    store: Path, group: list[Ranks], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = BatchLoader(store, 1, 0)
    assert len(loader) == 10
    with pytest.raises(RuntimeError, match="WORLD_SIZE is 2"):
        iter(loader)
    given = BatchLoader(store, 1, 0, options=BatchOptions(ranks=Ranks(1, 2)))
    assert len(keys(given)) == 5
    group[:] = [Ranks(0, 2)]
    assert len(keys(loader)) == 5


@pytest.mark.parametrize("later", [Ranks(0, 4), Ranks(1, 2), None])
def test_a_group_that_changed_is_an_error(store: Path, group: list[Ranks], later: Ranks | None) -> None:
    group[:] = [Ranks(0, 2)]
    loader = BatchLoader(store, 1, 0)
    assert len(keys(loader)) == 5
    group[:] = [later] if later else []
    with pytest.raises(RuntimeError, match=r"is of rank 0 of 2, and by now torch\.distributed has rank"):
        iter(loader)
    # A copy is a new loader, which asks anew.
    assert len(keys(copy.copy(loader))) == {4: 2, 2: 5}.get(later.world_size if later else 1, 10)


def test_ranks_that_are_given_are_not_asked_for(store: Path, group: list[Ranks]) -> None:
    loader = BatchLoader(store, 1, 0, options=BatchOptions(ranks=Ranks(0, 5)))
    group[:] = [Ranks(1, 2)]
    assert len(keys(loader)) == len(loader) == 2


def test_too_few_samples_for_every_rank_are_refused_at_once(store: Path, group: list[Ranks]) -> None:
    group[:] = [Ranks(0, 8)]
    with pytest.raises(ValueError, match="too few for batches of 4 on 8 ranks"):
        BatchLoader(store, 4, 0)


def test_too_few_samples_of_one_kind_for_every_rank_are_refused(
    store: Path, sentences: Path, group: list[Ranks]
) -> None:
    loader = BatchLoader([store, sentences], 1, 0)
    group[:] = [Ranks(0, 10)]
    with pytest.raises(
        ValueError, match="an epoch has 4 samples of a kind, too few for batches of 1 on 10 ranks"
    ):
        iter(loader)
    with pytest.raises(ValueError, match="too few"):
        BatchLoader([store, sentences], 1, 0)


def test_a_place_is_not_lost_by_a_look_at_the_length(store: Path, group: list[Ranks]) -> None:
    loader = BatchLoader(store, 1, 0)
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    other = copy.copy(loader)
    group[:] = [Ranks(0, 2)]
    assert len(other) == 5
    assert other.state_dict() == loader.state_dict()
    for _ in range(6):
        next(iterator)
    # As Lightning does, which asks for no batch after the last one.
    done = copy.copy(loader)
    assert len(done) == 5
    assert done.state_dict()["epoch"] == 1
    assert keys(done) == keys_of_epoch(store, 1)[::2]


def keys_of_epoch(store: Path, epoch: int) -> list[str]:
    loader = BatchLoader(store, 1, 0, options=BatchOptions(ranks=Ranks()))
    loader.set_epoch(epoch)
    return keys(loader)


TRAIN = """
import os, sys
import torch.distributed as dist
from resizeonce.loader import BatchLoader
from resizeonce.loader.order.plan import Ranks

assert Ranks.current() == Ranks(0, 1)
os.environ["WORLD_SIZE"] = "2"
# Two trainers, of which only one imports torch.
other = os.fork()
loader = BatchLoader(sys.argv[1], 1, 1)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(not other), world_size=2)
mine = [key for batch in loader for key in batch["key"]]
found = [None, None]
dist.all_gather_object(found, mine)
assert len(found[0]) == len(found[1]) == 5
assert len(set(found[0] + found[1])) == 10
assert Ranks.current() == Ranks(int(not other), 2)
dist.get_rank, dist.get_world_size = lambda: 2, lambda: 5
assert Ranks.current() == Ranks(2, 5)
dist.destroy_process_group()
if other:
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
"""


def test_ranks_are_those_of_torch_distributed_and_two_that_make_their_loaders_first_share_the_samples(
    store: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, str(store), str(tmp_path / "group")]
    environment = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    subprocess.run(command, env=environment, check=True, timeout=60)
