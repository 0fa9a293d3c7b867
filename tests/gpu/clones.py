"""Runs clones of one Detector in parallel threads: none may fail, and all must find the same.

python clones.py model.engine threads seconds
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
import yolort

model, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
noise = np.random.default_rng(0)
images = [noise.integers(0, 256, (side, 2 * side, 3), np.uint8) for side in (100, 360, 720)]
detector = yolort.Detector(model, conf=0.01)
expected = [detector(image) for image in images]
counts = [0] * threads
failures: list[Any] = []


def work(index: int, mine: yolort.Detector) -> None:
    try:
        while time.monotonic() < stop:
            which = counts[index] % len(images)
            found = mine(images[which])
            np.testing.assert_allclose(found.boxes, expected[which].boxes, atol=0.1)
            counts[index] += 1
    except BaseException as error:
        failures.append(error)


workers = [threading.Thread(target=work, args=(i, detector.clone())) for i in range(threads)]
del detector  # they outlive it
stop = time.monotonic() + seconds
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(f"{sum(counts)} detections in {threads} threads, {len(failures)} failure(s)")
sys.exit(str(failures[0]) if failures else 0)
