"""Ctrl-C and signal handlers while a Detector or a Batcher works."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yolort

INTERRUPTED = """
import signal, sys, threading, os, time
import numpy as np
import yolort
signal.signal(signal.SIGINT, signal.default_int_handler)  # under nohup it is ignored
detector = yolort.Detector(sys.argv[1], engine="ncnn", **eval(sys.argv[2]))
image = np.zeros((480, 640, 3), np.uint8)
detector(image)
started = time.monotonic()
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    detector([image] * 100_000)
except KeyboardInterrupt:
    print("interrupted")
print(len(detector([image, image])))
"""


@pytest.mark.parametrize("options", ["{}", "{'augment': True}"])
def test_ctrl_c_ends_a_call_of_many_images(options: str) -> None:
    """100,000 images would take minutes; the Detector still works afterwards."""
    command = [sys.executable, "-c", INTERRUPTED, str(yolort.demo_model("ncnn")), options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["interrupted", "2"], done.stderr


HANDLED = """
import signal, sys, threading, os
import numpy as np
import yolort
detector = yolort.Detector(sys.argv[1], engine="ncnn")
image = np.zeros((480, 640, 3), np.uint8)
def handle(*_):
    print(len(detector([image, image])), sum(detector.speed) > 0)
signal.signal(signal.SIGINT, handle)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
count = 0
while count < 4:  # a call that is longer than that is met
    count += len(detector([image] * 150)) == 150
print(count)
"""


def test_a_signal_handler_may_use_the_detector() -> None:
    command = [sys.executable, "-c", HANDLED, str(yolort.demo_model("ncnn"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines() == ["2 True", "4"], done.stderr


CLOSED = """
import signal, sys, threading, os
import numpy as np
import yolort
signal.signal(signal.SIGINT, signal.default_int_handler)
detector = yolort.Detector(sys.argv[1], engine="ncnn")
image = np.zeros((480, 640, 3), np.uint8)
batcher = yolort.Batcher(detector, queue=100_000, workers=1, max_batch=50)
futures = [batcher.submit(image) for _ in range(100_000)]
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    batcher.close()
except KeyboardInterrupt:
    print("interrupted")
print(futures[-1].cancelled(), len(detector([image, image])))
"""


def test_ctrl_c_ends_a_batcher_that_closes() -> None:
    """The queue is dropped, and the interpreter does not exit while a worker runs."""
    command = [sys.executable, "-c", CLOSED, str(yolort.demo_model("ncnn"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["interrupted", "True", "2"], done.stderr
    assert done.returncode == 0, done.stderr
