"""Runs a checkpoint with Ultralytics' own predict behind the interface of `Detector`: the baseline for artifacts."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from yolort import Detections, Speed, View, _checks
from yolort.tools._ultralytics import allow_missing_torchvision
from yolort.tools.models.checkpoints import channels_of, detect_head, load_checkpoint
from yolort.tools.models.heads import complexity, with_head

__all__ = ["TorchDetector"]

#: The views of Ultralytics' test-time augmentation (nn/tasks.py, _predict_augment): scale, mirrored.
_VIEWS = ((1.0, False), (0.83, True), (0.67, False))


class TorchDetector:
    """Runs a `.pt` with Ultralytics' predict: the same letterbox as artifacts, float32, on the CPU or a GPU.

    Uses the one-to-many branch, Ultralytics' default. Attributes: see `Detector`.
    """

    engine = "torch"
    precision = "fp32"
    batch = 0
    head = "boxes"

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        imgsz: int | tuple[int, int] | None = None,
        rect: bool | None = None,
        conf: float = 0.25,
        iou: float = 0.7,
        max_det: int = 300,
        multi_label: bool = False,
        augment: bool = False,
    ) -> None:
        """Loads the checkpoint.

        `augment` is Ultralytics' own, with three views. `rect` pads images only to the stride, as Ultralytics' predict
        does for a checkpoint; the default is the square input of the fixed artifact that it is compared with.

        Raises FileNotFoundError and CheckpointError like `load_checkpoint`, which prevents code from running;
        ValueError for a missing device, and for `augment` with a checkpoint without a one-to-many branch, which
        Ultralytics cannot augment.
        """
        import torch

        checkpoint = load_checkpoint(model)
        allow_missing_torchvision()
        self.device = device
        if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
            raise ValueError(f"{model}: PyTorch has no device {device} here; a checkpoint runs on cpu and cuda:N")
        if threads is not None:
            torch.set_num_threads(_checks.count("threads", threads))
        has_one_to_many = getattr(detect_head(checkpoint.model), "cv2", None) is not None
        if augment and not has_one_to_many:
            raise ValueError(f"{model}: Ultralytics does not augment a checkpoint with the NMS-free branch alone")
        side = checkpoint.imgsz or 640
        self.imgsz: tuple[int, int] = _checks.imgsz(imgsz) or (side, side)
        self.names: dict[int, str] = dict(checkpoint.model.names)  # type: ignore[arg-type]
        self.channels = channels_of(checkpoint.model)
        self.speed = Speed(0, 0, 0)
        views = [View(round(scale * max(self.imgsz)), flip, self.imgsz, str(model)) for scale, flip in _VIEWS]
        self.views = views if augment else []
        counted = complexity(with_head(checkpoint.model, "raw" if has_one_to_many else "raw-e2e"), self.imgsz)
        self.metadata = {"yolort": json.dumps(counted)}
        self._rect = bool(rect)
        self._settings = {"conf": conf, "iou": iou, "max_det": max_det}
        self._predictor = _predictor(multi_label)
        self._yolo = _opened(Path(model))

    def __call__(self, source: np.ndarray | Sequence[np.ndarray], *, augment: bool | None = None) -> Any:
        """Detections in an image, (height, width, 3) BGR uint8, or a list of them for a list.

        `augment=False` turns off the augmentation set at construction.
        """
        images = [source] if isinstance(source, np.ndarray) else list(source)
        if self.channels == 1:  # Ultralytics does not convert arrays
            images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image for image in images]
        results = self._yolo.predict(
            images,
            predictor=self._predictor,
            imgsz=list(self.imgsz),
            rect=self._rect,
            device=self.device,
            verbose=False,
            save=False,
            batch=len(images),
            augment=bool(self.views) if augment is None else augment,
            **self._settings,
        )
        parts = [[result.speed[key] for key in ("preprocess", "inference", "postprocess")] for result in results]
        self.speed = Speed(*np.sum(parts, axis=0).tolist())
        found = [
            Detections(
                result.boxes.xyxy.cpu().numpy().astype(np.float32),
                result.boxes.conf.cpu().numpy().astype(np.float32),
                result.boxes.cls.cpu().numpy().astype(np.int32),
                names=self.names,
                shape=result.orig_shape,
            )
            for result in results
        ]
        return found[0] if isinstance(source, np.ndarray) else found


def _opened(model: Path) -> Any:
    """Ultralytics' model. Ultralytics removes apostrophes from paths, so such a file is read through a link."""
    from ultralytics import YOLO

    if "'" not in str(model):
        return YOLO(str(model))
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        link = Path(folder) / "model.pt"
        link.symlink_to(model.absolute())
        return YOLO(str(link))


def _predictor(multi_label: bool) -> Any:
    """Ultralytics' predictor, with one detection per class of a box, as in val."""
    from ultralytics.models.yolo.detect import DetectionPredictor
    from ultralytics.utils import nms

    class MultiLabel(DetectionPredictor):  # type: ignore[misc]
        def postprocess(self, preds: Any, img: Any, orig_imgs: Any, **_: Any) -> Any:
            settings = self.args
            kept = nms.non_max_suppression(
                preds,
                settings.conf,
                settings.iou,
                multi_label=True,
                max_det=settings.max_det,
                max_time_img=1e9,  # Ultralytics' NMS drops boxes when its time limit is reached
                end2end=getattr(self.model, "end2end", False),
            )
            return self.construct_results(kept, img, orig_imgs)

    return MultiLabel if multi_label else DetectionPredictor
