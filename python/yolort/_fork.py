"""Handles Detectors in a forked process, in which their threads do not exist."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, Protocol


class _Detector(Protocol):
    _core: Any

    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...


_living: weakref.WeakSet[_Detector] = weakref.WeakSet()


class _ForkedCore:
    """Replaces the core of a Detector inherited from the parent process."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            "this Detector was loaded before the process forked, and its threads do not exist in this process; "
            'construct it in the process that uses it, or start processes with the method "spawn"'
        )


def watch(detector: _Detector) -> None:
    """Make the detector raise an error if it is used in a forked process in which it cannot run."""
    _living.add(detector)


def _after_fork() -> None:
    for detector in list(_living):
        if (detector.engine, detector.device) == ("ncnn", "cpu"):  # its thread pool is created again
            continue
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(detector._core))  # destroying it would hang
        detector._core = _ForkedCore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
