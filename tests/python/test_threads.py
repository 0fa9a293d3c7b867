"""One Detector in many threads, forked and spawned processes, and the number of threads of an engine."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yolort
from known_models import Target

PROGRAM = """
import multiprocessing, os, sys
import yolort

ENGINE, MODEL = sys.argv[1:3]

def found():
    return len(yolort.Detector(MODEL, engine=ENGINE)(yolort.demo_image()))

def refusal(use):
    try:
        use()
    except RuntimeError as error:
        return str(error)

def child(detector, queue):
    uses = (lambda: detector(yolort.demo_image()), detector.clone) if detector else ()
    queue.put((*map(refusal, uses), found()))

def tell(method, detector):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(detector, queue))
    process.start()
    print(*queue.get(timeout=60), sep="|", flush=True)
    process.join(100)
    assert process.exitcode == 0, process.exitcode

if __name__ == "__main__":
    detector = yolort.Detector(MODEL, engine=ENGINE)
    print(len(detector(yolort.demo_image())), flush=True)
    tell(sys.argv[3], detector if sys.argv[3] == "fork" else None)
    print(len(detector(yolort.demo_image())), flush=True)
"""

COUNT = """
import os, sys, yolort
model, engine, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
before = len(os.listdir("/proc/self/task"))
detector = yolort.Detector(model, engine=engine, threads=threads)
detector(yolort.demo_image())
print(len(os.listdir("/proc/self/task")) - before)
"""


def model_of(target: Target) -> str:
    if target.device != "cpu":
        pytest.skip("the demo model runs on the CPU here")
    return str(yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx"))


def run(program: str, *arguments: object) -> list[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_threads_that_share_a_detector_get_the_results_of_one_thread(target: Target) -> None:
    detector = target.detector(yolort.demo_model("ncnn" if target.engine == "ncnn" else "onnx"))
    scene = yolort.images.read(yolort.demo_image())
    scenes = [np.ascontiguousarray(np.roll(scene, 40 * i, axis=1)[: 480 - 20 * i]) for i in range(8)]
    expected = [detector(scene) for scene in scenes]
    different: list[int] = []

    def work(first: int) -> None:
        for i in range(first, first + 10):
            found, right = detector(scenes[i % 8]), expected[i % 8]
            if not (np.array_equal(found.boxes, right.boxes) and np.array_equal(found.scores, right.scores)):
                different.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert different == []
    assert all(len(one) for one in expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_must_load_its_own_detector_except_on_ncnn(target: Target) -> None:
    before, child, after = run(PROGRAM, target.engine, model_of(target), "fork")
    message, of_clone, found = child.split("|")
    for refusal in (message, of_clone):
        assert refusal == "None" if target.engine == "ncnn" else "loaded before the process forked" in refusal
    assert before == found == after


def test_a_spawned_process_loads_its_own(target: Target, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, str(path), target.engine, model_of(target), "spawn"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    before, child, after = done.stdout.splitlines()
    assert before == child == after


def test_pickling_says_what_to_send_instead() -> None:
    with pytest.raises(TypeError, match="send the path of its model"):
        pickle.dumps(yolort.Detector(yolort.demo_model("ncnn"), engine="ncnn"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the threads in /proc")
@pytest.mark.skipif(os.cpu_count() == 1, reason="one core")
@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_the_thread_count_is_honoured(engine: str) -> None:
    if not {status.name: status.available for status in yolort.engines()}[engine]:
        pytest.skip(f"{engine} cannot run here")
    model = yolort.demo_model("ncnn" if engine == "ncnn" else "onnx")
    taken = [int(run(COUNT, model, engine, threads)[0]) for threads in (1, 2)]  # ncnn uses at most one thread per core
    assert taken[1] - taken[0] == 1
