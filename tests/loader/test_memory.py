"""How much memory there is, read from folders that look as Linux's do."""

from pathlib import Path

import pytest

from loader import memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free, where this process is in the group /user/job."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable:   {8 * GIB // 1024} kB\n"
    )
    (tmp_path / "proc/self/cgroup").write_text("0::/user/job\n")
    (tmp_path / "cgroup/user/job").mkdir(parents=True)
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    return tmp_path


def test_what_is_free_counts_where_nothing_limits_it(machine: Path) -> None:
    (machine / "cgroup/user/job/memory.max").write_text("max\n")
    assert memory.available_bytes() == 8 * GIB


@pytest.mark.parametrize("group", ["user/job", "user", "."])
def test_the_limit_of_any_group_counts(machine: Path, group: str) -> None:
    (machine / "cgroup" / group / "memory.max").write_text(f"{2 * GIB}\n")
    assert memory.available_bytes() == 2 * GIB


def test_a_limit_above_what_is_free_changes_nothing(machine: Path) -> None:
    (machine / "cgroup/user/job/memory.max").write_text(f"{99 * GIB}\n")
    assert memory.available_bytes() == 8 * GIB


def test_groups_of_the_first_version_count(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/b/c\n")
    (machine / "cgroup/memory/b/c").mkdir(parents=True)
    (machine / "cgroup/memory/b/memory.limit_in_bytes").write_text(f"{GIB}\n")
    assert memory.available_bytes() == GIB


def test_a_group_that_is_not_mounted_here_limits_nothing(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("0::/of/the/host\n")
    assert memory.available_bytes() == 8 * GIB


def test_nothing_is_hoped_for_where_the_system_does_not_tell(machine: Path) -> None:
    (machine / "proc/meminfo").unlink()
    assert memory.available_bytes() == 0
