"""One model on one engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from yolort import _checks, _core, _fork, _region
from yolort._inputs import Input, run_on
from yolort._model import Model
from yolort._types import Array, Classes, Conf, ImageSource, LayerTime, Region, Settings, Source, View
from yolort.detections import Detections, from_columns

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yolort.sources import StreamSource
    from yolort.stream import Policy, Stream

_CONF = 0.25


class Detector(Model[_core.Detector]):
    """Loads a model and detects objects with it.

    Threads may share a Detector; its calls then wait for each other. To run in parallel, give each thread its own
    `clone()` or use a `Batcher`. Processes may not share one: construct it in the process that uses it. (ncnn on the
    CPU keeps working in a forked process if no other thread was in a call.)
    """

    # Long because it documents every option; the body only checks and passes them on.
    def __init__(
        self,
        model: str | bytes | os.PathLike[str] | bytearray | memoryview,
        *,
        format: str | None = None,
        engine: str | None = None,
        device: str | int | None = None,
        threads: int | None = None,
        precision: str | None = None,
        conf: Conf = _CONF,
        iou: float = 0.7,
        max_det: int = 300,
        classes: Classes = None,
        agnostic: bool = False,
        multi_label: bool = False,
        names: Sequence[str] | Mapping[int, str] | None = None,
        imgsz: int | tuple[int, int] | None = None,
        rect: bool | None = None,
        tuned: bool = True,
        profile: bool = False,
        augment: bool = False,
        scales: int | Sequence[int] = (),
        flip: bool = True,
        merge: str = "wbf",
        scale_models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        flip_idx: Sequence[int] = (),
        skeleton: Sequence[Sequence[int]] = (),
        engine_options: Mapping[str, str | float] | None = None,
        channels: str | int | None = None,
        resize: str | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        """Load a model; it is ready when this returns.

        Args:
            model: an .onnx, .engine or .tflite file, an NCNN folder (`*_ncnn_model`) or .param, an OpenVINO folder
                (`*_openvino_model`) or .xml: ours, or as Ultralytics exports them. With `format`, the bytes of such a
                file.
            format: "onnx", or "tensorrt" for an .engine, if `model` is the bytes of such a file; they are not needed
                after this call. Default: `model` is a path.
            engine: "onnxruntime", "openvino", "ncnn" or "tensorrt"; default: the environment variable YOLORT_ENGINE,
                else the fastest one available for the model; `explain()` says which, and why.
            device: "cpu", or a GPU: its number, 0 or "0", "cuda:0", for ncnn "vulkan:0"; openvino also takes its own
                names ("NPU"), onnxruntime its execution providers ("tensorrt:1", "openvino:GPU"). Default: the engine's
                own.
            threads: number of CPU threads, 1 to four per core; default: one per core.
            precision: precision to compute in, "fp32", "fp16", "bf16" or, on ncnn, "fp16-storage" (fp16 in memory,
                computed in fp32); for an INT8 model "int8" (float layers in fp32) or "int8+bf16". onnxruntime and
                tensorrt use the precision of the file. Default: the fastest one that keeps the accuracy.
            conf: minimum score of a detection, 0 to 1; or thresholds per class: a dict by class index or name, or the
                path of a .json file that `yolort val --save-conf` wrote. Other classes keep 0.25, or in a call the
                threshold of the constructor.
            iou: NMS drops a box whose IoU with a better one is above this, 0 to 1.
            max_det: maximum number of detections per image, at least 1.
            classes: classes to keep, as indices or names, one or several; a name selects all classes with that name.
                Default: all.
            agnostic: apply NMS across classes.
            multi_label: report every class of a box above `conf`, not only its best; for evaluation.
            names: class names, for a model without them.
            tuned: use the record of `yolort tune` for this model and machine, if engine, device, precision and threads
                are not given.
            profile: time every layer, which slows down detection; see `layer_times`.
            imgsz: network input as a side or (height, width) in pixels, for a dynamic model or one without metadata.
                Sides of a dynamic model are rounded up to multiples of its stride; the logger `yolort` then warns.
            rect: True pads each image only to the stride of the model, within `imgsz`, as Ultralytics does, and needs a
                model with dynamic height and width; False pads to `imgsz`. Images of equal padded shape run together.
                Default: True if height and width of the model are dynamic.
            augment: test-time augmentation: detect in several views of each image and merge the detections; the
                thresholds apply to the merged result. `scales` and `scale_models` also enable it.
            scales: sizes to fit the image into: longer side of the network input, 32 to 16384 pixels; proportions are
                kept. A dynamic model runs at that size (padded to its stride), a fixed one with the image centered in
                its input. Default: only the input size.
            flip: also mirror each scale.
            merge: "wbf", weighted boxes fusion (arXiv:1910.13302); or "nms", the best box of each object.
            scale_models: artifacts with the same classes, used for scales that equal their input sizes.
            flip_idx: for poses: the index of each keypoint's counterpart in a mirrored image, as in Ultralytics'
                data.yaml. Default: the model's, or COCO's for 17 keypoints of one class "person".
            skeleton: for poses: the limbs, two keypoints each, that `Detections.draw` shows. Default: as for
                `flip_idx`.
            engine_options: settings of the engine under its own names. Only onnxruntime has them: options of the
                execution provider of `device` (`{"trt_fp16_enable": True}`) and, with a dot in the name, of the session
                (`{"session.intra_op.allow_spinning": False}`).
            channels: channels of the network input, for a model whose metadata does not record them: the order "rgb" or
                "bgr", or the number of channels, 1 (gray) to 512.
            resize: "letterbox" (default), or "stretch" to the network input without keeping proportions.
            mean: the network input is (gray level / 255 - mean) / std; one value, or one per channel in the order of
                the network. Default: the value in the metadata, otherwise 0.
            std: see `mean`. Default: the value in the metadata, otherwise 1.

        Raises:
            FileNotFoundError: no such model.
            ModelError: the model or its metadata is damaged, incomplete, or newer than this yolort.
            EngineError: no engine here can run the model, or run it at one of the scales; the message says why.
            ValueError, TypeError: an argument is out of range, or no artifact can run a scale.
        """
        of_classes = _checks.conf_of_file(conf)
        base = _CONF if isinstance(of_classes, Mapping) else of_classes
        self._core = _core.Detector(
            _checks.contents("model", model) if format else _checks.path("model", model),
            _checks.thresholds(base, iou, max_det, [], agnostic, multi_label),
            format=_checks.text("format", format),
            engine=_checks.text("engine", engine),
            device=_checks.device(device),
            precision=_checks.text("precision", precision),
            threads=None if threads is None else _checks.count("threads", threads),
            names=_checks.names(names),
            imgsz=_checks.imgsz(imgsz),
            rect=None if rect is None else _checks.flag("rect", rect),
            tuned=_checks.flag("tuned", tuned),
            profile=_checks.flag("profile", profile),
            augment=_checks.flag("augment", augment),
            scales=_checks.sides("scales", scales),
            flip=_checks.flag("flip", flip),
            merge=_checks.text("merge", merge),
            scale_models=_checks.paths("scale_models", scale_models),
            engine_options=_checks.engine_options(engine_options),
            flip_idx=_checks.keypoints("flip_idx", flip_idx),
            skeleton=_checks.limbs("skeleton", skeleton),
            channels=_checks.channels(channels),
            resize=_checks.text("resize", resize),
            mean=_checks.numbers("mean", mean),
            std=_checks.numbers("std", std),
        )
        self._names = dict(enumerate(self._core.names))
        self._skeleton = tuple((start, end) for start, end in self._core.skeleton)
        self._settings: dict[str, Any] = {
            "conf": _checks.conf(of_classes, self._names),
            "iou": iou,
            "max_det": max_det,
            "classes": _checks.classes(classes, self._names),
            "agnostic": agnostic,
            "multi_label": multi_label,
        }
        self._core.check(self._thresholds({}))
        _fork.watch(self)

    @overload
    def __call__(self, source: Array, **settings: Unpack[Settings]) -> Detections: ...
    @overload
    def __call__(self, source: Sequence[Array | ImageSource], **settings: Unpack[Settings]) -> list[Detections]: ...
    @overload
    def __call__(self, source: ImageSource, **settings: Unpack[Settings]) -> Detections | list[Detections]: ...

    def __call__(
        self,
        source: Source,
        *,
        conf: Conf | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Classes = None,
        agnostic: bool | None = None,
        multi_label: bool | None = None,
        format: str | None = None,
        augment: bool | None = None,
        region: Region = None,
    ) -> Detections | list[Detections]:
        """Detect objects.

        Args:
            source: one image: an array of uint8, (height, width, 3) BGR, (height, width, 4) BGRA or (height, width)
                gray, or for a model with other `channels` (height, width, channels); a PIL image; the path, http(s) URL
                or bytes of an image file. Or several: a list of these, an array (n, height, width, channels), a folder
                or a glob pattern. Arrays may come from numpy or any library with DLPack or `__cuda_array_interface__`;
                TensorRT reads arrays on its GPU without a copy. Downloads are limited to 64 MiB and 30 seconds.
            conf: overrides the constructor's value for this call.
            iou: likewise.
            max_det: likewise.
            classes: likewise.
            agnostic: likewise.
            multi_label: likewise.
            format: channel order of arrays: "bgr", "rgb", "bgra", "rgba" or "gray"; other images have their own.
            augment: False disables test-time augmentation for this call.
            region: detect only in this part of each image: a rectangle x1, y1, x2, y2 or the corners (x, y) of a
                polygon, in pixels. The network sees the surrounding rectangle; for a polygon, only boxes with their
                center inside it are kept.

        Returns:
            Detections for one image, a list of them (in order, `path` set for files and URLs) for several, in pixels of
            the whole image. Unreadable images in a folder or glob are skipped, each with a UserWarning.

        Raises:
            FileNotFoundError: the path does not exist, or nothing matches.
            ImageError: the image, or one in a list, cannot be read.
            TypeError, ValueError: an array is not an image, or a setting is out of range.
            EngineError: the engine failed, or returned NaN or infinity.
        """
        given = Settings(
            conf=conf, iou=iou, max_det=max_det, classes=classes, agnostic=agnostic, multi_label=multi_label,
            format=format, augment=augment, region=region,
        )  # fmt: skip
        settings = _checks.settings(given, self._names)
        return run_on(source, format, self.channels, lambda inputs: self._detect(inputs, settings))

    def infer(self, tensor: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run only the network, for tools that compare or calibrate; to detect, call `detector(image)`.

        Args:
            tensor: (batch, channels, height, width) float32, usually RGB in 0 to 1, of size `imgsz`; if `batch` is
                fixed, it must match.

        Returns:
            Copies of the outputs of the network, float32, in the model's order; their meaning depends on `head`. If the
            graph of an Ultralytics export decodes boxes ("boxes", "end2end"), onnxruntime, openvino and ncnn return the
            maps before decoding.

        Raises:
            TypeError, ValueError: not float32, or another shape.
            EngineError: the engine failed.
        """
        if not isinstance(tensor, np.ndarray) or tensor.dtype != np.float32:
            raise TypeError(f"tensor: expected a numpy array of float32, got {_described(tensor)}")
        return self._core.infer(np.ascontiguousarray(tensor))

    def layer_times(self) -> list[LayerTime]:
        """Mean time of each layer, in order of execution, over the runs since the last call; empty without
        `profile=True`. With test-time augmentation, only runs at `imgsz` count. ONNX Runtime reports once, for the runs
        of all clones, and then stops timing; with `rect`, other engines report the last other size.
        """
        return [LayerTime(*row) for row in self._core.layer_times()]

    def stream(
        self,
        source: StreamSource | Sequence[StreamSource],
        *,
        policy: Policy | None = None,
        buffer: int = 8,
        workers: int | None = None,
        max_batch: int | None = None,
        max_wait: float = 0.0,
        conf: Conf | None = None,
        iou: float | None = None,
        max_det: int | None = None,
        classes: Classes = None,
        agnostic: bool | None = None,
        multi_label: bool | None = None,
        format: str | None = None,
        augment: bool | None = None,
        region: Region = None,
    ) -> Stream[Detections]:
        """Detect in a stream of images; reading, inference and your code between two frames overlap.

        Args:
            source: a video or image file, a folder or glob pattern of either, the index of a camera, a URL (rtsp, http,
                ...), an iterable of arrays; or a list of sources, whose frames come as they are ready. A lost camera or
                network stream is reopened until it answers.
            policy: "all" delivers every image and reads no faster than you consume them; "latest" drops images for
                which a newer one is available, and plays video files at their own rate. Default: "latest" for cameras
                and URLs, otherwise "all".
            buffer: maximum number of images read ahead per source under "all", at least 1.
            workers: number of clones that run in parallel, at least 1. Default: 2, or 1 for a single source under
                "latest", which keeps its images fresher.
            max_batch: see `Batcher`.
            max_wait: see `Batcher`.
            conf: see `__call__`.
            iou: see `__call__`.
            max_det: see `__call__`.
            classes: see `__call__`.
            agnostic: see `__call__`.
            multi_label: see `__call__`.
            augment: see `__call__`.
            region: see `__call__`.
            format: channel order of arrays from iterables; files, cameras and URLs have their own.

        Returns:
            An iterator of `Frame`, which is also an asynchronous iterator and a context manager; each source keeps its
            order.

        Raises:
            FileNotFoundError, TypeError, ValueError: a file or source does not exist, or an option is out of range.
            While iterating: SourceError if a source cannot be opened at the start, and the errors of a call.
        """
        from yolort.stream import Stream  # threads, queues and futures, which plain detection does not need

        batching = {"max_batch": max_batch, "max_wait": max_wait}
        settings = Settings(
            conf=conf, iou=iou, max_det=max_det, classes=classes, agnostic=agnostic, multi_label=multi_label,
            format=format, augment=augment, region=region,
        )  # fmt: skip
        return Stream(self, source, policy, buffer, workers, batching, settings)

    @property
    def rect(self) -> bool:
        """Whether images are padded only to the stride of the model."""
        return self._core.rect

    @property
    def head(self) -> str:
        """Form of the outputs: "raw", "raw-e2e", "boxes", "end2end", "rows" or "indexed"."""
        return self._core.head

    @property
    def task(self) -> str:
        """Task of the model: "detect", "segment", "pose" or "obb"."""
        return self._core.task

    @property
    def skeleton(self) -> tuple[tuple[int, int], ...]:
        """Limbs of poses, two keypoints each: the model's own, or COCO's for 17 keypoints of one class "person"."""
        return self._skeleton

    @property
    def views(self) -> list[View]:
        """The views of test-time augmentation, each with the artifact that runs it; empty without augmentation."""
        return [View(*view) for view in self._core.views]

    def __repr__(self) -> str:
        height, width = self.imgsz
        return (
            f"Detector(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r}, "
            f"tuned={self.tuned}, head={self.head!r}, imgsz={height}x{width}, classes={len(self._names)})"
        )

    def _thresholds(self, settings: Mapping[str, Any]) -> _core.Thresholds:
        """The thresholds of the constructor, overridden by those of a call."""
        chosen = {name: settings.get(name, default) for name, default in self._settings.items()}
        own = self._settings["conf"]
        of_others = _CONF if isinstance(own, Mapping) else own
        return _checks.thresholds(**chosen, of_others=of_others, count=len(self._names))

    def _detect(self, inputs: Sequence[Input], settings: Mapping[str, Any]) -> list[Detections]:
        """Detect in images; `settings` as `_checks.settings` returns them."""
        region = settings.get("region")
        parts = [_region.crop(item.array, region) for item in inputs]
        arrays, formats = [part.array for part in parts], [item.format for item in inputs]
        found = self._core.detect(arrays, self._thresholds(settings), formats, settings.get("augment"))
        out = []
        for item, part, columns in zip(inputs, parts, found, strict=True):
            shape = (part.array.shape[0], part.array.shape[1])
            detections = from_columns(columns, self._names, self._skeleton, item.path, shape)
            out.append(_region.whole(detections, part, item.array, region) if region else detections)
        return out


def _described(item: object) -> str:
    return f"an array of {item.dtype}" if isinstance(item, np.ndarray) else _checks.shown(item)
