"""Process setup and time limits for all tests."""

from __future__ import annotations

import os
import signal

import pytest

#: Seconds; at least five times the usual time of a test. The slowest tests cross-build NCNN.
LIMIT, SLOW_LIMIT = 180, 1800

# Under nohup and in a shell's background jobs, SIGINT is ignored, and child processes inherit that: those started by
# tests would never receive the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

# With several test processes (pytest -n), each computes on one thread; more threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Keeps OpenVINO's compiled models out of the user's cache folder.
os.environ.setdefault("YOLORT_OPENVINO_CACHE", "off")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.pluginmanager.hasplugin("timeout"):  # not installed by tests/gpu/run.sh
        for item in items:
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT))
