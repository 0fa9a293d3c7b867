"""Ultralytics with a torchvision that cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ultralytics")
pytest.importorskip("onnx")
pytest.importorskip("onnxslim")
pytest.importorskip("onnxruntime")


BROKEN = "import torchvision.extension\nraise RuntimeError('operator torchvision::nms does not exist')\n"


WORKING = "import torchvision.extension, torchvision.ops\n"


USE = """
import sys
from yolort.tools._ultralytics import allow_missing_torchvision
print(allow_missing_torchvision(), allow_missing_torchvision())
print(*sorted(name for name in sys.modules if name.startswith("torchvision")))
import torch, torchvision
from torchvision.ops import nms
boxes = torch.tensor([[0, 0, 9, 9], [0, 0, 9, 10], [20, 20, 30, 30]], dtype=torch.float32)
print(nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist())
trace = lambda: torch.jit.trace(lambda boxes, scores: nms(boxes, scores, 0.5), (boxes, boxes[:, 0]))
for fails in (lambda: torchvision.models, trace):
    try:
        fails()
    except (AttributeError, RuntimeError) as error:
        print(error)
"""


@pytest.mark.parametrize("works", [False, True])
def test_torchvision_that_cannot_be_imported(works: bool, tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(WORKING if works else BROKEN)
    (package / "extension.py").write_text("")
    (package / "ops.py").write_text("import torch\ndef nms(boxes, scores, iou): return torch.tensor([7])\n")
    paths = [str(tmp_path), *(path for path in sys.path if path)]
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if works:
        assert lines[:2] == ["False False", "torchvision torchvision.extension torchvision.ops"]
        assert lines[2] == "[7]"
        assert "Ultralytics" not in done.stderr
    else:
        assert lines[:2] == ["True True", "torchvision torchvision.ops"]
        assert lines[2] == "[1, 2]"
        assert "operator torchvision::nms does not exist" in lines[3]
        assert lines[4].startswith("NMS cannot be exported here")
        assert done.stderr.count("using the NMS of Ultralytics") == 1
