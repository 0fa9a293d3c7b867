"""From a checkpoint to a measured artifact: a `Recipe` defines the stages, and the result of each is cached.

pipeline = Pipeline("runs/pipeline", "data.yaml")
recipe = Recipe(model="yolo26n.pt", imgsz=320, epochs=10, prune=0.2, finetune=5, precision="int8", engine="openvino")
pipeline.make(recipe.artifact(seed=0))     # trains, prunes, fine-tunes, exports, calibrates and quantizes
pipeline.accuracy(recipe, seed=0)          # of the artifact, on its engine
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yolort
from yolort import _core
from yolort.tools import _stages
from yolort.tools._cache import StageCache
from yolort.tools._hash import sha256
from yolort.tools.evaluate.benchmark import Case, Row, benchmark
from yolort.tools.search.recipe import Recipe
from yolort.tools.search.stages import Data, Stage

__all__ = ["Accuracy", "Pipeline"]


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of an artifact on its engine; fractions, 0 to 1."""

    value: float  # by the metric of the task
    second: float  # at IoU 0.5, or top-5
    draws: np.ndarray  # (n,) on images drawn with replacement; the same draws for all artifacts of a dataset
    second_draws: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the value over the draws."""
        low, high = np.percentile(self.draws, (2.5, 97.5))
        return float(low), float(high)


class Pipeline:
    """Builds and measures recipes; the result of every stage is cached in a folder."""

    def __init__(self, folder: str | Path, data: str | Path, task: str = "detect") -> None:
        """See `Data`. Raises what `load_dataset` raises."""
        self.data = Data(data, task)
        self.cache = StageCache(folder)

    def make(self, stage: Stage) -> Path:
        """The file or folder that a stage writes; runs the stage and those it depends on if necessary."""
        inputs = [self.make(source) if isinstance(source, Stage) else Path(source) for source in stage.inputs]
        depends = {
            **stage.settings(),
            "inputs": [sha256(path) if path.exists() else str(path) for path in inputs],
            "data": stage.split and self.data.sha256[stage.split],
        }
        folder = self.cache.get(
            stage.name,
            depends,
            lambda work: self._run(stage, inputs, work / stage.output),
            resumable=stage.resumable,
        )
        return folder / stage.file(stage.output)

    def _run(self, stage: Stage, inputs: Sequence[Path], output: Path) -> None:
        _stages.stage(f"{stage.name}: {', '.join(path.name for path in inputs)}")
        stage.run(inputs, self.data, output)

    def case(self, recipe: Recipe, seed: int) -> Case:
        """The case for benchmarking the artifact."""
        path = self.make(recipe.artifact(seed))
        return Case(
            str(path),
            recipe.engine,
            precision=recipe.computes,
            threads=recipe.threads,
            augment=recipe.augment,
            scales=recipe.augment_scales,
        )

    def accuracy(self, recipe: Recipe, seed: int) -> Accuracy:
        """Accuracy of the artifact on the images of val."""
        with np.load(self.make(recipe.accuracy(seed)), allow_pickle=False) as known:
            figures = known["figures"]
            return Accuracy(float(figures[0]), float(figures[1]), known["draws"], known["second_draws"])

    def latency(self, cases: Sequence[Case], runs: int = 100) -> list[Row]:
        """Times of all artifacts in milliseconds, measured alternately; cached for this machine."""
        inputs = {
            "cases": [{**asdict(one), "model": sha256(one.model)} for one in cases],
            "machine": _core.machine(),
            "yolort": yolort.__version__,
            "runs": runs,
            "in turns": True,
        }

        def measure(work: Path) -> None:
            done = benchmark(chosen=list(cases), runs=runs, latency_only=True)
            failed = [row.error for row in done.rows if row.error]
            if failed:
                raise yolort.Error(f"not timed: {'; '.join(failed)}")
            rows = [
                {
                    **{key: getattr(row, key) for key in ("facts", "size_mb", "others")},
                    **{key: getattr(row, key).tolist() for key in ("samples", "turns")},
                }
                for row in done.rows
            ]
            (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")

        rows = json.loads((self.cache.get("latency", inputs, measure) / "rows.json").read_text(encoding="utf-8"))
        return [
            Row(
                case,
                samples=np.array(row["samples"]),
                turns=np.array(row["turns"]),
                **{key: row[key] for key in ("facts", "size_mb", "others")},
            )
            for case, row in zip(cases, rows, strict=True)
        ]
