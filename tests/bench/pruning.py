"""Measures the cost of pruning after fine-tuning, by family and ratio, which `yolort prune` quotes
(docs/benchmarks/pruning.md).

    python tests/bench/pruning.py yolov8n.pt yolo11n.pt yolo26n.pt --data data.yaml --output pruning.md

For each model and seed: trained on the data, pruned by each ratio and fine-tuned, both scored on val. Every run is
stored in --folder, so that an interrupted measurement resumes. The last lines are `RECOVERED` of
tools/prune/outcome.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yolort
from yolort.tools import prune, train
from yolort.tools.evaluate.evaluator import Evaluator


# Long because each option is a parameter with its help.
def main(
    weights: Annotated[list[Path], typer.Argument(help="COCO-trained checkpoints.")],
    data: Annotated[Path, typer.Option()],
    ratios: Annotated[str, typer.Option()] = "0.1,0.2,0.3,0.4",
    epochs: Annotated[int, typer.Option(help="Of the training, and of the fine-tuning.")] = 20,
    seeds: Annotated[int, typer.Option()] = 3,
    imgsz: Annotated[int, typer.Option()] = 320,
    folder: Annotated[Path, typer.Option()] = Path("runs/pruning"),
    output: Annotated[Path, typer.Option()] = Path("pruning.md"),
) -> None:
    evaluator = Evaluator(data)
    settings: dict[str, Any] = {
        "imgsz": imgsz,
        "batch": 16,
        "nbs": 16,
        "optimizer": "AdamW",
        "lr0": 0.001,
        "warmup_epochs": 1,
        "close_mosaic": 3,
        "val": False,
        "plots": False,
    }

    def scored(path: Path) -> float:
        kept = path.with_suffix(".json")
        if not kept.is_file():
            kept.write_text(json.dumps(evaluator.score(evaluator.open(path, imgsz=imgsz)).value))
        return 100 * float(json.loads(kept.read_text()))

    rows: list[str] = []
    recovered: dict[str, dict[float, tuple[float, float, int]]] = {}
    for model in weights:
        costs: dict[float, list[float]] = {float(ratio): [] for ratio in ratios.split(",")}
        parents = []
        for seed in range(seeds):
            run = folder / f"{model.stem}-{seed}"
            parent = run / "weights" / "best.pt"
            if not parent.is_file():
                train(model, data, epochs=epochs, seed=seed, output=run, **settings)
            parents.append(scored(parent))
            for ratio, found in costs.items():
                pruned = folder / f"{model.stem}-{seed}-{ratio:g}.pt"
                if not pruned.is_file():
                    how: dict[str, Any] = {"method": "taylor", "round_to": 16, "seed": seed, "measure": False}
                    prune(parent, ratio=ratio, data=data, finetune=epochs, output=pruned, **how, **settings)
                found.append(parents[-1] - scored(pruned))
        for ratio, found in costs.items():
            mean, deviation = float(np.mean(found)), float(np.std(found, ddof=1)) if seeds > 1 else float("nan")
            rows.append(f"| {model.stem} | {np.mean(parents):.2f} | {ratio:.0%} | {-mean:+.2f} ± {deviation:.2f} |")
            recovered.setdefault(model.stem, {})[ratio] = (round(mean, 2), round(deviation, 2), epochs)
    images = len(evaluator.dataset.samples)
    lines = [
        f"yolort {yolort.__version__}, {data.name}, {images} images of val, {imgsz} px, {epochs} epochs, {seeds} seeds",
        f"`{' '.join(sys.argv)}`",
        "",
        "| model | mAP50-95 | pruned | change |",
        "|---|---|---|---|",
        *rows,
        "",
        f"RECOVERED = {recovered!r}",
    ]
    output.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
