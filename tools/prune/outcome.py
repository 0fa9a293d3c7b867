"""The result of pruning, its cost, and the expected cost of a ratio."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools._stages import stage
from yolort.tools.evaluate.evaluator import Evaluator
from yolort.tools.export.pipeline import export

__all__ = ["MEASURED_LOSS", "RECOVERED", "Cost", "Pruned", "cost", "guidance", "sensitive"]

#: Points of mAP50-95 that the COCO-trained nano model of a family lost at these ratios before any training ("taylor",
#: by sensitivity, 320 pixels; see docs/benchmarks/pruning.md). Every measured ratio costs accuracy.
MEASURED_LOSS: dict[str, dict[float, float]] = {
    "yolov8": {0.1: 8.8, 0.2: 36.9},
    "yolo26": {0.05: 4.5, 0.1: 26.2, 0.2: 37.3},
}
#: Points of mAP50-95 that a model of a family and size lost at these ratios after fine-tuning: mean and standard
#: deviation of three seeds, epochs (docs/benchmarks/pruning.md, `tests/bench/pruning.py`).
RECOVERED: dict[str, dict[float, tuple[float, float, int]]] = {
    "yolov8n": {0.2: (0.56, 0.42, 20), 0.4: (7.52, 1.17, 10)},
}
RECOVERED_ON = "273 images of blood cells, 3 classes, 320 pixels"
_SAFE = 1.0  # points of mAP50-95: a ratio that costs more is called aggressive
_COCO = 80  # classes
_DRAWS = 1000  # resamples of the images, for the interval
_NORMAL = 1.96  # standard errors of a 95 % interval
_NAMED = 5  # number of sensitive units to list
_UNEVEN = 10  # units whose sensitivity exceeds this multiple of the median should not be pruned like the others


@dataclass(frozen=True)
class Cost:
    """Accuracy on the split val, 0 to 1, before and after; the change with the 95 % interval of a paired bootstrap."""

    before: float | None  # None: the classes of the model and the data differed
    after: float
    interval: tuple[float, float] | None  # 95 % interval of after - before
    metric: str = "mAP50-95"  # what is measured


@dataclass
class Pruned:
    """The outcome of `prune`; pairs are before and after."""

    path: Path
    ratio: float  # requested, or found for the target
    channels: tuple[int, int]  # of all units
    parameters: tuple[int, int]
    gflops: tuple[float, float]  # for an image of size `imgsz`
    imgsz: tuple[int, int]  # height, width
    widths: dict[str, tuple[int, int]]  # of each unit
    ms: tuple[float, float] | None = None  # p50 end to end on the engine of the target
    sparsity: float | None = None  # zeros among the convolutions' weights, 0 to 1; only for unstructured pruning
    sensitivity: dict[str, float] = field(default_factory=dict)  # `map_error` if only this unit is pruned, by `ratio`
    cost: Cost | None = None  # change of accuracy, if there is data
    notes: list[str] = field(default_factory=list)


def cost(before: Path, after: Path, evaluator: Evaluator, side: int) -> Cost:
    """Scores two checkpoints: detectors in PyTorch, other models after exporting them. Raises what `Evaluator.run`
    raises.
    """
    stage("measuring the accuracy before and after")
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        models = [before, after]
        if evaluator.dataset.task != "detect":
            models = [export(one, imgsz=side, output=Path(folder) / f"{k}.onnx") for k, one in enumerate(models)]
        detectors = [evaluator.open(path, imgsz=(side, side)) for path in models]
        scores = evaluator.score(detectors[1])
        classes = [sorted(str(name).casefold() for name in one.names.values()) for one in detectors]
        if classes[0] != classes[1]:  # fine-tuning gave it the classes of the data
            return Cost(None, scores.value, None, evaluator.metric)
        reference = evaluator.score(detectors[0])
    drawn = scores.draws(_DRAWS)[0] - reference.draws(_DRAWS)[0]
    mean, error = scores.value - reference.value, _NORMAL * float(drawn.std(ddof=1))
    return Cost(reference.value, scores.value, (mean - error, mean + error), evaluator.metric)


def guidance(network: Any, taken: float, finetuned: bool) -> list[str]:
    """Published measurements of similar models; `taken` is the share of removed channels."""
    name = Path(str(network.yaml.get("yaml_file", ""))).stem
    found = re.match(r"(yolov?\d+)([nslmx]?)", name)
    family = found[1] if found else ""
    notes = []
    measured = MEASURED_LOSS.get(family)
    if measured and not finetuned and len(network.names) == _COCO:
        near = min((ratio for ratio in measured if ratio >= taken - 0.01), default=max(measured))
        notes.append(
            f"{taken:.0%} of the channels are gone; of a COCO-trained {family}n {near:.0%} cost {measured[near]:.1f} "
            "points of mAP50-95 before any training: fine-tune until that is back, and measure it"
        )
    like = next((one for one in (name, f"{family}n") if one in RECOVERED), "yolov8n")
    parts = [
        f"{ratio:.0%} {'was safe' if points <= _SAFE else 'was aggressive'} ({points:.1f} ± {deviation:.1f} points of "
        f"mAP50-95 lost after {epochs} epochs)"
        for ratio, (points, deviation, epochs) in RECOVERED[like].items()
    ]
    which = like if like == name else f"{like}, the nearest that was measured"
    told = f"after fine-tuning, {', '.join(parts)}: {which}, on {RECOVERED_ON}"
    notes.append(f"{told}; a larger task leaves less to spare")
    return notes


def sensitive(sensitivity: Mapping[str, float], uniform: bool) -> list[str]:
    """A sentence about the most sensitive units; `uniform`: all units were pruned by the same ratio."""
    if not sensitivity:
        return []
    middle = float(np.median(list(sensitivity.values())))
    worst = sorted(sensitivity, key=lambda name: -sensitivity[name])[:_NAMED]
    named = ", ".join(f"{name} ({sensitivity[name]:.3f})" for name in worst)
    notes = [f"most sensitive when pruned alone (median {middle:.4f}): {named}"]
    if uniform and sensitivity[worst[0]] > _UNEVEN * middle:
        notes.append("the units differ much: allocate by sensitivity takes fewer channels of those")
    return notes
