"""Properties of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from yolort.tools import _system


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Fake control groups with this process in /service/worker."""
    worker = tmp_path / "groups/service/worker"
    worker.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/service/worker\n")
    (worker / "cpu.max").write_text("max 100000\n")
    (worker / "memory.max").write_text("1073741824\n")
    return tmp_path


def limits(groups: Path) -> _system.Limits:
    return _system.limits(groups / "groups", groups / "own")


def test_the_tightest_limit_of_the_groups_above_holds(groups: Path) -> None:
    assert limits(groups) == (None, 2**30)
    (groups / "groups/service/cpu.max").write_text("150000 100000\n")
    (groups / "groups/service/memory.max").write_text("max\n")
    assert limits(groups) == (1.5, 2**30)
    assert str(limits(groups)) == "1.5 cores, 1 GiB of memory"
    (groups / "groups/memory.max").write_text("536870912\n")
    assert limits(groups).memory == 2**29


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert _system.limits(tmp_path / "none", tmp_path / "none") == (None, None)
    assert str(_system.Limits(None, None)) == "none"
