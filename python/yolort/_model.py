"""Code shared by `Detector` and `Classifier`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

import numpy as np

from yolort import _checks, _core, _fork
from yolort._types import Speed

Core = TypeVar("Core", _core.Detector, _core.Classifier)
Self = TypeVar("Self", bound="Model[Any]")


class Model(Generic[Core]):
    """A model that is loaded on an engine."""

    _core: Core
    _names: dict[int, str]

    def clone(self: Self) -> Self:
        """Another one on the same weights, with its own buffers, for another thread."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), _core=self._core.clone())
        _fork.watch(copy)
        return copy

    def explain(self) -> str:
        """Lines that say why this engine and precision were chosen, and whether each other engine could run the model.
        Opens the other engines' libraries.
        """
        return self._core.explain()

    def warmup(self, runs: int = 3) -> None:
        """Run on a gray image of size `imgsz`, so that the first image takes no longer than later ones.

        Args:
            runs: number of runs, 1 or more.

        Raises:
            TypeError, ValueError: `runs` out of range.
            EngineError: the engine failed.
        """
        gray = np.full(self.imgsz if self.channels == 1 else (*self.imgsz, self.channels), 114, np.uint8)
        for _ in range(_checks.integer("runs", runs)):
            cast("Any", self)(gray)

    @property
    def names(self) -> dict[int, str]:
        """Class names by class index."""
        return self._names

    @property
    def imgsz(self) -> tuple[int, int]:
        """Height and width of the network input in pixels; with `rect` its maximum."""
        return self._core.imgsz

    @property
    def channels(self) -> int:
        """Channels of the network input: 3, 1 for gray images, or more."""
        return self._core.channels

    @property
    def batch(self) -> int:
        """Maximum number of images per run; 0 for any number."""
        return self._core.batch

    @property
    def engine(self) -> str:
        """Name of the engine that runs the model."""
        return self._core.engine

    @property
    def device(self) -> str:
        """Device in use: "cpu", "vulkan:0 <name>", ..."""
        return self._core.device

    @property
    def precision(self) -> str:
        """Precision that the engine computes in: "fp32", "bf16", ..."""
        return self._core.precision

    @property
    def tuned(self) -> bool:
        """Whether the record of `yolort tune` is in use."""
        return self._core.tuned

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the model file, as text."""
        return self._core.metadata

    @property
    def speed(self) -> Speed:
        """Milliseconds of the last call: preprocessing, the network, postprocessing."""
        return Speed(*self._core.speed)

    def __reduce__(self) -> Any:
        name = type(self).__name__
        raise TypeError(
            f"a {name} cannot be pickled; send the path of its model, and construct it in the other process"
        )
