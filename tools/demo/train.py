"""Trains the default model: a YOLO26 of 0.6 million parameters on the procedural scenes of
`yolort.tools.demo.dataset`.

    python -m yolort.tools.demo.train OUT                 # data set, training and evaluation under OUT
    python -m yolort.tools.demo.train OUT --evaluate      # scores OUT/scenes.pt again

The network is Ultralytics' `yolo26.yaml` at width 0.125 with random initial weights, trained with Ultralytics' trainer.
Nothing is downloaded or sent: no pretrained weights, fonts, telemetry, or check of automatic mixed precision. Seeds are
fixed: training is reproducible on the same machine with the same number of threads, and similar on others.

Writes under OUT: `data/` (the data set), `run/` (Ultralytics' run with checkpoints), `scenes.pt` (the best
weights, optimiser stripped) and `metrics.json` (mAP of both heads on the held-out scenes).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from yolort.tools._ultralytics import allow_missing_torchvision
from yolort.tools.demo.config import SceneConfig
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.demo.shapes import CLASSES

if TYPE_CHECKING:
    from ultralytics.models.yolo.model import YOLO

__all__ = ["SCALE", "SEED", "evaluate", "main", "train"]

SCALE = (0.50, 0.125, 1024)
"""Depth, width and largest channel count of the network, in the sense of an Ultralytics model YAML."""

SEED = 26
"""Seed of the scenes and of the training."""


def _ultralytics() -> type[YOLO]:
    """Ultralytics' `YOLO`, imported so that it does not access the network or the user's settings."""
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="yolort-ultralytics-"))
    allow_missing_torchvision()
    from ultralytics.data import utils as data_utils
    from ultralytics.models.yolo.model import YOLO

    # fonts would be downloaded, but are needed only for plots, which are off
    vars(data_utils)["check_font"] = lambda *_: None
    found: type[YOLO] = YOLO
    return found


def _network(folder: Path) -> Path:
    """Writes Ultralytics' yolo26.yaml with this model's scale and classes; returns the file's path."""
    import ultralytics
    from ultralytics.utils import YAML

    source = Path(ultralytics.__file__).parent / "cfg" / "models" / "26" / "yolo26.yaml"
    network = YAML.load(source)
    network.update(nc=len(CLASSES), scales={"n": list(SCALE)})
    path = folder / "yolo26n-scenes.yaml"
    YAML.save(path, network)
    return path


def train(
    data: Path,
    folder: Path,
    *,
    epochs: int = 32,
    hours: float | None = None,
    imgsz: int = 320,
    batch: int = 8,
    threads: int = 2,
) -> Path:
    """Trains on the CPU and returns `folder/scenes.pt`, the best checkpoint without its optimiser.

    data: the data set's `data.yaml`. epochs, batch: 1 or more. imgsz: pixels, a multiple of 32. threads: CPU
    threads of torch. During training, checkpoints are in `folder/run/weights`. Ultralytics' errors are passed on.
    """
    YOLO = _ultralytics()
    import torch

    model = YOLO(str(_network(folder)), task="detect")
    # when Ultralytics selects the CPU, it uses one thread fewer than cores
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
    model.train(
        data=str(data.absolute()),
        project=str(folder.absolute()),
        name="run",
        exist_ok=True,
        epochs=epochs,
        imgsz=imgsz,
        batch=batch,
        nbs=batch,
        device="cpu",
        workers=1,
        cache="ram",
        seed=SEED,
        deterministic=True,
        pretrained=False,
        amp=False,
        plots=False,
        optimizer="AdamW",
        lr0=0.002,
        lrf=0.01,
        cos_lr=True,
        warmup_epochs=1.0,
        weight_decay=0.001,
        time=hours,
        patience=10_000,
        nms=False,  # the one-to-one head needs no NMS, so validation after each epoch is fast
        mosaic=0.0,
        scale=0.3,
        hsv_h=0.01,
        hsv_s=0.3,
        hsv_v=0.3,
        erasing=0.0,
    )
    out = folder / "scenes.pt"
    shutil.copyfile(folder / "run" / "weights" / "best.pt", out)
    return out


def evaluate(weights: Path, data: Path, *, imgsz: int = 320) -> dict[str, Any]:
    """Scores both heads on the validation split.

    Returns for `one-to-many` (with NMS, IoU 0.7) and `one-to-one` (without NMS) a dictionary of `mAP50-95`
    and `mAP50`, 0..1, and `classes`, mAP50-95 by class name. Confidence threshold 0.001 and at most 300 boxes per
    image, as in Ultralytics' validation.
    """
    YOLO = _ultralytics()
    scores: dict[str, Any] = {}
    for head, nms in (("one-to-many", None), ("one-to-one", False)):
        box = (
            YOLO(str(weights))
            .val(
                data=str(data.absolute()),
                imgsz=imgsz,
                batch=16,
                device="cpu",
                workers=0,
                plots=False,
                verbose=False,
                nms=nms,
                project=tempfile.gettempdir(),
                name="yolort-scenes-val",
                exist_ok=True,
            )
            .box
        )
        scores[head] = {
            "mAP50-95": round(float(box.map), 4),
            "mAP50": round(float(box.map50), 4),
            "classes": {CLASSES[int(k)]: round(float(box.maps[int(k)]), 4) for k in box.ap_class_index},
        }
    return scores


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the data set, the run, scenes.pt and metrics.json.")],
    train_scenes: Annotated[int, typer.Option("--train", help="Training scenes.")] = 2400,
    val_scenes: Annotated[int, typer.Option("--val", help="Held-out scenes.")] = 400,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 32,
    hours: Annotated[float | None, typer.Option(help="Fit the epochs into this time instead.")] = None,
    imgsz: Annotated[int, typer.Option(help="Side of the scenes and of the network's input, pixels.")] = 320,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    only_evaluate: Annotated[bool, typer.Option("--evaluate", help="Score OUT/scenes.pt; train nothing.")] = False,
) -> None:
    """Generates the dataset if OUT/data is missing, trains the default model, and scores both heads."""
    data = out / "data" / "data.yaml"
    if not data.exists():
        config = SceneConfig(seed=SEED, height=imgsz, width=imgsz)
        write_dataset(out / "data", train_scenes, val_scenes, config, processes=threads)
    weights = out / "scenes.pt"
    if not only_evaluate:
        weights = train(data, out, epochs=epochs, hours=hours, imgsz=imgsz, threads=threads)
    scores = evaluate(weights, data, imgsz=imgsz)
    (out / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(scores, indent=2))


if __name__ == "__main__":
    typer.run(main)
