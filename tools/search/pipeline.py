"""From a checkpoint to a measured artefact: what is done on the way is a `Recipe`, and each stage of it is kept.

pipeline = Pipeline("runs/lab", "data.yaml")
recipe = Recipe(model="yolo26n.pt", imgsz=320, epochs=10, prune=0.2, finetune=5, precision="int8", engine="openvino")
pipeline.artefact(recipe, seed=0)          # trains, prunes, fine-tunes, exports, calibrates and quantises
pipeline.accuracy(recipe, seed=0)          # of the artefact, on its engine
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import _core
from yolort.tools._cache import StageCache
from yolort.tools._formats import ENGINES, FORMATS
from yolort.tools._hash import sha256
from yolort.tools.data.dataset import data_sha256
from yolort.tools.evaluate.benchmark import Case, Row, benchmark
from yolort.tools.evaluate.validate import validate
from yolort.tools.export.pipeline import export
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.search.recipe import Recipe

__all__ = ["Accuracy", "Pipeline"]

_DRAWS = 1000  # of the images, of every accuracy: the same ones for all, so that differences are paired


@dataclass(frozen=True)
class Accuracy:
    """Of an artefact, on its engine; fractions, 0 to 1."""

    map50_95: float
    map50: float
    draws50_95: np.ndarray  # (n,) of images drawn with replacement, the same ones for every artefact of a data set
    draws50: np.ndarray


class Pipeline:
    """Makes and measures what recipes say; everything is kept in a folder."""

    def __init__(self, folder: str | Path, data: str | Path) -> None:
        """`data` is a `data.yaml` with labelled images in train and val. Raises what `load_dataset` raises."""
        self.data = str(data)
        self.train_sha = data_sha256(data, "train")
        self.val_sha = data_sha256(data, "val")
        self.cache = StageCache(folder)

    def checkpoint(self, recipe: Recipe, seed: int) -> Path:
        """The trained, pruned and fine-tuned checkpoint."""
        path = Path(recipe.model)
        base: dict[str, Any] = {"data": self.train_sha, "imgsz": recipe.imgsz, "seed": seed, "train": recipe.train}
        if recipe.epochs:
            source = path
            teacher = self.checkpoint(recipe.teacher, seed) if isinstance(recipe.teacher, Recipe) else recipe.teacher
            inputs = {
                **base,
                "model": sha256(path) if path.is_file() else str(path),
                "epochs": recipe.epochs,
                "teacher": teacher and sha256(teacher),
                "scales": recipe.scales,
            }
            made = self.cache.get(
                "train", inputs, lambda work: self._train(recipe, source, teacher, seed, work), resumable=True
            )
            path = made / "best.pt"
        if recipe.prune:
            whole = path
            inputs = {
                **base,
                "model": sha256(path),
                "ratio": recipe.prune,
                "method": recipe.method,
                "round_to": recipe.round_to,
                "finetune": recipe.finetune,
                "recover": recipe.recover and recipe.finetune > 0,
            }
            path = self.cache.get("prune", inputs, lambda work: self._prune(recipe, whole, seed, work)) / "best.pt"
        return path

    def artefact(self, recipe: Recipe, seed: int) -> Path:
        """The file or folder that is deployed."""
        checkpoint = self.checkpoint(recipe, seed)
        form, target = ENGINES[recipe.engine].format, ENGINES[recipe.engine].target
        half = recipe.engine == "tensorrt" and recipe.precision == "fp16"
        int8 = recipe.precision == "int8"
        name = f"{Path(recipe.model).stem}{FORMATS[form].ending}"
        how: dict[str, Any] = {"imgsz": recipe.imgsz, "head": recipe.head}

        def floats(work: Path, format: str) -> None:
            precision = "fp16" if half else "fp32"
            export(checkpoint, format=format, precision=precision, output=work / name, **how)

        inputs = {"model": sha256(checkpoint), "format": form, "half": half, **how}
        if not int8:
            return self.cache.get("export", inputs, lambda work: floats(work, form)) / name

        def quantised(work: Path) -> None:
            from yolort.tools.quantize.quantize import quantize

            source = export(checkpoint, output=work / "float.onnx", **how)
            known = calibrate(source, self.data)
            if form == "ncnn":
                plain = export(checkpoint, format="ncnn", output=work / "float_ncnn_model", **how)
                quantize(plain, known, format="ncnn", measure=False, output=work / name)
                shutil.rmtree(plain)
            else:
                onnx = work / f"{Path(recipe.model).stem}.onnx"
                quantize(source, known, target=target, measure=False, output=onnx)
                if form == "engine":
                    from yolort.tools.export.tensorrt import build_engine

                    build_engine(onnx, precision="fp16", output=work / name)
            source.unlink()

        inputs = {**inputs, "target": target, "data": self.train_sha}
        return self.cache.get("int8", inputs, quantised) / name

    def case(self, recipe: Recipe, seed: int) -> Case:
        """How the artefact is run."""
        precision = "" if recipe.precision == "int8" or recipe.engine == "tensorrt" else recipe.precision
        path = self.artefact(recipe, seed)
        return Case(str(path), recipe.engine, precision=precision, threads=recipe.threads, augment=recipe.augment)

    def accuracy(self, recipe: Recipe, seed: int) -> Accuracy:
        """On the images of val."""
        case = self.case(recipe, seed)
        options = {key: value for key, value in case.options.items() if key != "threads"}

        def measure(work: Path) -> None:
            done = validate(case.model, self.data, resamples=0, **options)
            draws50_95, draws50 = done.scores.draws(_DRAWS)
            np.savez(
                work / "accuracy.npz",
                figures=np.array([done.metrics.map50_95, done.metrics.map50]),
                draws50_95=draws50_95,
                draws50=draws50,
            )

        inputs = {"artefact": sha256(case.model), "options": options, "data": self.val_sha, "draws": _DRAWS}
        with np.load(self.cache.get("accuracy", inputs, measure) / "accuracy.npz", allow_pickle=False) as known:
            figures = known["figures"]
            return Accuracy(float(figures[0]), float(figures[1]), known["draws50_95"], known["draws50"])

    def latency(self, cases: Sequence[Case], runs: int = 100) -> list[Row]:
        """Milliseconds of all of them, measured in turns; kept for this machine."""
        inputs = {
            "cases": [{**asdict(one), "model": sha256(one.model)} for one in cases],
            "machine": _core.machine(),
            "yolort": yolort.__version__,
            "runs": runs,
        }

        def measure(work: Path) -> None:
            done = benchmark(chosen=list(cases), runs=runs)
            failed = [row.error for row in done.rows if row.error]
            if failed:
                raise yolort.Error(f"not timed: {'; '.join(failed)}")
            rows = [
                {"facts": row.facts, "size_mb": row.size_mb, "samples": row.samples.tolist(), "others": row.others}
                for row in done.rows
            ]
            (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")

        rows = json.loads((self.cache.get("latency", inputs, measure) / "rows.json").read_text(encoding="utf-8"))
        return [
            Row(case, samples=np.array(row["samples"]), **{key: row[key] for key in ("facts", "size_mb", "others")})
            for case, row in zip(cases, rows, strict=True)
        ]

    def _train(self, recipe: Recipe, source: Path, teacher: str | Path | None, seed: int, work: Path) -> None:
        from yolort.tools.train.distill import distilling
        from yolort.tools.train.train import train
        from yolort.tools.train.trainer import Trainer

        if (work / "best.pt").is_file():
            return
        run = work / "run"

        def trained(resume: bool) -> Path:
            return train(
                source,
                self.data,
                epochs=recipe.epochs,
                imgsz=recipe.imgsz,
                seed=seed,
                scales=recipe.scales,
                output=run,
                resume=resume,
                trainer=distilling(Trainer, teacher) if teacher else Trainer,
                **recipe.train,
            )

        if (run / "weights" / "last.pt").is_file():
            try:
                best = trained(resume=True)
            except (AssertionError, ValueError):  # it was interrupted after its last epoch: there is nothing to resume
                shutil.rmtree(run)
                best = trained(resume=False)
        else:
            shutil.rmtree(run, ignore_errors=True)
            best = trained(resume=False)
        shutil.copy(best, work / "copied.pt")
        (work / "copied.pt").rename(work / "best.pt")

    def _prune(self, recipe: Recipe, source: Path, seed: int, work: Path) -> None:
        from yolort.tools.prune.prune import prune

        prune(
            source,
            ratio=recipe.prune,
            method=recipe.method,
            round_to=recipe.round_to,
            data=self.data if recipe.finetune or recipe.method == "taylor" else None,
            finetune=recipe.finetune,
            distill=recipe.recover and recipe.finetune > 0,
            imgsz=recipe.imgsz,
            measure=False,
            seed=seed,
            output=work / "best.pt",
            **(recipe.train if recipe.finetune else {}),
        )
