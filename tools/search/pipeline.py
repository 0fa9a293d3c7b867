"""From a checkpoint to a measured artefact: what is done on the way is a `Recipe`, and each stage of it is kept.

lab = Lab("runs/lab", "data.yaml")
recipe = Recipe(model="yolo26n.pt", imgsz=320, epochs=10, prune=0.2, finetune=5, precision="int8", engine="openvino")
lab.artefact(recipe, seed=0)          # trains, prunes, fine-tunes, exports, calibrates and quantises
lab.accuracy(recipe, seed=0)          # of the artefact, on its engine
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import _checks, _core
from yolort.tools._cache import Store, data_sha256, sha256
from yolort.tools.evaluate.benchmark import Case, Row, benchmark
from yolort.tools.evaluate.validate import validate
from yolort.tools.export.pipeline import HEADS, export
from yolort.tools.quantize.calibrate import calibrate

__all__ = ["ENDINGS", "ENGINES", "Accuracy", "Lab", "Recipe"]

#: Of each engine: the format of its artefacts, and the target that INT8 is made for.
ENGINES = {
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "ncnn": ("ncnn", None),
    "tensorrt": ("engine", "gpu"),
}
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
#: Of each format, how the names of its artefacts end.
ENDINGS = {"onnx": ".onnx", "ncnn": "_ncnn_model", "engine": ".engine"}
_DRAWS = 1000  # of the images, of every accuracy: the same ones for all, so that differences are paired


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done with a model, in this order; as it stands here, next to nothing.

    Attributes:
        model: a checkpoint (.pt), or an architecture (.yaml) that has to be trained.
        imgsz: side of the network's input in pixels, of training and artefact.
        epochs: of training; 0 takes the checkpoint as it is.
        teacher: a checkpoint to distil from in that training, or the recipe of one.
        scales: of that training, see `train`.
        prune: share of channels to take out, 0 to 0.95.
        method: of pruning.
        round_to: widths after it are multiples of this.
        finetune: epochs of training after pruning.
        recover: with the unpruned model as teacher.
        head: "raw", or "raw-e2e" of YOLO26.
        engine: that the artefact is for, and measured on.
        precision: "int8", which is calibrated on the training images; else what the engine computes in.
        threads: of the CPU, up to four for each core; None is one for each core.
        augment: test-time augmentation.
        train: other arguments of Ultralytics' train, of both trainings.
    """

    model: str
    imgsz: int = 640
    epochs: int = 0
    teacher: str | Recipe | None = None
    scales: tuple[float, float] | None = None
    prune: float = 0.0
    method: str = "group-norm"
    round_to: int = 8
    finetune: int = 0
    recover: bool = True
    head: str = "raw"
    engine: str = "onnxruntime"
    precision: str = "fp32"
    threads: int | None = None
    augment: bool = False
    train: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("engine", ENGINES), ("precision", PRECISIONS), ("head", HEADS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name, least in (("epochs", 0), ("finetune", 0), ("imgsz", 32)):
            _checks.integer(name, getattr(self, name), least)
        if self.threads is not None:
            _checks.count("threads", self.threads)
        if not 0 <= self.prune < 1:
            raise ValueError(f"prune must be a share of channels, 0 to 0.95, not {self.prune}")
        if self.teacher and not self.epochs:
            raise ValueError("a teacher teaches in a training; give epochs")
        if self.finetune and not self.prune:
            raise ValueError("finetune is of a pruned model; give prune, or epochs")
        if Path(self.model).suffix != ".pt" and not self.epochs:
            raise ValueError(f"{self.model} has no weights yet; give epochs")
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))

    def but(self, changes: Mapping[str, Any]) -> Recipe:
        """The same with other values; ValueError for a name that there is not."""
        known = {one.name for one in fields(self)}
        for name in changes:
            if name not in known:
                raise ValueError(f"a recipe has no {name!r}; it has {', '.join(sorted(known))}")
        merged = {**self.train, **changes.get("train", {})}
        return replace(self, **{**changes, "train": merged})

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, for reports."""
        default = Recipe(model="x.pt")
        return {key: value for key, value in asdict(self).items() if value != getattr(default, key)}


@dataclass(frozen=True)
class Accuracy:
    """Of an artefact, on its engine; fractions, 0 to 1."""

    map50_95: float
    map50: float
    draws50_95: np.ndarray  # (n,) of images drawn with replacement, the same ones for every artefact of a data set
    draws50: np.ndarray


class Lab:
    """Makes and measures what recipes say; everything is kept in a folder."""

    def __init__(self, folder: str | Path, data: str | Path) -> None:
        """`data` is a `data.yaml` with labelled images in train and val. Raises what `load_dataset` raises."""
        self.data = str(data)
        self.train_sha = data_sha256(data, "train")
        self.val_sha = data_sha256(data, "val")
        self.store = Store(folder)

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
            made = self.store.get(
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
            path = self.store.get("prune", inputs, lambda work: self._prune(recipe, whole, seed, work)) / "best.pt"
        return path

    def artefact(self, recipe: Recipe, seed: int) -> Path:
        """The file or folder that is deployed."""
        checkpoint = self.checkpoint(recipe, seed)
        form, target = ENGINES[recipe.engine]
        half = recipe.engine == "tensorrt" and recipe.precision == "fp16"
        int8 = recipe.precision == "int8"
        name = f"{Path(recipe.model).stem}{ENDINGS[form]}"
        how: dict[str, Any] = {"imgsz": recipe.imgsz, "head": recipe.head}

        def floats(work: Path, format: str) -> Path:
            precision = "fp16" if half else "fp32"
            return export(checkpoint, format=format, precision=precision, output=work / name, **how)

        inputs = {"model": sha256(checkpoint), "format": form, "half": half, **how}
        if not int8:
            return self.store.get("export", inputs, lambda work: floats(work, form) and None) / name

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
        return self.store.get("int8", inputs, quantised) / name

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
        with np.load(self.store.get("accuracy", inputs, measure) / "accuracy.npz", allow_pickle=False) as known:
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

        rows = json.loads((self.store.get("latency", inputs, measure) / "rows.json").read_text(encoding="utf-8"))
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
