"""Functions in child processes."""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yolort.tools import _processes
from yolort.tools._processes import Child, ChildError, Jobs


def _work(number: int) -> dict[str, Any]:
    return {"found": number}


def _hang(*_: Any) -> dict[str, Any]:
    time.sleep(60)
    return {}


def _crash(*_: Any) -> dict[str, Any]:
    os._exit(7)


def _fail(*_: Any) -> dict[str, Any]:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("work", "text"),
    [
        pytest.param(_hang, "it took more than", marks=pytest.mark.slow),
        (_crash, "status 7"),
        (_fail, "failed: .*No space left"),
    ],
)
def test_a_trial_that_hangs_crashes_or_fails(work: Callable[..., dict[str, Any]], text: str) -> None:
    done, good = Jobs().run(work, [(), ()], 20.0 if work is not _hang else 1.0)[0], Jobs().run(_work, [(3,)], 60)[0]
    assert done["failed"]
    assert re.search(text, done["note"])
    assert good["found"] == 3 and good["seconds"] > 0


def _threads() -> dict[str, Any]:
    return {"threads": os.environ.get("YOLORT_THREADS")}


def test_the_share_of_the_cores_that_a_worker_has() -> None:
    assert _processes._in_child(_threads, (), 60.0, 3)["threads"] == "3"
    assert _processes._in_child(_threads, (), 60.0)["threads"] == os.environ.get("YOLORT_THREADS")


def _print_and_crash() -> None:
    print("loading\n\nweights", flush=True)
    os.write(2, b"terminate called: no memory\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def _start_another() -> int:
    """Also a process that would outlive its parent."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _ends(*processes: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end and any(map(_runs, processes)):
        time.sleep(0.05)
    return not any(map(_runs, processes))


def test_a_child_continues_after_a_failed_function() -> None:
    with Child() as child:
        with pytest.raises(ChildError, match="No space left"):
            child.call(_fail)
        assert child.call(_work, 3) == {"found": 3}
        assert child.call(os.getpid) == child.call(os.getsid, 0) == child.pid
    with pytest.raises(ChildError, match="signal 9"):
        child.call(_work, 3)


def test_a_child_that_crashes_is_quoted() -> None:
    with Child(quiet=True) as child, pytest.raises(ChildError) as caught:
        child.call(_print_and_crash)
    said = "its process ended unexpectedly (signal 11); it last printed: weights terminate called: no memory"
    assert str(caught.value) == said


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_child_ends_with_all_it_started() -> None:
    with Child() as child:
        processes = child.pid, child.call(_start_another)
        assert all(map(_runs, processes))
        with pytest.raises(ChildError, match="it took more than 0 minutes"):
            child.call(_hang, seconds=0.2)
        assert _ends(*processes)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_child_ends_with_its_parent() -> None:
    program = """
from test_processes import Child, _hang, _start_another
child = Child()  # in a script without the usual guard: the child does not run it again
print(child.pid, child.call(_start_another), flush=True)
child.call(_hang)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        processes = [int(number) for number in parent.stdout.readline().split()]
        assert len(processes) == 2
        assert all(map(_runs, processes))
        parent.kill()
    assert _ends(*processes)


def test_exit_handlers_of_a_job_run(tmp_path: Path) -> None:
    assert Jobs().run(_write_at_exit, [(str(tmp_path / "late.txt"),)], 60)[0]["seconds"] > 0
    assert (tmp_path / "late.txt").read_text() == "written"


def _write_at_exit(path: str) -> dict[str, Any]:
    atexit.register(Path(path).write_text, "written")
    return {}
