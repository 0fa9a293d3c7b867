"""Options shared by several subcommands, and the parsers of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yolort import _class_conf

MODEL_HELP = "Model: an .onnx, .engine or .tflite file, or a *_ncnn_model or *_openvino_model folder."
Model = Annotated[Path, typer.Argument(help=MODEL_HELP, show_default=False)]
Engine = Annotated[
    str | None,
    typer.Option(help="Engine: ncnn, onnxruntime, openvino or tensorrt; default: the fastest one available."),
]
Device = Annotated[str | None, typer.Option(help="Device: cpu, 0 or cuda:0 (a GPU), vulkan:1, ...")]
Threads = Annotated[
    int | None, typer.Option(help="Number of CPU threads, at most four per core; default: one per core.")
]
Precision = Annotated[
    str | None,
    typer.Option(help="Precision: fp32, fp16, bf16, int8 or int8+bf16; default: the fastest that keeps the accuracy."),
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Engine setting, name=value, such as session.intra_op.allow_spinning=0 for onnxruntime. "
        "Can be given several times."
    ),
]
Imgsz = Annotated[str | None, typer.Option(help="Size of the network input: 640, or height,width.")]
Rect = Annotated[
    bool | None,
    typer.Option(
        help="Pad images only to the stride; default: yes for models with dynamic height and width.", show_default=False
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="Input format, for a model without this metadata: channels=bgr (or rgb, or their number), "
        "resize=stretch, mean=0.485,0.456,0.406, std=0.229,0.224,0.225. Can be given several times.",
    ),
]
Augment = Annotated[bool, typer.Option("--augment", help="Test-time augmentation: also detect in the mirrored image.")]
Scales = Annotated[str | None, typer.Option(help="Input sizes for test-time augmentation: 640,800.")]
Flip = Annotated[bool | None, typer.Option(help="Also mirror each scale; default: yes.", show_default=False)]
Merge = Annotated[
    str | None, typer.Option(help="Merge method of augmentation: wbf (weighted boxes fusion, default) or nms.")
]
ScaleModel = Annotated[
    list[Path] | None,
    typer.Option(help="Exported model with another input size, for augmentation. Can be given several times."),
]
FlipIdx = Annotated[
    str | None, typer.Option(help="Index of each keypoint's counterpart in a mirrored image, for augmentation: 0,2,1.")
]
Skeleton = Annotated[str | None, typer.Option(help="Limbs to draw in poses, as pairs of keypoints: 0-1,1-2.")]
MaxBatch = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of images per run; default depends on the model.")
]
MaxWait = Annotated[float, typer.Option(min=0, max=60, help="Maximum time to wait for a batch to fill, in seconds.")]
Data = Annotated[str, typer.Option(help="A data.yaml in Ultralytics' format, with train and val.", show_default=False)]
Epochs = Annotated[int, typer.Option(min=1, help="Number of passes over the training images.")]
Side = Annotated[int, typer.Option("--imgsz", help="Side of the network input, in pixels.")]
Batch = Annotated[int, typer.Option(help="Images per training step.")]
Ray = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster that shares the folders: auto, local, HOST:PORT.")
]
RayWorkers = Annotated[int | None, typer.Option(help="Number of parallel Ray tasks; default: one per node.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Run = Annotated[Path, typer.Option(help="Folder for the results of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the interrupted run in --output.")]
Gamma = Annotated[float, typer.Option(help="Focal loss gamma (0 = cross-entropy).")]
ClassWeights = Annotated[
    str | None,
    typer.Option(help="Weights of the class loss, computed from class counts: median, inverse or effective."),
]
Sampling = Annotated[
    str | None, typer.Option(help="Sampling that draws images of rare classes more often: balanced, or repeat (LVIS).")
]
BatchScales = Annotated[
    str | None, typer.Option("--scales", help="Range of the random size of each batch, relative to --imgsz: 0.5,1.5.")
]
Conf = Annotated[
    str, typer.Option(help="Minimum score of a detection; or a .json file of scores per class, see val --save-conf.")
]
Iou = Annotated[float, typer.Option(help="IoU above which NMS drops the box with the lower score.")]
Classes = Annotated[str | None, typer.Option(help="Classes to keep, as indices or names: 0,2,person.")]
MaxDet = Annotated[int, typer.Option(help="Maximum number of detections per image.")]
Split = Annotated[str, typer.Option(help="Split of a data.yaml: train, val or test.")]
ImageFile = Annotated[Path | None, typer.Option(help="Image to detect in; default: the embedded image.")]
TimedRuns = Annotated[int, typer.Option(help="Number of timed detections.")]
Reports = Annotated[
    list[Path] | None, typer.Option(help="Report file: .html, .md, .csv or .json. Can be given several times.")
]


def parse_conf(text: str) -> float | dict[str, float]:
    """A score, or thresholds by class name from a file; ValueError, FileNotFoundError."""
    try:
        return float(text)
    except ValueError:
        if not text.endswith(".json"):
            raise ValueError(
                f"--conf is {text!r}, expected a score, 0 to 1, or a .json file of val --save-conf"
            ) from None
    return _class_conf.read(text)


def parse_classes(text: str | None) -> list[int | str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    return [int(part) if part.isascii() and part.isdecimal() else part for part in parts]


def parse_imgsz(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    try:
        sides = [int(side) for side in text.replace("x", ",").split(",")]
    except ValueError:
        sides = []
    if len(sides) == 1:
        return sides[0]
    if len(sides) == 2:
        return sides[0], sides[1]
    several = "; to augment with several sizes, use --scales" if len(sides) > 2 else ""
    raise ValueError(f"--imgsz is {text!r}, expected a side (640) or height,width (384,640){several}")


def parse_size(imgsz: str | None) -> tuple[int, int] | None:
    size = parse_imgsz(imgsz)
    return (size, size) if isinstance(size, int) else size


def runner(
    engine: str | None,
    device: str | None,
    threads: int | None,
    precision: str | None,
    engine_option: list[str] | None,
    rect: bool | None,
    input: list[str] | None = None,
) -> dict[str, Any]:
    """Options of `Detector` for its engine and its input; ValueError for a setting that is not name=value."""
    return {
        "engine": engine,
        "device": device,
        "threads": threads,
        "precision": precision,
        "engine_options": _pairs("--engine-option", engine_option),
        "rect": rect,
        **input_format(input),
    }


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    for name, equals, value in pairs:
        if not name or not equals:
            raise ValueError(f"{option} is {name + equals + value!r}, expected name=value")
    return {name: value for name, _, value in pairs}


def input_format(given: list[str] | None) -> dict[str, Any]:
    """`channels`, `resize`, `mean` and `std` of `Detector`; ValueError for other names and for values that are not
    numbers.
    """
    out: dict[str, Any] = {}
    for name, value in _pairs("--input", given).items():
        if name in ("channels", "resize"):
            out[name] = value
        elif name in ("mean", "std"):
            try:
                out[name] = [float(part) for part in value.split(",")]
            except ValueError:
                raise ValueError(f"--input {name} is {value!r}, expected numbers like 0.5,0.5,0.5") from None
        else:
            raise ValueError(f"--input {name} is not known, expected channels, resize, mean or std")
    return out


def augmentation(
    augment: bool, scales: str | None, flip: bool | None, merge: str | None, scale_model: list[Path] | None
) -> dict[str, Any]:
    """Options of `Detector`; ValueError for scales that are not numbers, and for options that need augmentation."""
    try:
        sides = [int(side) for side in scales.split(",")] if scales else []
    except ValueError:
        raise ValueError(f"--scales is {scales!r}, expected sides in pixels like 640,800") from None
    options = {
        "augment": augment or None,
        "scales": sides or None,
        "flip": flip,
        "merge": merge,
        "scale_models": scale_model or None,
    }
    asked = {name: value for name, value in options.items() if value is not None}
    if asked and not asked.keys() & {"augment", "scales", "scale_models"}:
        raise ValueError(f"--{next(iter(asked))} needs augmentation: add --augment, --scales or --scale-model")
    return asked


def keypoints(flip_idx: str | None, skeleton: str | None) -> dict[str, Any]:
    """Options of `Detector` for poses; ValueError for values that are not numbers."""
    try:
        return {
            "flip_idx": [int(part) for part in flip_idx.split(",")] if flip_idx else [],
            "skeleton": [[int(end) for end in limb.split("-")] for limb in skeleton.split(",")] if skeleton else [],
        }
    except ValueError:
        shown = f"--flip-idx is {flip_idx!r}, --skeleton {skeleton!r}"
        raise ValueError(f"{shown}, expected keypoints such as 0,2,1 and limbs such as 0-1,1-2") from None


def split_list(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def whole_number(option: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{option}: expected a whole number of at least 1, got {text!r}")
    return int(text)


def balancing(gamma: float, class_weights: str | None, sampling: str | None) -> dict[str, Any]:
    """Training arguments for rare classes; unset ones are omitted."""
    given = {"gamma": gamma, "class_weights": class_weights, "sampling": sampling}
    return {name: value for name, value in given.items() if value}


def two_numbers(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} is {text!r}, expected two numbers, low,high") from None
    return low, high


def train_settings(given: list[str] | None, **options: Any) -> dict[str, Any]:
    """Ultralytics' `name=value` settings, checked, merged with the options of this command."""
    from ultralytics.cfg import smart_value

    from yolort.tools.train.settings import check_settings

    pairs = [text.partition("=") for text in given or ()]
    for name, equals, value in pairs:
        if not equals or not name.isidentifier():
            raise ValueError(f"{name!r}: expected an Ultralytics training setting, name=value")
        if name in options:
            raise ValueError(f"{name}={value} is an option of this command: use --{name} {value}")
    return {**options, **check_settings({name: smart_value(value) for name, _, value in pairs}, options)}
