"""How much memory there is, read from folders that look as Linux's do."""

from pathlib import Path

import pytest

from resizeonce.loader.readahead import free_memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free, where this process is in the group /user/job."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable:   {8 * GIB // 1024} kB\nSwapTotal: {GIB // 1024} kB\n"
    )
    (tmp_path / "proc/self/cgroup").write_text("0::/user/job\n")
    (tmp_path / "cgroup/user/job").mkdir(parents=True)
    monkeypatch.setattr(free_memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(free_memory, "CGROUPS", tmp_path / "cgroup")
    return tmp_path


def limit(group: Path, most: int, taken: int = 0, files: int = 0) -> None:
    """Limit a group, of whose memory some is taken, and some of that holds files."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon 5\nfile_mapped 7\nfile {files}\n")


def test_what_is_free_counts_where_nothing_limits_it(machine: Path) -> None:
    limit(machine / "cgroup/user/job", 0)
    (machine / "cgroup/user/job/memory.max").write_text("max\n")
    assert free_memory.available_bytes() == 8 * GIB


@pytest.mark.parametrize("group", ["user/job", "user", "."])
def test_the_limit_of_any_group_counts(machine: Path, group: str) -> None:
    limit(machine / "cgroup" / group, 2 * GIB)
    assert free_memory.available_bytes() == 2 * GIB


def test_what_a_group_has_taken_is_not_free_but_for_files(machine: Path) -> None:
    limit(machine / "cgroup/user", 5 * GIB, taken=4 * GIB, files=GIB)
    assert free_memory.available_bytes() == 2 * GIB
    limit(machine / "cgroup/user", 5 * GIB, taken=6 * GIB, files=0)
    assert free_memory.available_bytes() == 0


def test_a_limit_above_what_is_free_changes_nothing(machine: Path) -> None:
    limit(machine / "cgroup/user/job", 99 * GIB)
    assert free_memory.available_bytes() == 8 * GIB


def test_groups_of_the_first_version_count(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/b/c\n")
    group = machine / "cgroup/memory/b"
    (group / "c").mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(f"{3 * GIB}\n")
    (group / "memory.usage_in_bytes").write_text(f"{2 * GIB}\n")
    (group / "memory.stat").write_text(f"cache 3\ntotal_cache {GIB // 2}\n")
    assert free_memory.available_bytes() == GIB + GIB // 2


def test_a_group_that_is_not_mounted_here_limits_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/of/the/host\n")
    assert free_memory.available_bytes() == 8 * GIB


def test_nothing_is_hoped_for_where_the_system_does_not_tell(machine: Path) -> None:
    (machine / "proc/meminfo").unlink()
    assert free_memory.available_bytes() == 0


def test_there_is_as_much_as_the_machine_has_or_a_group_may_take_and_swap(machine: Path) -> None:
    assert free_memory.total_bytes() == 17 * GIB
    limit(machine / "cgroup/user", 2 * GIB, taken=GIB)
    assert free_memory.total_bytes() == 3 * GIB
    (machine / "proc/meminfo").write_text("MemFree: 1024 kB\n")
    assert free_memory.total_bytes() is None
    (machine / "proc/meminfo").unlink()
    assert free_memory.total_bytes() is None
