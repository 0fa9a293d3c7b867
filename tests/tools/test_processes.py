"""Functions in processes of their own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("ultralytics")
pytest.importorskip("optuna")

from yolort.tools import _processes
from yolort.tools._processes import Jobs


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
    assert _processes._in_process(_threads, (), 60.0, 3)["threads"] == "3"
    assert _processes._in_process(_threads, (), 60.0)["threads"] == os.environ.get("YOLORT_THREADS")
