"""What every test needs of the process it runs in, and how long each may take."""

from __future__ import annotations

import os
import signal

import pytest

#: Seconds, at least five times what a test takes; the slowest cross-build NCNN.
LIMIT, SLOW_LIMIT = 180, 1800

# nohup, and a shell's background jobs, ignore Ctrl-C, and a process hands that on to its children: those of tests would
# never see the signal that they are sent.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Of several processes that test at a time (pytest -n), each computes on one thread: more would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What OpenVINO compiles is not kept in the user's cache folder.
os.environ.setdefault("YOLORT_OPENVINO_CACHE", "off")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:  # a file's tests share fixtures, those of tests/install build folders: one process runs them
            group = item.path.parent if item.path.parent.name == "install" else item.path
            item.add_marker(pytest.mark.xdist_group(str(group.relative_to(config.rootpath))))
    if config.pluginmanager.hasplugin("timeout"):  # tests/gpu/run.sh does without it
        for item in items:
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT))
