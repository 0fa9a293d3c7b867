"""Fixtures of the tests of exports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The models are too small for more threads, and spinning thread pools slow each other down."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ncnn() -> Any:
    pytest.importorskip("pnnx")
    return pytest.importorskip("ncnn")
