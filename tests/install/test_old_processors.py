"""x86-64 processors without AVX2 by emulation: NCNN runs its SSE2 variants there, and finds the same."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
import yolort
from installing import detections, run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def emulator() -> None:
    if platform.machine() != "x86_64" or not shutil.which("qemu-x86_64"):
        pytest.skip("needs an x86-64 machine and qemu-x86_64 (Debian: qemu-user)")


@pytest.mark.parametrize("cpu", ["Nehalem", "SandyBridge", "Haswell"])
def test_yolort_detect(static_prefix: Path, picture_file: Path, cpu: str) -> None:
    """SSE4.2; AVX without AVX2, FMA and F16C; AVX2."""
    words = [static_prefix / "bin" / "yolort-detect", yolort.demo_model("ncnn"), picture_file, "--precision", "fp32"]
    here, there = detections(run(*words)), detections(run("qemu-x86_64", "-cpu", cpu, *words))
    assert len(here) >= 6
    np.testing.assert_allclose(there, here, atol=0.05)
