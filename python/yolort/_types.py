"""Argument types shared by `Detector`, `Batcher` and `Stream`, and the types that a Detector reports."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import Self, TypeIs


class DlpackArray(Protocol):
    """An array of another library, such as torch or cupy, in host memory or on the Detector's GPU."""

    @property
    def shape(self) -> Sequence[int]: ...
    def __dlpack__(self, *, stream: int | None = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class CudaArray(Protocol):
    """A GPU array that supports only CUDA's array interface, such as numba's."""

    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


Array: TypeAlias = npt.NDArray[np.uint8] | DlpackArray | CudaArray
ImagePath: TypeAlias = "str | bytes | os.PathLike[str]"
#: An image that is not an array: a path, a URL, a PIL image, or the bytes of an image file.
ImageSource: TypeAlias = "ImagePath | bytearray | memoryview | Image"
Source: TypeAlias = "Array | ImageSource | Sequence[Array | ImageSource]"


def is_array(item: object) -> TypeIs[Array]:
    """Whether it is an array, not a path."""
    return hasattr(item, "__dlpack__") or hasattr(item, "__cuda_array_interface__")


#: Class indices, class names, or one of either; None: all.
Classes: TypeAlias = "int | str | Iterable[int | str] | None"
#: x1 y1 x2 y2 of a rectangle, or the x y of three or more polygon corners, in image pixels; None: the whole image.
Region: TypeAlias = "Sequence[float] | Sequence[Sequence[float]] | npt.NDArray[Any] | None"


#: One score threshold, or thresholds by class index or name.
Conf: TypeAlias = "float | Mapping[int, float] | Mapping[str, float] | str | os.PathLike[str]"


class Settings(TypedDict, total=False):
    """Settings of a call; None keeps the constructor's value."""

    conf: Conf | None
    iou: float | None
    max_det: int | None
    classes: Classes
    agnostic: bool | None
    multi_label: bool | None
    format: str | None
    augment: bool | None
    region: Region


#: The result for one image: `Detections` or `Classification`.
Result = TypeVar("Result")


class DetectorLike(Protocol[Result]):
    """The interface of `Detector` and `Classifier` that `Batcher` and `Stream` use."""

    @property
    def names(self) -> Mapping[int, str]: ...
    @property
    def batch(self) -> int: ...
    @property
    def device(self) -> str: ...
    def clone(self) -> Self: ...
    def __call__(self, source: Sequence[Array], /, *, format: str | None = None) -> list[Result]: ...


class Speed(NamedTuple):
    """Milliseconds of a call: letterbox, engine, and decoding with NMS."""

    pre: float
    inference: float
    post: float


class View(NamedTuple):
    """One view of test-time augmentation. The detections of all views are merged."""

    scale: int  #: longer side, in pixels, of the size that the image is fitted into
    flip: bool  #: mirrored, left to right
    imgsz: tuple[int, int]  #: height, width of the network input; with rect its maximum
    model: str  #: the artifact that runs this view


class LayerTime(NamedTuple):
    """Time of one layer per run, in milliseconds, with the engine's names for it."""

    name: str
    type: str
    ms: float
