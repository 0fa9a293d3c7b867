"""One classification model on one engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

from yolort import _checks, _core, _fork
from yolort._inputs import Input, run_on
from yolort._model import Model
from yolort._types import Array, ImageSource, Settings, Source
from yolort.classification import Classification

if TYPE_CHECKING:
    from yolort.sources import StreamSource
    from yolort.stream import Policy, Stream


class Classifier(Model[_core.Classifier]):
    """Loads a model and classifies images with it.

    Images are prepared as in Ultralytics: for a square input the shorter side is resized and the center is cropped;
    otherwise both sides are resized. Threads and processes: see `Detector`.
    """

    def __init__(
        self,
        model: str | bytes | os.PathLike[str] | bytearray | memoryview,
        *,
        format: str | None = None,
        engine: str | None = None,
        device: str | int | None = None,
        threads: int | None = None,
        precision: str | None = None,
        names: Sequence[str] | Mapping[int, str] | None = None,
        imgsz: int | tuple[int, int] | None = None,
        tuned: bool = True,
        engine_options: Mapping[str, str | float] | None = None,
        channels: str | int | None = None,
        resize: str | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        """Load a model; it is ready when this returns.

        Args:
            model: see `Detector`.
            format: see `Detector`.
            engine: see `Detector`.
            device: see `Detector`.
            threads: see `Detector`.
            precision: see `Detector`.
            names: see `Detector`.
            imgsz: see `Detector`.
            tuned: see `Detector`.
            engine_options: see `Detector`.
            channels: see `Detector`.
            mean: see `Detector`; torchvision's models need (0.485, 0.456, 0.406).
            std: see `Detector`; torchvision's models need (0.229, 0.224, 0.225).
            resize: "stretch" resizes both sides to the network input, even if it is square.

        Raises:
            ModelError: see `Detector`; also for a model of another task, which `Detector` opens.
            FileNotFoundError, EngineError, ValueError, TypeError: see `Detector`.
        """
        self._core = _core.Classifier(
            _checks.contents("model", model) if format else _checks.path("model", model),
            format=_checks.text("format", format),
            engine=_checks.text("engine", engine),
            device=_checks.device(device),
            precision=_checks.text("precision", precision),
            threads=None if threads is None else _checks.count("threads", threads),
            names=_checks.names(names),
            imgsz=_checks.imgsz(imgsz),
            tuned=_checks.flag("tuned", tuned),
            engine_options=_checks.engine_options(engine_options),
            channels=_checks.channels(channels),
            resize=_checks.text("resize", resize),
            mean=_checks.numbers("mean", mean),
            std=_checks.numbers("std", std),
        )
        self._names = dict(enumerate(self._core.names))
        _fork.watch(self)

    @overload
    def __call__(self, source: Array, *, format: str | None = None) -> Classification: ...
    @overload
    def __call__(self, source: Sequence[Array | ImageSource], *, format: str | None = None) -> list[Classification]: ...
    @overload
    def __call__(self, source: ImageSource, *, format: str | None = None) -> Classification | list[Classification]: ...

    def __call__(self, source: Source, *, format: str | None = None) -> Classification | list[Classification]:
        """Classify images.

        Args:
            source: one image or several, see `Detector.__call__`.
            format: channel order of arrays: "bgr", "rgb", "bgra", "rgba" or "gray"; other images have their own.

        Returns:
            Classification for one image, a list of them (in order, `path` set for files and URLs) for several.
            Unreadable images in a folder or glob are skipped, each with a UserWarning.

        Raises:
            FileNotFoundError, ImageError, TypeError, ValueError, EngineError: see `Detector.__call__`.
        """
        _checks.settings(Settings(format=format), self._names)
        return run_on(source, format, self.channels, self._classify)

    def stream(
        self,
        source: StreamSource | Sequence[StreamSource],
        *,
        policy: Policy | None = None,
        buffer: int = 8,
        workers: int | None = None,
        max_batch: int | None = None,
        max_wait: float = 0.0,
        format: str | None = None,
    ) -> Stream[Classification]:
        """Classify a stream of images; see `Detector.stream`. Each frame has its Classification in `result`."""
        from yolort.stream import Stream

        batching = {"max_batch": max_batch, "max_wait": max_wait}
        return Stream(self, source, policy, buffer, workers, batching, Settings(format=format))

    @property
    def task(self) -> str:
        """Task of the model: "classify"."""
        return "classify"

    @property
    def head(self) -> str:
        """Form of the outputs: "probs"."""
        return "probs"

    def __repr__(self) -> str:
        height, width = self.imgsz
        return (
            f"Classifier(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r}, "
            f"tuned={self.tuned}, imgsz={height}x{width}, classes={len(self._names)})"
        )

    def _classify(self, inputs: Sequence[Input]) -> list[Classification]:
        arrays = [item.array for item in inputs]
        return [
            Classification(probs, names=self._names, path=item.path, shape=(item.array.shape[0], item.array.shape[1]))
            for probs, item in zip(self._core.classify(arrays, [one.format for one in inputs]), inputs, strict=True)
        ]
