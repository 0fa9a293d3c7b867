"""One classifying model on one engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast, overload

from yolort import _checks, _core, _fork
from yolort._inputs import run_on
from yolort._types import Array, ImagePath, Settings, Source, Speed
from yolort.classification import Classification

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yolort.sources import StreamSource
    from yolort.stream import Policy, Stream


class Classifier:
    """Loads a model and classifies images with it.

    Images are resized and cropped as Ultralytics does: the shorter side becomes that of the network input, whose middle
    is kept; if the input is not square, both sides are resized. Threads and processes: as of `Detector`.
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
            model, format, engine, device, threads, precision, names, imgsz, tuned, engine_options: as of `Detector`.
            channels, mean, std: as of `Detector`; torchvision's models take `mean=(0.485, 0.456, 0.406)` and
                `std=(0.229, 0.224, 0.225)`.
            resize: "stretch": both sides become those of the network input, also if that is square.

        Raises:
            FileNotFoundError, ModelError, EngineError, ValueError, TypeError: as `Detector`; ModelError for a model of
                another task, which `Detector` opens.
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
    def __call__(self, source: Array, **settings: Unpack[Settings]) -> Classification: ...
    @overload
    def __call__(self, source: Sequence[Array | ImagePath], **settings: Unpack[Settings]) -> list[Classification]: ...
    @overload
    def __call__(self, source: ImagePath, **settings: Unpack[Settings]) -> Classification | list[Classification]: ...

    def __call__(self, source: Source, **settings: Unpack[Settings]) -> Classification | list[Classification]:
        """Classify images.

        Args:
            source: an image, a path, a list of either, a folder or a glob pattern, as of `Detector`.
            **settings: format, the channel order of arrays, not of files.

        Returns:
            Classification for one image, a list of them (in order, `path` set) for a list, folder or glob. Images of a
            folder or glob that cannot be read are left out, each with a UserWarning.

        Raises:
            FileNotFoundError, ImageError, TypeError, ValueError, EngineError: as `Detector`.
        """
        if unknown := settings.keys() - {"format"}:
            raise TypeError(f"unknown setting {', '.join(sorted(unknown))}; a Classifier knows format")
        format = cast("str | None", _checks.settings(settings, self._names).get("format"))
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
        **settings: Unpack[Settings],
    ) -> Stream[Classification]:
        """Classify a flow of images, as `Detector.stream` detects in one; the result of a frame is its `result`."""
        from yolort.stream import Stream

        return Stream(self, source, policy, buffer, workers, {"max_batch": max_batch, "max_wait": max_wait}, settings)

    def clone(self) -> Classifier:
        """Another Classifier on the same weights, with its own buffers: one a thread."""
        copy = object.__new__(type(self))
        copy._core = self._core.clone()
        copy._names = self._names
        _fork.watch(copy)
        return copy

    def explain(self) -> str:
        """As of `Detector`."""
        return self._core.explain()

    @property
    def task(self) -> str:
        """What the model does: "classify"."""
        return "classify"

    @property
    def names(self) -> dict[int, str]:
        """Class names by class index."""
        return self._names

    @property
    def imgsz(self) -> tuple[int, int]:
        """Height and width of the network input in pixels."""
        return self._core.imgsz

    @property
    def channels(self) -> int:
        """Channels of the network input: 3, 1 of a gray image, or more."""
        return self._core.channels

    @property
    def batch(self) -> int:
        """Images of one run of the network at most; 0 if any number goes."""
        return self._core.batch

    @property
    def engine(self) -> str:
        """Name of the engine that runs the model."""
        return self._core.engine

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "vulkan:0 <name>", ..."""
        return self._core.device

    @property
    def precision(self) -> str:
        """What the engine computes in: "fp32", "bf16", ..."""
        return self._core.precision

    @property
    def tuned(self) -> bool:
        """Whether it runs as `yolort tune` recorded."""
        return self._core.tuned

    @property
    def head(self) -> str:
        """What the model puts out: "probs"."""
        return "probs"

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the model file, as text."""
        return self._core.metadata

    @property
    def speed(self) -> Speed:
        """Milliseconds of the last call: resizing, engine, and reading the scores."""
        return Speed(*self._core.speed)

    def __reduce__(self) -> str:
        raise TypeError("a Classifier cannot be pickled: send the path of its model, and construct it in that process")

    def __repr__(self) -> str:
        height, width = self.imgsz
        return (
            f"Classifier(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r}, "
            f"tuned={self.tuned}, imgsz={height}x{width}, classes={len(self._names)})"
        )

    def _classify(
        self, arrays: list[Array], paths: Sequence[str | None], formats: Sequence[str | None]
    ) -> list[Classification]:
        return [
            Classification(probs, names=self._names, path=path, shape=(array.shape[0], array.shape[1]))
            for probs, path, array in zip(self._core.classify(arrays, formats), paths, arrays, strict=True)
        ]
