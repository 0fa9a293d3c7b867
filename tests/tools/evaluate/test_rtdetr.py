"""RT-DETR exported by Ultralytics: its 300 boxes equal those of Ultralytics' predict, on images of unusual shapes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("ultralytics")

import torch
from ultralytics import RTDETR
from yolort.tools._ultralytics import allow_missing_torchvision

SIZE = 96  # all 189 positions become queries, so rounding does not change the selection of 300


def images() -> list[np.ndarray]:
    """16 images of unusual shapes: photos in YOLORT_DATA, otherwise parts of the embedded image."""
    random = np.random.default_rng(0)
    if "YOLORT_DATA" in os.environ:
        photos = sorted((Path(os.environ["YOLORT_DATA"]) / "data" / "coco-train128" / "images").rglob("*.jpg"))[:16]
        sources = [yolort.images.read(path) for path in photos]
    else:
        sources = [yolort.images.read(yolort.demo_image())] * 16
    out = []
    for source in sources:
        height, width = (int(random.integers(side // 4, side) | 1) for side in source.shape[:2])
        out.append(np.ascontiguousarray(source[:height, -width:]))
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of RT-DETR-l with random weights."""
    folder = tmp_path_factory.mktemp("rtdetr")
    torch.manual_seed(0)
    model = RTDETR("rtdetr-l.yaml")
    network: Any = model.model
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:  # statistics that keep activations from vanishing
        norm.momentum = 1.0
    network.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        network(torch.rand(2, 3, SIZE, SIZE))
    model.save(folder / "random.pt")
    allow_missing_torchvision()
    return Path(RTDETR(folder / "random.pt").export(format="onnx", imgsz=SIZE))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_boxes_are_those_of_ultralytics(exported: Path) -> None:
    detector = yolort.Detector(exported, engine="onnxruntime", conf=0.0)
    rival = RTDETR(exported)
    for image in images():
        found = detector(image)
        boxes = rival.predict(image, conf=0.0, imgsz=SIZE, verbose=False, save=False)[0].boxes
        height, width = image.shape[:2]
        theirs = np.clip(boxes.xyxy.numpy(), 0, [width, height, width, height])
        assert len(found) == len(theirs) == 300
        away = np.abs(theirs[:, None] - found.boxes).max(2)
        away[boxes.cls.numpy()[:, None] != found.classes] = np.inf
        away[np.abs(boxes.conf.numpy()[:, None] - found.scores) > 0.001] = np.inf
        last = float(boxes.conf.min()) + 1e-4  # the last of the best 300 query-class pairs may be tied
        for side, scores in enumerate((found.scores, boxes.conf.numpy())):
            assert (away.min(side) < 0.5)[scores > last].all()
