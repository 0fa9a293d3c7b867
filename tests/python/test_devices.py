"""Device names: their meaning, and names that are refused instead of running on the CPU."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("device", [None, "", "cpu", "CPU", "cpu:0"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_names_of_the_cpu(engine: str, device: Any, model: Path) -> None:
    pytest.importorskip(engine)
    assert yolort.Detector(model, engine=engine, device=device).device == "cpu"


@pytest.mark.parametrize("device", [0, "0", np.int64(0), "cuda", "CUDA:0", "gpu", "GPU.0"])
def test_a_gpu_by_its_number(device: Any, model: Path) -> None:
    """The first GPU, or an error if there is none; never the CPU."""
    for engine in ("onnxruntime", "openvino", "ncnn"):
        status = {one.name: one for one in yolort.engines()}[engine]
        if not status.available:
            continue
        path = yolort.demo_model("ncnn") if engine == "ncnn" else model
        try:
            assert not yolort.Detector(path, engine=engine, device=device).device.startswith("cpu")
        except yolort.EngineError as error:
            assert re.search("no CUDA|GPU|Vulkan|CUDA cannot be used", str(error))


@pytest.mark.parametrize("device", [99, "99", "cuda:99", "vulkan:99"])
def test_a_gpu_that_is_not_there(device: Any, model: Path) -> None:
    for engine in ("onnxruntime", "openvino", "ncnn"):
        if {one.name: one for one in yolort.engines()}[engine].available:
            path = yolort.demo_model("ncnn") if engine == "ncnn" else model
            with pytest.raises((yolort.EngineError, ValueError), match="99|no Vulkan"):
                yolort.Detector(path, engine=engine, device=device)


@pytest.mark.parametrize(
    ("device", "error"),
    [(-1, ValueError), ("-1", ValueError), ("0,1", ValueError), ([0, 1], TypeError), (True, TypeError),
     (1.0, TypeError), ("cuda:x", ValueError), ("cuda:", ValueError), ("cuda:-1", ValueError), ("mps", ValueError),
     (":0", ValueError), ("cpu:1", ValueError), (object(), TypeError), ("9" * 5000, ValueError)],
)  # fmt: skip
def test_invalid_devices(device: Any, error: type[Exception], model: Path) -> None:
    with pytest.raises(error, match="device"):
        yolort.Detector(model, engine="onnxruntime", device=device)


def test_a_device_of_torch(model: Path) -> None:
    torch = pytest.importorskip("torch")
    assert yolort.Detector(model, engine="onnxruntime", device=torch.device("cpu")).device == "cpu"
    with pytest.raises(yolort.EngineError, match="no CUDA"):
        yolort.Detector(model, engine="onnxruntime", device=torch.device("cuda", 1))


def test_listing_devices_prints_nothing() -> None:
    """By default ncnn prints eight lines about each GPU, or about a missing driver."""
    program = "import yolort; [yolort.devices(engine.name) for engine in yolort.engines() if engine.available]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
