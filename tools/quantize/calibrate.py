"""Measures a detector's activation ranges on training images: one calibration for every INT8 format.

    from yolort.tools import calibrate
    calibrate("yolo26n.onnx", "coco128.yaml").save("calibration.json")

The FP32 graph runs on ONNX Runtime on letterboxed images; yolort.tools.quantize.activations collects the statistics.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yolort
from yolort import _atomic
from yolort.tools._hash import array_sha256, sha256, text_sha256
from yolort.tools._stages import stage
from yolort.tools.data.dataset import fill_input, list_images, splits
from yolort.tools.models.onnx_graph import Graph, read_graph
from yolort.tools.quantize.activations import Activations, CalibrationError, Range

__all__ = [
    "METHODS", "Calibration", "CalibrationError", "Convolution", "Observation", "Range", "Sum", "calibrate",
    "float_graph", "observe",
]  # fmt: skip

_log = logging.getLogger(__name__)

METHODS = ("minmax", "entropy", "percentile")
PERCENTILE = 99.999  # percentile of an activation's values; docs/benchmarks/int8.md compares others
_FORMAT = 1  # version of calibration.json
_MAX_JSON = 64 << 20
_MAX_SIDE = 16384  # pixel value, as in the core
_FEW = 32  # images; more hardly change the ranges (docs/benchmarks/int8.md), fewer give a warning


@dataclass(frozen=True)
class Convolution:
    """Identifies a convolution, so that writers of other formats find it again."""

    weights: str  # SHA-256 of its float32 weights, (out, in / groups, height, width)
    input: str  # its input activations
    output: str  # and gives


@dataclass(frozen=True)
class Sum:
    """An addition, identified by the outputs of the convolutions or sums that it reads, activated or sliced."""

    a: str
    b: str
    output: str


@dataclass(frozen=True)
class Calibration:
    """The result of `calibrate`, and its model and images."""

    model: str  # file name
    graph: str  # SHA-256 of the ONNX graph
    source: str  # SHA-256 of the checkpoint; empty if the model does not record it
    head: str
    imgsz: tuple[int, int]  # height, width
    method: str
    images: tuple[str, ...]  # SHA-256 of each file
    ranges: dict[str, Range]
    means: dict[str, np.ndarray]  # float32, per input channel of a convolution
    convolutions: tuple[Convolution, ...]
    sums: tuple[Sum, ...] | None  # None: written by a version that did not record them

    @property
    def sha256(self) -> str:
        """Hash of the contents, which identifies the calibration in models made with it."""
        return text_sha256(json.dumps(self._contents(), sort_keys=True))

    def check_graph(self, graph: Graph) -> None:
        """Raises CalibrationError if `graph` is not the one that was calibrated."""
        if graph.sha256 != self.graph:
            same = self.source and self.source == graph.contract.get("source", {}).get("sha256")
            why = "another export of the same checkpoint" if same else "another model"
            raise CalibrationError(
                f"the calibration was made on {self.model} (head {self.head}, {self.imgsz[1]} x {self.imgsz[0]}), and "
                f"{graph.name} is {why}; calibrate it"
            )

    def check_images(self, images: Sequence[Path], what: str) -> None:
        """Raises CalibrationError if one of these images was used for calibration."""
        known = set(self.images)
        shared = [path for path in images if sha256(path) in known]
        if shared:
            raise CalibrationError(
                f"{len(shared)} of the {len(images)} images of {what} were used for calibration, such as "
                f"{shared[0]}; their scores would be too good. Score on others, or use --allow-overlap"
            )

    def save(self, path: str | Path) -> None:
        """Writes calibration.json atomically; replaces only a file that yolort wrote."""
        created = datetime.now().astimezone().isoformat(timespec="seconds")
        text = {"writer": _atomic.MARK, "created": created, **self._contents()}
        _atomic.write(path, json.dumps(text, indent=1, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Reads calibration.json; FileNotFoundError, CalibrationError for a damaged, newer or other file."""
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"no such file: {file}; yolort calibrate writes it")
        if file.stat().st_size > _MAX_JSON:
            raise CalibrationError(f"{file} is larger than {_MAX_JSON >> 20} MiB, so it is not a calibration")
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(read, dict) or not isinstance(read.get("format"), int):
                raise ValueError("it has no 'format'")
            if read["format"] > _FORMAT:
                raise CalibrationError(
                    f"{file} was written by a newer yolort (format {read['format']}, this one reads {_FORMAT}); "
                    "upgrade yolort or calibrate again"
                )
            return cls._of(read)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
            raise CalibrationError(f"{file} is not a calibration, or is damaged: {why}") from error

    @classmethod
    def _of(cls, read: dict[str, Any]) -> Calibration:
        for name, value in (
            *((key, read[key]) for key in ("imgsz", "images", "convolutions")),
            ("sums", read.get("sums", [])),
            *((f"ranges of '{key}'", value) for key, value in read["ranges"].items()),
            *((f"means of '{key}'", value) for key, value in read["means"].items()),
            *(("a convolution", value) for value in read["convolutions"]),
            *(("a sum", value) for value in read.get("sums", [])),
        ):
            if not isinstance(value, list):  # list() would split a string into characters
                raise ValueError(f"{name[:80]}: {repr(value)[:80]} is not a list")
        ranges = {str(name): Range(*map(float, values)) for name, values in read["ranges"].items()}
        for name, one in ranges.items():
            if not (np.isfinite([one.low, one.high, one.peak]).all() and one.low <= 0 <= one.high and one.peak >= 0):
                raise ValueError(f"the range of '{name}' is {one.low} to {one.high}, peak {one.peak}")
        means = {str(name): np.array(values, np.float32).reshape(-1) for name, values in read["means"].items()}
        if not all(np.isfinite(values).all() for values in means.values()):
            raise ValueError("a mean is not finite")
        height, width = map(int, read["imgsz"])
        if not 0 < height <= _MAX_SIDE or not 0 < width <= _MAX_SIDE:
            raise ValueError(f"its input is {height} x {width} pixels")
        text = {key: str(read[key]) for key in ("model", "graph", "source", "head", "method")}
        return cls(
            **text,
            imgsz=(height, width),
            images=tuple(map(str, read["images"])),
            ranges=ranges,
            means=means,
            convolutions=tuple(Convolution(*map(str, one)) for one in read["convolutions"]),
            sums=tuple(Sum(*map(str, one)) for one in read["sums"]) if "sums" in read else None,
        )

    def _contents(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "model": self.model,
            "graph": self.graph,
            "source": self.source,
            "head": self.head,
            "imgsz": list(self.imgsz),
            "method": self.method,
            "images": list(self.images),
            "ranges": {name: [one.low, one.high, one.peak] for name, one in self.ranges.items()},
            "means": {name: [float(f"{mean:.6g}") for mean in means] for name, means in self.means.items()},
            "convolutions": [[one.weights, one.input, one.output] for one in self.convolutions],
            **({} if self.sums is None else {"sums": [[one.a, one.b, one.output] for one in self.sums]}),
        }


def calibrate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "train",
    images: int = 512,
    method: str = "percentile",
    percentile: float = PERCENTILE,
    batch: int = 8,
    head: str = "raw",
    imgsz: int | tuple[int, int] | None = None,
    allow_overlap: bool = False,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Calibration:
    """Runs a detector over training images and measures the range of each activation.

    Args:
        model: an FP32 ONNX file with a raw head, written by `yolort export`, or a classifier exported by Ultralytics;
            or a checkpoint (.pt) or architecture (.yaml), which is exported first, with `head` and `imgsz`.
        data: a `data.yaml`, COCO JSON, a .txt of paths, a folder or a glob pattern; labels are not needed.
        split: split of a `data.yaml`.
        images: maximum number of images, at least 2; a fixed random sample is used if there are more.
        method: "minmax" uses the bounds of all values, "percentile" clips (100 - `percentile`) % at either end, and
            "entropy" minimizes the Kullback-Leibler divergence (as in TensorRT).
        percentile: 50 to 100.
        batch: batch size, for a model exported with --dynamic; other models run at their own.
        imgsz: one side or (height, width) in pixels, for a dynamic model or a checkpoint; None: its own.
        allow_overlap: also accept images of the val or test split; scores on these images are then too high.
        progress: wraps the batches, for a progress bar.

    Counters take a few MiB; nothing grows with the number of images.

    Raises:
        FileNotFoundError: the model, data or an image does not exist.
        ValueError: bad arguments.
        GraphError: the model cannot be calibrated.
        LabelError: the description of the data is damaged, or lists no images.
        ImageError: none of the images can be read.
        CalibrationError: fewer than two images, blank images, non-finite activations, or images of the evaluation
            splits.
    """
    _check_method(method, percentile)
    seen = observe(
        model,
        data,
        split=split,
        images=images,
        batch=batch,
        head=head,
        imgsz=imgsz,
        allow_overlap=allow_overlap,
        histograms=method != "minmax",
        progress=progress,
    )
    return seen.calibration(method, percentile)


@dataclass(frozen=True)
class Observation:
    """The result of `observe`, from which every method computes its calibration."""

    graph: Graph
    imgsz: tuple[int, int]
    images: tuple[str, ...]  # SHA-256 of each file
    activations: Activations

    def calibration(self, method: str = "percentile", percentile: float = PERCENTILE) -> Calibration:
        """Ranges by one of `METHODS`; methods other than "minmax" need the histograms."""
        _check_method(method, percentile)
        find = self.graph.source
        return Calibration(
            model=self.graph.name,
            graph=self.graph.sha256,
            source=str(self.graph.contract.get("source", {}).get("sha256", "")),
            head=str(self.graph.contract["head"]),
            imgsz=self.imgsz,
            method=method if method != "percentile" else f"percentile {percentile:g}",
            images=self.images,
            ranges=self.activations.ranges(method, percentile),
            means=self.activations.means(),
            convolutions=tuple(
                Convolution(_weights_sha256(self.graph, node.input[1]), node.input[0], node.output[0])
                for node in self.graph.convolutions
            ),
            sums=tuple(Sum(find(node.input[0]), find(node.input[1]), node.output[0]) for node in self.graph.sums),
        )


def observe(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "train",
    images: int = 512,
    batch: int = 8,
    head: str = "raw",
    imgsz: int | tuple[int, int] | None = None,
    allow_overlap: bool = False,
    histograms: bool = True,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Observation:
    """Runs a detector over images; arguments and errors: see `calibrate`."""
    for name, value, low, high in (("images", images, 2, 1_000_000), ("batch", batch, 1, 128)):
        if not low <= value <= high:
            raise ValueError(f"{name} must be within {low}..{high}, not {value}")
    chosen = _choose(data, split, images, allow_overlap)
    with float_graph(model, head, imgsz) as graph:
        size = _size(graph, imgsz)
        channels = graph.shapes[graph.input.name][1]
        activations = Activations(graph, batch, histograms)
        pictures = np.empty((activations.batch, channels, *size), np.float32)
        stage(f"calibrating on {len(chosen)} images")
        hashes: list[str] = []
        unreadable: list[str] = []
        blank = 0
        for start in progress(range(0, len(chosen), activations.batch)):
            filled = 0
            for path in chosen[start : start + activations.batch]:
                try:
                    image = yolort.images.read(path, channels)
                except (yolort.ImageError, OSError) as error:
                    unreadable.append(str(error))
                    continue
                blank += int(image.min()) == int(image.max())
                fill_input(image, pictures[filled], graph.task)
                hashes.append(sha256(path))
                filled += 1
            if filled:
                activations.add(pictures[:filled])
    for reason in unreadable:
        _log.warning("skipped: %s", reason)
    if not hashes:
        raise yolort.ImageError(f"none of the {len(chosen)} images can be read; the first: {unreadable[0]}")
    if len(hashes) < 2:
        raise CalibrationError(f"{data}: one image is not representative; use a few hundred training images")
    if blank == len(hashes):
        raise CalibrationError(f"{data}: all {blank} images have a single color; calibrate on training images")
    if len(hashes) < _FEW:
        _log.warning("only %d images: ranges may be too narrow; use at least 32 training images", len(hashes))
    return Observation(graph, size, tuple(hashes), activations)


def _check_method(method: str, percentile: float) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not 50 <= percentile <= 100:
        raise ValueError(f"percentile must be within 50..100, not {percentile}")


def _weights_sha256(graph: Graph, name: str) -> str:
    weights = graph.constant(name)
    assert weights is not None  # `Graph.convolutions` have weights
    return array_sha256(weights)


@contextmanager
def float_graph(model: str | Path, head: str, imgsz: int | tuple[int, int] | None) -> Iterator[Graph]:
    """The graph of an ONNX file, or of a checkpoint, which is exported."""
    if Path(model).suffix.lower() not in (".pt", ".yaml", ".yml"):
        yield read_graph(model)
        return
    from yolort.tools.export.pipeline import export

    with tempfile.TemporaryDirectory(prefix="yolort-") as folder:
        yield read_graph(export(model, head=head, imgsz=imgsz, output=Path(folder) / f"{Path(model).stem}.onnx"))


def _choose(data: str | Path, split: str, count: int, allow_overlap: bool) -> list[Path]:
    files = list_images(data, split)
    if len(files) < 2:
        raise CalibrationError(f"{data}: one image is not representative; use a few hundred training images")
    rows = np.random.default_rng(0).permutation(len(files))  # even for all images: means use the first ones
    files = [files[row] for row in rows[:count]]
    if not allow_overlap:
        for other in splits(data):
            if other == "train":
                continue
            try:
                scored = list_images(data, other)
            except FileNotFoundError as error:  # Roboflow names a test split that it does not export
                _log.warning("split '%s' cannot be compared with the images: %s", other, error)
                continue
            _refuse_shared(files, scored, f"{data}, split '{other}'")
    return files


def _refuse_shared(files: list[Path], scored: list[Path], what: str) -> None:
    """Raises CalibrationError if a file is also in an evaluation split, under any name."""
    sizes: dict[int, list[Path]] = {}
    for path in scored:
        if path.is_file():
            sizes.setdefault(path.stat().st_size, []).append(path)
    shared = []
    for path in files:
        alike = sizes.get(path.stat().st_size, []) if path.is_file() else []
        if any(path.samefile(other) for other in alike) or (alike and sha256(path) in map(sha256, alike)):
            shared.append(path)
    if shared:
        raise CalibrationError(
            f"{len(shared)} of the {len(files)} images are also used for scoring ({what}), such as {shared[0]}; "
            "their scores would be too good. Calibrate on others, or use --allow-overlap"
        )


def _size(graph: Graph, imgsz: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the network input, pixels."""
    own = graph.shapes[graph.input.name]
    asked = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    if len(own) != 4 or not own[1]:
        raise CalibrationError(f"{graph.name}: its input is {own}, expected (batch, channels, height, width)")
    if own[2] and own[3]:
        if asked and tuple(asked) != (own[2], own[3]):
            raise ValueError(f"imgsz: {graph.name} was exported for {own[3]} x {own[2]} only")
        return own[2], own[3]
    size = asked or tuple(graph.contract["input"]["shape"][2:])
    if not all(isinstance(side, int) and 32 <= side <= 8192 for side in size):
        raise ValueError(f"imgsz must be one side or (height, width) in 32..8192 pixels, not {size}")
    return size[0], size[1]
