"""Shared by the training tests: data and networks that train in seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from yolort.tools.demo.config import SceneConfig

#: Settings for a few training steps: one per batch.
QUICK: dict[str, Any] = {
    "imgsz": 64,
    "batch": 4,
    "nbs": 4,
    "plots": False,
    "device": "cpu",
    "amp": False,
    "workers": 0,
    "optimizer": "AdamW",
    "lr0": 0.001,
    "nms": False,
}

#: Scenes of a size that is drawn in no time.
SCENES = SceneConfig(seed=3, height=96, width=96, objects=(6, 9), clutter=(0, 0))


def narrowed(model: Any) -> Any:
    """The model with 12 instead of 16 channels in its first layer, as after pruning."""
    from torch import nn

    stem, after = model.model[0], model.model[1]
    stem.conv = nn.Conv2d(3, 12, 3, 2, 1, bias=False)
    stem.bn = nn.BatchNorm2d(12, eps=stem.bn.eps, momentum=stem.bn.momentum)
    after.conv = nn.Conv2d(12, after.conv.out_channels, 3, 2, 1, bias=False)
    return model


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def without_yolort(checkpoint: Path, expression: str) -> str:
    """Evaluates an expression of `yolo` in a process in which only Ultralytics opens the checkpoint."""
    code = (
        "import sys, torch; from ultralytics import YOLO; yolo = YOLO(sys.argv[1]); "
        f"print({expression}); assert 'yolort' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def interrupted(base: Any, epoch: int) -> Any:
    """A trainer that is interrupted by Ctrl-C in the first step of an epoch, counted from 0."""

    class Interrupted(base):  # type: ignore[misc]
        def optimizer_step(self) -> None:
            super().optimizer_step()
            if self.epoch == epoch:
                raise KeyboardInterrupt

    return Interrupted
