"""Installs once per session; build folders are kept, so that a second run compiles nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yolort
from installing import ROOT, install, write_pnm


@pytest.fixture(scope="session")
def static_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(ROOT / "build" / "install", tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="session")
def shared_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(ROOT / "build" / "shared", tmp_path_factory.mktemp("shared"), "-DBUILD_SHARED_LIBS=ON")


@pytest.fixture(params=["static", "shared"])
def prefix(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.getfixturevalue(f"{request.param}_prefix")
    return chosen


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    pytest.importorskip("cv2")
    return np.ascontiguousarray(yolort.images.read(yolort.demo_image()))


@pytest.fixture(scope="session")
def picture_file(picture: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo picture in a format that every build of yolort-detect reads."""
    return write_pnm(tmp_path_factory.mktemp("picture") / "scenes.ppm", picture)
