"""Procedural scenes with exact labels: generates a dataset for any task from a seed, without downloads.

A scene is a background, clutter without a class, and objects of the ten `CLASSES`, painted back to front with shading,
texture, cast shadows, light, blur, sensor noise and JPEG artifacts. Everything is drawn with numpy and OpenCV.

    from yolort.tools.demo import SceneConfig, generate, write_dataset

    scene = generate(0, SceneConfig(seed=7))            # scene.image, scene.boxes, scene.classes
    write_dataset("scenes", train=2000, val=300)        # images, YOLO labels, data.yaml, COCO JSON
    write_dataset("poses", task="pose")                 # the same with keypoints; or segment, obb, classify

The same as a program: `python -m yolort.tools.demo.dataset scenes --train 2000 --val 300 --imgsz 320`.

**What a box is.** The tight box around the visible pixels of the object, not counting parts hidden by the image border
or another object (COCO's modal box). A pixel belongs to an object when at least `COVERAGE` of it is covered; below that
nothing is painted, so box and pixels agree exactly before blur and noise. Every painted object is labeled. Placements
that would leave less than `SceneConfig.min_visible` of any silhouette visible are rejected.

**What the other labels are.** An outline runs along the edges of exactly those pixels. An oriented box is the tight one
around those pixels, with its sides aligned to the object's axes. Keypoints are four points of the object, wherever it
was drawn, with COCO's visibility: 1 where another object hides the point.

**Determinism.** Scene `index` of a config depends on `seed`, `index` and the config only, never on other scenes, on the
order or the number of processes. Background, objects, and camera draw from three separate generators: a scene with
`objects=(0, 0)` has the background of the scene with objects.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.progress import track
from yolort import _checks
from yolort.tools.demo.config import SceneConfig
from yolort.tools.demo.labels import FLIPPED, KEYPOINTS, SKELETON
from yolort.tools.demo.scene import Scene, generate
from yolort.tools.demo.shapes import CLASSES

__all__ = ["TASKS", "VAL_START", "main", "write_dataset"]

VAL_START = 1_000_000
"""Index of the first validation scene of a written data set; training scenes count from 0."""


TASKS = ("detect", "segment", "pose", "obb", "classify")
"""Tasks that a written dataset can have labels for."""


def _label(task: str, scene: Scene, k: int) -> list[float]:
    """The part of a line in Ultralytics' label format after the class, in fractions of the image."""
    height, width = scene.image.shape[:2]
    size = np.array([width, height], np.float64)
    if task in ("segment", "obb"):
        points = scene.outlines[k] if task == "segment" else scene.corners[k]
        return (points / size).ravel().tolist()  # type: ignore[no-any-return]
    box = scene.boxes[k].astype(np.float64)
    values = [*((box[:2] + box[2:]) / 2 / size), *((box[2:] - box[:2]) / size)]
    if task == "pose":
        values += (scene.keypoints[k] / [width, height, 1]).ravel().tolist()
    return values


def _annotations(task: str, scene: Scene) -> Iterator[dict[str, Any]]:
    """COCO annotations of a scene, without ids."""
    for k, (cls, box) in enumerate(zip(scene.classes.tolist(), scene.boxes.tolist(), strict=True)):
        x1, y1, x2, y2 = box
        found = {"category_id": cls + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        if task == "segment":
            points = scene.outlines[k]
            nexts = np.roll(points, -1, axis=0)
            area = abs(float((points[:, 0] * nexts[:, 1] - points[:, 1] * nexts[:, 0]).sum())) / 2
            found |= {"segmentation": [points.ravel().tolist()], "area": area}
        elif task == "pose":
            points = scene.keypoints[k]
            found |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
        yield {**found, "iscrowd": 0}


def _write_scene(job: tuple[int, Path, Path, SceneConfig, str]) -> list[dict[str, Any]]:
    """Writes one image and its YOLO label file; returns COCO's annotations."""
    index, image, label, config, task = job
    scene = generate(index, config)
    _write_image(image, scene)
    lines = [
        f"{cls} " + " ".join(f"{value:.7f}" for value in _label(task, scene, k)) for k, cls in enumerate(scene.classes)
    ]
    label.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return list(_annotations(task, scene))


def _write_object(job: tuple[int, Path, Path, SceneConfig, str]) -> list[dict[str, Any]]:
    """Writes an image of one object to the folder of its class, unless no place was found for the object."""
    index, folder, _, config, _ = job
    if config.class_weights is None:
        config = replace(config, class_weights=tuple(float(k == index % len(CLASSES)) for k in range(len(CLASSES))))
    scene = generate(index, replace(config, objects=(1, 1)))
    if len(scene.classes):
        _write_image(folder / CLASSES[scene.classes[0]] / f"{index:07d}.jpg", scene)
    return []


def _write_image(file: Path, scene: Scene) -> None:
    if not cv2.imwrite(str(file), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"cannot write {file}")


_Job = tuple[int, Path, Path, SceneConfig, str]


def _results(
    write: Callable[[_Job], list[dict[str, Any]]], jobs: list[_Job], processes: int
) -> Generator[list[dict[str, Any]], None, None]:
    """Writes the scenes in the order of `jobs`; if closed early, waits for the processes to stop."""
    if processes == 1:
        yield from map(write, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(write, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_split(
    folder: Path, split: str, indices: range, config: SceneConfig, task: str, processes: int, progress: bool
) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    jobs = [(k, images / f"{k:07d}.jpg", labels / f"{k:07d}.txt", config, task) for k in indices]
    keypoints = {"keypoints": list(KEYPOINTS), "skeleton": [[a + 1, b + 1] for a, b in SKELETON]}
    coco: dict[str, Any] = {
        "info": {"description": "procedural scenes of yolort.tools.demo.dataset", "split": split},
        "categories": [
            {"id": k + 1, "name": name, **(keypoints if task == "pose" else {})} for k, name in enumerate(CLASSES)
        ],
        "images": [],
        "annotations": [],
    }
    with closing(_results(_write_scene, jobs, processes)) as results:
        shown = track(results, f"{split} scenes", total=len(jobs), disable=not progress)
        for job, annotations in zip(jobs, shown, strict=True):
            coco["images"].append(
                {"id": job[0], "file_name": job[1].name, "width": config.width, "height": config.height}
            )
            for annotation in annotations:
                coco["annotations"].append({"id": len(coco["annotations"]) + 1, "image_id": job[0], **annotation})
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def _write_folders(
    folder: Path, split: str, indices: range, config: SceneConfig, task: str, processes: int, progress: bool
) -> None:
    """Writes one folder of images per class."""
    for name in CLASSES:
        (folder / split / name).mkdir(parents=True)
    jobs = [(k, folder / split, folder, config, task) for k in indices]
    with closing(_results(_write_object, jobs, processes)) as results:
        for _ in track(results, f"{split} scenes", total=len(jobs), disable=not progress):
            pass


def _description(task: str) -> str:
    """The text of data.yaml."""
    names = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASSES))
    text = f"train: images/train\nval: images/val\nnames:\n{names}"
    if task == "pose":
        shape, pairs = [len(KEYPOINTS), 3], [list(pair) for pair in SKELETON]
        text += f"kpt_shape: {shape}\nflip_idx: {list(FLIPPED)}\nskeleton: {pairs}\nkpt_names:\n"
        text += "".join(f"  {k}: {list(KEYPOINTS)}\n" for k in range(len(CLASSES)))
    return text


# Long for its documentation.
def write_dataset(
    folder: str | Path,
    train: int = 2000,
    val: int = 300,
    config: SceneConfig | None = None,
    *,
    task: str = "detect",
    processes: int = 1,
    progress: bool = True,
) -> Path:
    """Writes a dataset for Ultralytics' training and for COCO tools; returns the path of its `data.yaml`.

    The folder, which must not exist or be empty, receives

    - `images/train`, `images/val`: JPEG files of quality 95; training scenes are `generate(0..train-1)`,
      validation scenes `generate(VAL_START..VAL_START+val-1)`, so that a larger dataset begins with the scenes of a
      smaller one. They are the same for every task but "classify";
    - `labels/train`, `labels/val`: an object a line, in Ultralytics' format for the task, in fractions of the
      image: `class cx cy w h`; "segment": the class and the points of the outline; "obb": the class and four
      corners; "pose": `class cx cy w h` and `x y visibility` of each of the four `KEYPOINTS`;
    - `annotations/instances_train.json`, `instances_val.json`: COCO; the image id is the scene's index, the
      category id the class number + 1, `area` the area of the box, or in "segment" of the pixels;
      "segment" adds `segmentation`, "pose" `keypoints`;
    - `data.yaml` (Ultralytics; paths relative to itself; in "pose" with `kpt_shape`, `flip_idx`, `skeleton`
      and `kpt_names`) and `scenes.json`, the recipe: counts, task and config.

    For "classify" it holds `train/CLASS/` and `val/CLASS/` with images of one object each, `scenes.json`, and
    nothing else, and the folder is returned. Classes take turns unless the config has `class_weights`; its
    `objects` do not count.

    Everything is written to a hidden folder beside `folder` and renamed when complete; an error or a
    `KeyboardInterrupt` removes it. `train` and `val` are counts, 0 to `VAL_START`, not both 0. With
    `processes` above 1 (up to four for each core) that many spawned processes make the scenes (the calling
    script then needs `if __name__ == "__main__":`). `progress` shows a progress bar on standard output.

    Raises `ValueError` for a bad count or task, `FileExistsError` when the folder holds files, `OSError` when
    writing fails.
    """
    folder, config = Path(folder), config or SceneConfig()
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    if not (0 <= train <= VAL_START and 0 <= val <= VAL_START and train + val):
        raise ValueError(f"train and val must be 0..{VAL_START} and not both 0, got {train} and {val}")
    processes = _checks.count("processes", processes)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder; remove it or choose another")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        write = _write_folders if task == "classify" else _write_split
        splits = {"train": range(train), "val": range(VAL_START, VAL_START + val)}
        for split, indices in splits.items():
            write(work, split, indices, config, task, processes, progress)
        if task != "classify":
            (work / "data.yaml").write_text(_description(task), encoding="utf-8")
        recipe = {
            "train": train,
            "val": val,
            "val_start": VAL_START,
            "task": task,
            "config": dataclasses.asdict(config),
        }
        (work / "scenes.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        work.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        work.replace(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder if task == "classify" else folder / "data.yaml"


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(v) for v in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers separated by commas, got {text!r}") from None


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; must not exist or be empty.")],
    train: Annotated[int, typer.Option(help="Training scenes.")] = 2000,
    val: Annotated[int, typer.Option(help="Validation scenes.")] = 300,
    task: Annotated[str, typer.Option(help="Labels to write: detect, segment, pose, obb or classify.")] = "detect",
    imgsz: Annotated[str, typer.Option(help="Side in pixels, or height,width.")] = "320",
    seed: Annotated[int, typer.Option(help="Another seed, other scenes.")] = 0,
    objects: Annotated[str, typer.Option(help="Least and most objects of a scene.")] = "3,12",
    size_weights: Annotated[str, typer.Option(help="Weights of small, medium and large objects.")] = "0.3,0.45,0.25",
    class_weights: Annotated[str | None, typer.Option(help="Weight of each class; default: equal weights.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that make scenes.")] = 1,
) -> None:
    """Write a data set of procedural scenes: images, YOLO labels, data.yaml and COCO JSON, or folders of classes."""
    sides = _numbers(imgsz) or ()
    if len(sides) not in (1, 2):
        raise typer.BadParameter(f"--imgsz takes a side or height,width, got {imgsz!r}")
    try:
        config = SceneConfig(
            seed=seed,
            height=int(sides[0]),
            width=int(sides[-1]),
            objects=tuple(int(v) for v in _numbers(objects) or ()),  # type: ignore[arg-type]
            size_weights=_numbers(size_weights),  # type: ignore[arg-type]
            class_weights=_numbers(class_weights),
        )
        data = write_dataset(out, train, val, config, task=task, processes=processes)
    except (ValueError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{train} + {val} scenes, {len(CLASSES)} classes: {data}")


if __name__ == "__main__":
    typer.run(main)
