"""Options that several subcommands share, and how their text is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

MODEL_HELP = "An .onnx, .engine or .tflite file, *_ncnn_model or *_openvino_model folder."
Model = Annotated[Path, typer.Argument(help=MODEL_HELP, show_default=False)]
Engine = Annotated[
    str | None, typer.Option(help="ncnn, onnxruntime, openvino or tensorrt; default: the fastest available.")
]
Device = Annotated[str | None, typer.Option(help="cpu, 0 or cuda:0 (a GPU), vulkan:1, ...")]
Threads = Annotated[int | None, typer.Option(help="CPU threads, up to four for each core; default: one for each.")]
Precision = Annotated[
    str | None, typer.Option(help="fp32, fp16, bf16, int8 or int8+bf16; default: the fastest that is accurate.")
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Setting of the engine, name=value, such as session.intra_op.allow_spinning=0 of onnxruntime. "
        "Can be given several times."
    ),
]
Imgsz = Annotated[str | None, typer.Option(help="Network input: 640, or height,width.")]
Rect = Annotated[
    bool | None,
    typer.Option(help="Pad images only to the stride; default: if height and width are dynamic.", show_default=False),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="How pixels become the network input, for a model that does not say it: channels=bgr (or rgb, or their "
        "number), resize=stretch, mean=0.485,0.456,0.406, std=0.229,0.224,0.225. Can be given several times.",
    ),
]
Augment = Annotated[bool, typer.Option("--augment", help="Test-time augmentation: look at each image mirrored, too.")]
Scales = Annotated[str | None, typer.Option(help="Augment with these sizes: 640,800.")]
Flip = Annotated[bool | None, typer.Option(help="Each scale mirrored, too; default: yes.", show_default=False)]
Merge = Annotated[
    str | None, typer.Option(help="Merge method of augmentation: wbf (default), weighted boxes fusion; or nms.")
]
ScaleModel = Annotated[
    list[Path] | None,
    typer.Option(help="Exported model of another input size to augment with. Can be given several times."),
]
FlipIdx = Annotated[
    str | None, typer.Option(help="Keypoint that each becomes in a mirrored image, for augmentation: 0,2,1.")
]
Skeleton = Annotated[str | None, typer.Option(help="Limbs of a pose to draw, pairs of keypoints: 0-1,1-2.")]
MaxBatch = Annotated[int | None, typer.Option(min=1, help="Images per run; default: what suits the model.")]
MaxWait = Annotated[float, typer.Option(min=0, max=60, help="Seconds to wait for a batch to fill.")]
Data = Annotated[str, typer.Option(help="A data.yaml of Ultralytics, with train and val.", show_default=False)]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]
Side = Annotated[int, typer.Option("--imgsz", help="Side of the network's input, pixels.")]
Batch = Annotated[int, typer.Option(help="Images of one step.")]
Ray = Annotated[
    str | None, typer.Option(help="Address of a Ray cluster that shares the folders: auto, local, HOST:PORT.")
]
RayWorkers = Annotated[int | None, typer.Option(help="Stages or trials at a time, of Ray; default: one a node.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Run = Annotated[Path, typer.Option(help="Folder of the run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run in --output.")]
Gamma = Annotated[float, typer.Option(help="Focusing exponent of the focal loss; 0: cross-entropy.")]
ClassWeights = Annotated[
    str | None, typer.Option(help="median, inverse or effective: weights of the class loss from class counts.")
]
Sampling = Annotated[
    str | None, typer.Option(help="balanced, or repeat (LVIS): draw images of rare classes more often.")
]
BatchScales = Annotated[str | None, typer.Option("--scales", help="Side of each batch, at random: 0.5,1.5 of --imgsz.")]
Conf = Annotated[float, typer.Option(help="Keep scores above this.")]
Iou = Annotated[float, typer.Option(help="NMS drops boxes that overlap a better one by more.")]
Classes = Annotated[str | None, typer.Option(help="Keep only these classes, indices or names: 0,2,person.")]
MaxDet = Annotated[int, typer.Option(help="At most this many detections an image.")]
Split = Annotated[str, typer.Option(help="train, val or test, of a data.yaml.")]
ImageFile = Annotated[Path | None, typer.Option(help="Image to detect in; default: the embedded one.")]
TimedRuns = Annotated[int, typer.Option(help="Detections that are timed.")]
Reports = Annotated[
    list[Path] | None, typer.Option(help="Report file: .html, .md, .csv or .json. Can be given several times.")
]


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
    several = "; several sizes are those of augmentation: --scales" if len(sides) > 2 else ""
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
    """The options of `Detector` that say what it runs on and what it takes; ValueError for what is not name=value."""
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
    """`channels`, `resize`, `mean` and `std` of `Detector`; ValueError for other names and what is no number."""
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
    """The options of `Detector`; ValueError for scales that are no numbers and for what needs augmentation."""
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
        raise ValueError(f"--{next(iter(asked))} is of augmentation: give --augment, --scales or --scale-model, too")
    return asked


def keypoints(flip_idx: str | None, skeleton: str | None) -> dict[str, Any]:
    """The options of `Detector` for poses; ValueError for what are no numbers."""
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
        raise ValueError(f"{option}: {text!r} is no number of 1 or more")
    return int(text)


def balancing(gamma: float, class_weights: str | None, sampling: str | None) -> dict[str, Any]:
    """Arguments of a training for classes that are rare; those that say nothing are left out."""
    given = {"gamma": gamma, "class_weights": class_weights, "sampling": sampling}
    return {name: value for name, value in given.items() if value}


def two_numbers(option: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} is {text!r}, expected two numbers, low,high") from None
    return low, high


def train_settings(given: list[str] | None, **options: Any) -> dict[str, Any]:
    """Ultralytics' `name=value` settings, checked, and those that are options here."""
    from ultralytics.cfg import smart_value

    from yolort.tools.train.settings import check_settings

    pairs = [text.partition("=") for text in given or ()]
    for name, equals, value in pairs:
        if not equals or not name.isidentifier():
            raise ValueError(f"{name!r}: expected name=value, of Ultralytics' train")
        if name in options:
            raise ValueError(f"{name}={value} is an option here: say --{name} {value}")
    return {**options, **check_settings({name: smart_value(value) for name, _, value in pairs}, options)}
