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

    Threads may share a Detector, whose calls then wait for each other; give each thread its own `clone()` to run side
    by side, or let a `Batcher` do so. Processes may not: construct it in the process that uses it. (ncnn on the CPU
    lives on in a forked process, if no other thread was in a call.)
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
                (`*_openvino_model`) or .xml: ours, or as Ultralytics exports them. With `format`, the bytes of one.
            format: "onnx", or "tensorrt" for an .engine: `model` holds the bytes of such a file, which are read before
                this returns. Default: `model` is a path.
            engine: "onnxruntime", "openvino", "ncnn" or "tensorrt"; default: the environment variable YOLORT_ENGINE,
                else the fastest one available for the model; `explain()` says which, and why.
            device: "cpu", or a GPU: its number, 0 or "0", "cuda:0", for ncnn "vulkan:0"; openvino also takes its own
                names ("NPU"), onnxruntime its execution providers ("tensorrt:1", "openvino:GPU"). Default: the engine's
                own.
            threads: CPU threads, 1 to four for each core; default: one for each core.
            precision: what to compute in, "fp32", "fp16", "bf16" or, on ncnn, "fp16-storage" (fp16 in memory,
                computed in fp32); of an INT8 model what its float layers compute in, "int8" (fp32) or "int8+bf16".
                onnxruntime and tensorrt compute in what the file holds. Default: the fastest that keeps the accuracy.
            conf: keep detections with a score above this, 0 to 1; or a dict of one for each of some classes, by index
                or name: the others have 0.25, or in a call that of the constructor.
            iou: NMS drops a box whose IoU with a better one is above this, 0 to 1.
            max_det: maximum number of detections per image, 1 or more.
            classes: keep only these classes: indices or names (of all classes that have it), one or several;
                default: all.
            agnostic: NMS across classes.
            multi_label: a detection for every class of a box above `conf`, not only for its best; for evaluation.
            names: class names, for a model whose file carries none.
            tuned: take what `yolort tune` recorded for this model and machine, if engine, device, precision and
                threads are left open.
            profile: time every layer, which slows the whole; see `layer_times`.
            imgsz: network input as a side or (height, width) in pixels, for a dynamic model or one that does not say.
                Sides of a dynamic model are rounded up to multiples of its stride; the logger `yolort` warns of that.
            rect: pad each image only to the stride of the model, so that the network input is as small as its
                proportions allow, within `imgsz`, as Ultralytics does; False: to `imgsz`. Images of equal padded shape
                run together. Default: True if height and width of the model are dynamic, which True needs.
            augment: test-time augmentation: detect in several views of each image and merge what they find; the
                thresholds hold for the merged result. `scales` and `scale_models` ask for it as well.
            scales: fit the image into each of these, 32 to 16384 pixels: longer sides of the network input, whose
                proportions stay. A dynamic model runs at that size (padded to its stride), a fixed one with the image
                in the middle of its input. Default: only the input size.
            flip: look at each scale mirrored, too.
            merge: "wbf", weighted boxes fusion (arXiv:1910.13302); or "nms", the best box of each object.
            scale_models: more artefacts with the same classes, for the scales that are their input sizes.
            flip_idx: of poses, for a model that does not say: which keypoint each one is in a mirrored view, as in
                Ultralytics' data.yaml. Default: the model's, or COCO's for 17 keypoints of one class "person".
            skeleton: the same of the limbs, two keypoints each, which `Detections.draw` shows.
            engine_options: settings of the engine under its own names, which onnxruntime takes: options of the
                execution provider on `device` (`{"trt_fp16_enable": True}`) and, with a dot in the name, of the session
                (`{"session.intra_op.allow_spinning": False}`).
            channels: channels of the network input, for a model whose metadata does not say it: "rgb" or "bgr", the
                order of three; or their number, 1 (gray) to 512.
            resize: "letterbox" (default), or "stretch": to the network input, whatever the proportions.
            mean: the network input is (gray level / 255 - mean) / std; one value, or one per channel in the order of
                the network. Default: 0, or what the metadata says.
            std: see `mean`. Default: 1, or what the metadata says.

        Raises:
            FileNotFoundError: no such model.
            ModelError: the model or its metadata is damaged, incomplete, or newer than this yolort.
            EngineError: no engine here can run it, or not at one of the scales; the message says why.
            ValueError, TypeError: an argument out of range, or a scale that no artefact can run.
        """
        self._core = _core.Detector(
            _checks.contents("model", model) if format else _checks.path("model", model),
            _checks.thresholds(_CONF if isinstance(conf, Mapping) else conf, iou, max_det, [], agnostic, multi_label),
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
            "conf": _checks.conf(conf, self._names),
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
            source: an image: an array of uint8, (height, width, 3) BGR, (height, width, 4) BGRA or (height, width)
                gray, for a model of other `channels` (height, width, channels); a PIL image; the path, the http(s) URL
                or the bytes of an image file. Or several: a list of those, an array (n, height, width, channels), a
                folder or a glob pattern. An array is of numpy, or any that speaks DLPack or `__cuda_array_interface__`;
                TensorRT takes those of its GPU as they are. Of a URL 64 MiB are read at most, for 30 seconds.
            conf: instead of the constructor's, for this call.
            iou: likewise.
            max_det: likewise.
            classes: likewise.
            agnostic: likewise.
            multi_label: likewise.
            format: the channel order of arrays: "bgr", "rgb", "bgra", "rgba" or "gray"; the others have theirs.
            augment: False for a plain look of a Detector constructed with test-time augmentation.
            region: detect only in this part of each image: a rectangle x1, y1, x2, y2 or the corners (x, y) of a
                polygon, pixels. The network sees the rectangle around it; of a polygon, boxes are kept whose center is
                within.

        Returns:
            Detections for one image, a list of them (in order, `path` set for files and URLs) for several, in pixels of
            the whole image. Images of a folder or glob that cannot be read are left out, each with a UserWarning.

        Raises:
            FileNotFoundError: no such path, or nothing matches.
            ImageError: the image, or one of a list, cannot be read.
            TypeError, ValueError: an array that is no image, or a setting out of range.
            EngineError: the engine failed, or gave NaN or infinity.
        """
        given = Settings(
            conf=conf, iou=iou, max_det=max_det, classes=classes, agnostic=agnostic, multi_label=multi_label,
            format=format, augment=augment, region=region,
        )  # fmt: skip
        settings = _checks.settings(given, self._names)
        return run_on(source, format, self.channels, lambda inputs: self._detect(inputs, settings))

    def infer(self, tensor: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run only the network: for tools that compare or calibrate; a detection needs `detector(image)` only.

        Args:
            tensor: (batch, channels, height, width) float32, mostly RGB in 0 to 1, of `imgsz`; `batch` images if that
                is fixed.

        Returns:
            Copies of the outputs of the network, float32, in the model's order; what they hold depends on `head`. Of a
            model whose graph decodes its boxes ("boxes", "end2end") they may be the maps before that, at which
            onnxruntime, openvino and ncnn end if Ultralytics exported it.

        Raises:
            TypeError, ValueError: not float32, or another shape.
            EngineError: the engine failed.
        """
        if not isinstance(tensor, np.ndarray) or tensor.dtype != np.float32:
            raise TypeError(f"tensor: expected a numpy array of float32, got {_described(tensor)}")
        return self._core.infer(np.ascontiguousarray(tensor))

    def layer_times(self) -> list[LayerTime]:
        """Means of every layer, in order of execution, over the runs since the last call; of a Detector made with
        `profile=True`, else empty. With test-time augmentation: of the runs at `imgsz` only. ONNX Runtime reports once,
        of the runs of all clones, and stops timing then; with `rect`, others report the last other size.
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
        """Detect in a flow of images; reading, inference and the work between two frames overlap.

        Args:
            source: a video or image file, a folder or glob pattern of either, the index of a camera, a URL (rtsp, http,
                ...), an iterable of arrays; or a list of sources, whose frames come as they are ready. A camera or
                network stream that is lost is opened again until it answers.
            policy: "all" gives every image, and reads no faster than they are taken; "latest" drops those that are
                overtaken by a newer one, and plays a video file at its own rate. Default: "latest" of what is live
                (camera, URL), else "all".
            buffer: images of a source that may be on their way under "all", 1 or more.
            workers: clones that run side by side, 1 or more; default: 2; 1 for a single source under "latest", whose
                images then wait for no other's run.
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
            format: the channel order of iterables of arrays, not of files, cameras and URLs.

        Returns:
            An iterator of `Frame`, also an asynchronous one and a context manager: each source in its own order.

        Raises:
            FileNotFoundError, TypeError, ValueError: no such file, no source, or an option out of range.
            While iterating: SourceError if it cannot be opened at first, and what a call raises.
        """
        from yolort.stream import Stream  # threads, queues and futures, which a plain detection needs not

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
        """What the model puts out: "raw", "raw-e2e", "boxes", "end2end", "rows" or "indexed"."""
        return self._core.head

    @property
    def task(self) -> str:
        """What the model finds: "detect", "segment", "pose" or "obb"."""
        return self._core.task

    @property
    def skeleton(self) -> tuple[tuple[int, int], ...]:
        """The limbs of poses, two keypoints each: the model's own, or COCO's for 17 keypoints of one class "person"."""
        return self._skeleton

    @property
    def views(self) -> list[View]:
        """The views of test-time augmentation, each with where it runs; empty without."""
        return [View(*view) for view in self._core.views]

    def __repr__(self) -> str:
        height, width = self.imgsz
        return (
            f"Detector(engine={self.engine!r}, device={self.device!r}, precision={self.precision!r}, "
            f"tuned={self.tuned}, head={self.head!r}, imgsz={height}x{width}, classes={len(self._names)})"
        )

    def _thresholds(self, settings: Mapping[str, Any]) -> _core.Thresholds:
        """Those of the constructor with what a call sets in their place."""
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
