"""INT8 models from a calibration, checked and measured before they are given a name.

    from yolort.tools import quantize
    quantize("yolo26n.onnx", "calibration.json", target="openvino", data="coco128.yaml", max_drop=0.3)

One calibration serves every format: `onnx` with the Q/DQ pairs where the target's engine wants them, `ncnn`, and the
calibration `cache` of TensorRT. The convolutions that give the raw maps stay float.
"""

from __future__ import annotations

import contextlib
import copy
import fnmatch
import json
import logging
import platform
import shutil
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
import yolort
from yolort import _atomic, _core
from yolort.tools import _system
from yolort.tools._yaml import read_yaml
from yolort.tools.data.dataset import letterboxed, load_dataset
from yolort.tools.evaluate.benchmark import Case, benchmark, disturbed
from yolort.tools.evaluate.validate import validate
from yolort.tools.models.onnx_graph import Graph, GraphError
from yolort.tools.quantize import ncnn_int8, onnx_qdq
from yolort.tools.quantize.calibrate import Calibration, CalibrationError, float_graph
from yolort.tools.quantize.onnx_qdq import TARGETS, Target
from yolort.tools.quantize.sensitivity import MOST_CHANGED, Budget, changed, keep_float, raw_maps

__all__ = ["FORMATS", "MODES", "QuantizeError", "Quantized", "quantize"]

_log = logging.getLogger(__name__)

FORMATS = {"onnx": ".onnx", "ncnn": "_ncnn_model", "cache": ".cache"}
MODES = ("static", "dynamic", "weights")
_PICTURES = 4  # that the sensitivity of layers is measured on


class QuantizeError(yolort.Error):
    """The INT8 model does not compute what the float one computes, or the budget cannot be met."""


@dataclass
class Quantized:
    """The outcome of `quantize`."""

    path: Path
    floats: dict[str, str]  # convolutions that stay float, beside those of the head, and why
    megabytes: tuple[float, float]  # before, after
    changed: float = float("nan")  # 0 to 1: how much of what is detected on the embedded picture
    map50_95: tuple[float, float] | None = None  # float, INT8; 0 to 1
    conf: tuple[float, float] | None = None  # confidence of the best F1: float, INT8
    ms: tuple[float, float] | None = None  # p50 end to end on the target's engine: float, INT8
    notes: list[str] = field(default_factory=list)


def quantize(
    model: str | Path,
    calibration: str | Path | Calibration | None = None,
    *,
    format: str = "onnx",
    target: str | None = None,
    mode: str = "static",
    per_channel: bool = True,
    reduce_range: bool | None = None,
    exclude: Sequence[str] = (),
    int8_stem: bool | None = None,
    data: str | Path | None = None,
    split: str = "val",
    max_drop: float | None = None,
    allow_overlap: bool = False,
    measure: bool = True,
    output: str | Path | None = None,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Quantized:
    """Makes an INT8 model.

    Args:
        model: the FP32 export that was calibrated (.onnx), for `ncnn` the *_ncnn_model folder of the same checkpoint;
            or the checkpoint, which is then exported as it was for the calibration.
        calibration: what `calibrate` wrote; none for the modes "dynamic" and "weights".
        format: "onnx", "ncnn", or "cache", the calibration cache that TensorRT 8 and 10 take for implicit INT8.
        target: of ONNX, the engine that it has to be fast on: "openvino", "onnxruntime", "arm" (ONNX Runtime on ARM,
            signed activations), "gpu" (TensorRT, symmetric). None takes "openvino" on x86, or "onnxruntime" where
            `mode` is not "static", and "arm" on ARM. Any engine can run the file.
        mode: "static"; of ONNX also "dynamic" (activations by the range of each image) and "weights" (stored in INT8,
            computed in float).
        per_channel: a weight scale for each output channel.
        reduce_range: of ONNX for x86, weights of 7 bits; None takes them where this machine lacks VNNI, since INT8
            products then saturate.
        exclude: names of convolutions (* and ? match) that stay float.
        int8_stem: of mode "static", whether the first three convolutions behind the image are INT8; None: where that
            pays, which is on OpenVINO and TensorRT.
        data, split: labelled images to measure accuracy on before and after, see `load_dataset`.
        max_drop: of mAP50-95, in points of 100; needs `data`. The convolutions that cost most accuracy for the time
            they save are kept float, until the drop is within it.
        allow_overlap: score on images that were calibrated on.
        measure: time both models on the target's engine, where it is here.
        output: path of the artefact; None puts `<stem>-int8<ending>` beside the model.
        progress: wraps the steps of the search for `max_drop`, for a progress bar.

    The artefact appears whole or not at all, and only where its maps of a picture are those of the float model, more or
    less; its metadata hold the target, the calibration, the convolutions kept float and, with `data`, the recommended
    `conf`.

    Raises:
        FileNotFoundError, ValueError, OSError: as `export`.
        GraphError: the model is none that can be quantised.
        CalibrationError: the calibration is damaged, of another model, or has images of `data`.
        QuantizeError: the result is wrong, or `max_drop` cannot be met.
        Anything that `load_dataset` and `validate` raise.
    """
    if format not in FORMATS:
        hint = "; TensorRT builds engines from --format onnx --target gpu" if format == "engine" else ""
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}{hint}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    if target is not None and (target not in TARGETS or format != "onnx"):
        raise ValueError(f"target is for onnx, and one of {', '.join(TARGETS)}, not {target!r}")
    if mode != "static" and format != "onnx":
        raise ValueError(f"mode {mode!r} is for onnx")
    if max_drop is not None and (data is None or not 0 <= max_drop <= 100):
        raise ValueError("max_drop is in points of mAP50-95, 0 to 100, and needs data to measure it on")
    if mode == "static" and calibration is None:
        raise ValueError("static INT8 needs a calibration; yolort calibrate makes one")
    known = Calibration.load(calibration) if isinstance(calibration, (str, Path)) else calibration
    destination = _destination(Path(model), format, output)
    read = [path for path in (model, calibration, data) if isinstance(path, (str, Path))]
    _atomic.check(destination, sources=read, folder=format == "ncnn")
    if data is not None:
        scored = [sample.path for sample in load_dataset(data, split).samples]
        if known is not None and not allow_overlap:
            known.check_images(scored, str(data))
    if format == "cache":
        assert known
        with float_graph(model, known.head, known.imgsz) as graph:
            known.check_graph(graph)
        _atomic.write(destination, _cache(known), sources=read)
        return Quantized(destination, {}, (0.0, destination.stat().st_size / 1e6))

    with _atomic.workspace(destination) as folder:
        recipe: _Recipe
        with contextlib.ExitStack() as stack:
            if format == "onnx":
                arm = platform.machine().lower() in ("aarch64", "arm64")
                usual = "arm" if arm else "openvino" if mode == "static" else "onnxruntime"
                chosen = TARGETS[target or usual]
                head, size = (known.head, known.imgsz) if known else ("raw", None)
                graph = stack.enter_context(float_graph(model, head, size))
                if known is not None:
                    known.check_graph(graph)
                if reduce_range is None:
                    reduce_range = not chosen.signed and not arm and not _system.has_vnni()
                recipe = _OnnxRecipe(graph, known, chosen, mode, per_channel, reduce_range, folder)
            else:
                assert known
                recipe = _NcnnRecipe(_ncnn_folder(Path(model), known, folder), known, per_channel, folder)
            excluded = dict.fromkeys(_matching(recipe.layers, exclude), "excluded")
            if mode == "static":
                excluded |= dict.fromkeys(recipe.attention, "attention")
                if not (recipe.int8_stem if int8_stem is None else int8_stem):
                    excluded |= dict.fromkeys(recipe.stem & set(recipe.layers), "stem")
            return _make(recipe, excluded, destination, folder, data, split, max_drop, measure, progress)


class _Recipe:
    """Makes INT8 artefacts of one model that differ in what stays float."""

    ending: str
    engine: str  # the one it is made for
    layers: dict[str, str]  # convolutions that may be INT8: key, name as the user knows it
    attention: set[str]  # those of attention: 8 bits cost them accuracy, and save no time
    stem: set[str]  # the first of them
    int8_stem: bool  # whether those gain by it
    source: Path  # the float artefact

    def build(self, path: Path, floats: Collection[str], note: dict[str, Any]) -> None:
        """Writes one, with the metadata of the source and `note` added to the key `yolort`."""
        raise NotImplementedError


class _OnnxRecipe(_Recipe):
    ending = ".onnx"

    def __init__(
        self,
        graph: Graph,
        calibration: Calibration | None,
        target: Target,
        mode: str,
        per_channel: bool,
        reduce_range: bool,
        folder: Path,
    ) -> None:
        self._graph, self._calibration, self._target, self._mode = graph, calibration, target, mode
        self._options = {"per_channel": per_channel, "reduce_range": reduce_range}
        self._folder = folder
        self.engine = target.engine
        self._heads = {node.name for node in graph.heads}
        self.layers = {
            node.name: node.name.partition(":")[2] for node in graph.convolutions if node.name not in self._heads
        }
        self.attention, self.stem, self.int8_stem = graph.attention, graph.stem, target.stem
        self.source = folder / "float.onnx"
        onnx.save(graph.model, self.source)

    def build(self, path: Path, floats: Collection[str], note: dict[str, Any]) -> None:
        kept = {*floats, *self._heads}
        if self._mode == "static":
            assert self._calibration
            made = onnx_qdq.static(self._graph, self._calibration, self._target, kept, **self._options)
        elif self._mode == "dynamic":
            made = onnx_qdq.dynamic(self._graph, kept, self._folder, per_channel=bool(self._options["per_channel"]))
        else:
            made = onnx_qdq.weights_only(self._graph, kept, per_channel=bool(self._options["per_channel"]))
        contract = _contract(self._graph.contract, self._calibration, self.engine, self._mode, note)
        metadata = {**self._graph.metadata, "yolort": json.dumps(contract), "writer": _atomic.MARK}
        onnx.helper.set_model_props(made, metadata)
        onnx.save(made, path)


class _NcnnRecipe(_Recipe):
    ending = "_ncnn_model"
    engine = "ncnn"

    def __init__(self, source: Path, calibration: Calibration, per_channel: bool, folder: Path) -> None:
        self.source, self._calibration, self._per_channel = source, calibration, per_channel
        self._layers = ncnn_int8.read(source)
        ncnn_int8.convolutions(self._layers, calibration)
        taken = {blob for layer in self._layers for blob in layer.bottoms}
        self.layers = {
            layer.name: layer.name
            for layer in self._layers
            if layer.weights is not None and not set(layer.tops).isdisjoint(taken)
        }
        self._heads = {
            layer.name for layer in self._layers if layer.weights is not None and layer.name not in self.layers
        }
        self.attention = ncnn_int8.attention(self._layers)
        self.stem, self.int8_stem = ncnn_int8.first_convolutions(self._layers), False
        sidecar = source / "metadata.yaml"
        if not sidecar.is_file():
            raise FileNotFoundError(f"no such file: {sidecar}; export the model again")
        try:
            self._metadata = read_yaml(sidecar)
            self._contract = dict(json.loads(self._metadata["yolort"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise GraphError(f"{sidecar} is no metadata of a yolort export: {error}") from error
        if self._contract.get("head") != calibration.head:
            raise CalibrationError(
                f"{source} has the head {self._contract.get('head')}, and the calibration is for {calibration.head}"
            )

    def build(self, path: Path, floats: Collection[str], note: dict[str, Any]) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        layers = copy.deepcopy(self._layers)
        kept = {*floats, *self._heads}
        ncnn_int8.write_int8(layers, self._calibration, path, kept, per_channel=self._per_channel)
        contract = _contract(self._contract, self._calibration, "ncnn", "static", note)
        described = {**self._metadata, "yolort": json.dumps(contract), "writer": _atomic.MARK}
        text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=1 << 30)
        (path / "metadata.yaml").write_text(text, encoding="utf-8")


def _contract(
    own: dict[str, Any], calibration: Calibration | None, engine: str, mode: str, note: dict[str, Any]
) -> dict[str, Any]:
    told: dict[str, Any] = {"mode": mode, **note}
    if calibration is not None and mode == "static":
        told["calibration"] = {
            "sha256": calibration.sha256,
            "method": calibration.method,
            "images": len(calibration.images),
        }
    return {**own, "precision": "int8", "engine": engine, "quantization": told}


def _make(
    recipe: _Recipe,
    excluded: dict[str, str],
    destination: Path,
    folder: Path,
    data: str | Path | None,
    split: str,
    max_drop: float | None,
    measure: bool,
    progress: Callable[[Sequence[Any]], Iterable[Any]],
) -> Quantized:
    """Builds, checks, measures and places."""
    built = folder / f"built{recipe.ending}"
    engine = _runner(recipe)
    floats = dict(excluded)
    note: dict[str, Any] = {}

    def build(kept: Collection[str]) -> Path:
        recipe.build(built, kept, note)
        return built

    def accuracy(path: Path) -> tuple[float, float]:
        assert data is not None
        found = validate(path, data, split=split, resamples=0, engine=engine, precision="fp32", tuned=False).metrics
        return found.map50_95, found.best_conf

    build(floats)
    done = Quantized(destination, {}, (_megabytes(recipe.source), _megabytes(built)))
    if engine:
        picture = letterboxed([yolort.demo_image()], yolort.Detector(recipe.source, tuned=False).imgsz)
        done.changed = changed(*(raw_maps(path, engine, picture) for path in (recipe.source, built)))
        if not done.changed <= MOST_CHANGED:
            raise QuantizeError(
                "the INT8 model does not compute what the float one does: nothing that it detects on a picture is the "
                "same. Was it calibrated on images of its training?"
            )
    if data is not None:
        if engine is None:
            raise yolort.EngineError(f"{recipe.engine} cannot run here, so accuracy cannot be measured")
        before, after = accuracy(recipe.source), accuracy(built)
        if max_drop is not None and 100 * (before[0] - after[0]) > max_drop:
            budget = Budget(before[0] - max_drop / 100, lambda kept: accuracy(build(kept))[0])
            pictures = _pictures(recipe.source, data, split)
            kept = keep_float(recipe.source, build, list(recipe.layers), excluded, engine, pictures, budget, progress)
            if kept is None:
                raise QuantizeError(f"the drop of mAP50-95 stays above {max_drop} points whatever is kept float")
            floats = kept
            after = accuracy(build(floats))
        done.map50_95, done.conf = (before[0], after[0]), (before[1], after[1])
        note |= {"data": Path(data).name, "map50_95": [round(one[0], 5) for one in (before, after)]}
        note["conf"] = round(after[1], 3)
    done.floats = {name: floats[key] for key, name in recipe.layers.items() if key in floats}
    note["float"] = list(done.floats)
    build(floats)
    done.megabytes = (done.megabytes[0], _megabytes(built))
    if measure and engine:
        cases = [Case(str(path), engine) for path in (recipe.source, built)]
        rows = benchmark(chosen=cases, runs=40, warmup=10).rows
        if not any(row.error for row in rows):
            before_ms, after_ms = (float(np.median(row.samples[:, 0])) for row in rows)
            done.ms = before_ms, after_ms
            if _system.Load.disturbs(rows[0].others):
                done.notes.append(disturbed(rows[0].others))
            elif after_ms > before_ms:
                other = "openvino" if engine != "openvino" else "onnxruntime"
                done.notes.append(
                    f"INT8 is slower than the float model here on {engine}: it does not pay. "
                    f"Try another engine (--target {other}), or run the float model with precision bf16 or fp16"
                )
    elif not engine:
        done.notes.append(f"{recipe.engine} cannot run here: the result was neither checked nor measured")
    _atomic.place(built, destination)
    return done


def _runner(recipe: _Recipe) -> str | None:
    """The engine that the artefact is for, or one that computes the same where that is not here."""
    able = [engine for engine, why, _ in _core.candidates(str(recipe.source)) if not why]
    return recipe.engine if recipe.engine in able else None if recipe.engine == "ncnn" else next(iter(able), None)


def _pictures(model: Path, data: str | Path, split: str) -> np.ndarray:
    """A few pictures of a data set, with something in them."""
    samples = [sample for sample in load_dataset(data, split).samples if len(sample.classes)]
    return letterboxed([sample.path for sample in samples[:_PICTURES]], yolort.Detector(model, tuned=False).imgsz)


def _matching(layers: dict[str, str], patterns: Sequence[str]) -> set[str]:
    out: set[str] = set()
    for pattern in patterns:
        found = {key for key, name in layers.items() if fnmatch.fnmatchcase(name, pattern)}
        if not found:
            some = ", ".join(list(layers.values())[:3])
            raise ValueError(f"exclude: no convolution is named '{pattern}'; they are named like {some}")
        out |= found
    return out


def _ncnn_folder(model: Path, calibration: Calibration, folder: Path) -> Path:
    """The FP32 model; of a checkpoint, exported into `folder`."""
    if model.is_dir():
        return model
    if model.suffix.lower() not in (".pt", ".yaml", ".yml"):
        raise ValueError(f"{model}: for ncnn give the FP32 *_ncnn_model folder of the checkpoint, or the checkpoint")
    from yolort.tools.export.pipeline import export

    target = folder / f"{model.stem}_ncnn_model"
    return export(model, format="ncnn", head=calibration.head, imgsz=calibration.imgsz, output=target)


def _cache(calibration: Calibration) -> str:
    """As TensorRT 8.6 writes it: a header, and of each tensor the bits of its scale, peak / 127, in hexadecimal."""
    kind = "MinMaxCalibration" if calibration.method == "minmax" else "EntropyCalibration2"
    rows = [
        f"{name}: {struct.pack('>f', max(found.peak, 1e-6) / 127).hex()}" for name, found in calibration.ranges.items()
    ]
    return "\n".join([f"TRT-8600-{kind}", *rows, ""])


def _destination(model: Path, format: str, output: str | Path | None) -> Path:
    ending = FORMATS[format]
    stem = model.name.removesuffix("_ncnn_model") if model.is_dir() else model.stem
    target = Path(output) if output is not None else model.parent / f"{stem}-int8{ending}"
    if not target.name.endswith(ending) or target.name == ending:
        raise ValueError(f"the output must be named *{ending}, not '{output}'")
    return target


def _megabytes(path: Path) -> float:
    files: Iterator[Path] = iter([path]) if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files if file.suffix != ".table") / 1e6
