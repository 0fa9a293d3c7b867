"""Procedural scenes with exact labels: a detection data set made from a seed, without a download.

A scene is a background, clutter that belongs to no class and objects of the ten `CLASSES`, painted back to
front with shading, texture, cast shadows, light, blur, sensor noise and JPEG artefacts. Everything is drawn
with numpy and OpenCV.

    from yolort.tools.demo import SceneConfig, generate, write_dataset

    scene = generate(0, SceneConfig(seed=7))            # scene.image, scene.boxes, scene.classes
    write_dataset("scenes", train=2000, val=300)        # images, YOLO labels, data.yaml, COCO JSON

The same as a program: `python -m yolort.tools.demo.dataset scenes --train 2000 --val 300 --imgsz 320`.

**What a box is.** The tight box of the pixels of the object that can be seen: what the image's border or
another object hides does not count (the modal box of COCO). A pixel belongs to an object when at least
`COVERAGE` of it is covered; below that nothing is painted, so that box and pixels agree exactly before blur
and noise. Every object that is painted is labelled: a placement that would leave any object less than
`SceneConfig.min_visible` of its silhouette is not made.

**Determinism.** Scene `index` of a config depends on `seed`, `index` and the config only, never on other
scenes, on the order or the number of processes. Background, objects, and camera draw from three separate
generators: a scene with `objects=(0, 0)` has the background of the scene with objects.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.progress import track
from yolort import _checks
from yolort.tools.demo.config import SceneConfig
from yolort.tools.demo.scene import generate
from yolort.tools.demo.shapes import CLASSES

__all__ = ["VAL_START", "main", "write_dataset"]

VAL_START = 1_000_000
"""Index of the first validation scene of a written data set; training scenes count from 0."""


def _write_scene(job: tuple[int, Path, Path, SceneConfig]) -> tuple[list[list[float]], list[int]]:
    """Writes one image and its YOLO label file; returns boxes (x1 y1 x2 y2, pixels) and classes."""
    index, image, label, config = job
    scene = generate(index, config)
    if not cv2.imwrite(str(image), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"cannot write {image}")
    size = np.array([config.width, config.height], np.float64)
    lines = []
    for cls, box in zip(scene.classes, scene.boxes.astype(np.float64), strict=True):
        centre, extent = (box[:2] + box[2:]) / 2 / size, (box[2:] - box[:2]) / size
        lines.append(f"{cls} " + " ".join(f"{v:.7f}" for v in (*centre, *extent)))
    label.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return scene.boxes.tolist(), scene.classes.tolist()


def _results(
    jobs: list[tuple[int, Path, Path, SceneConfig]], processes: int
) -> Generator[tuple[list[list[float]], list[int]], None, None]:
    """Writes the scenes in the order of `jobs`; when closed early it waits for the processes to stop."""
    if processes == 1:
        yield from map(_write_scene, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(_write_scene, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write_split(folder: Path, split: str, indices: range, config: SceneConfig, processes: int, progress: bool) -> None:
    images, labels = folder / "images" / split, folder / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    jobs = [(k, images / f"{k:07d}.jpg", labels / f"{k:07d}.txt", config) for k in indices]
    coco: dict[str, Any] = {
        "info": {"description": "procedural scenes of yolort.tools.demo.dataset", "split": split},
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CLASSES)],
        "images": [],
        "annotations": [],
    }
    with closing(_results(jobs, processes)) as results:
        shown = track(results, f"{split} scenes", total=len(jobs), disable=not progress)
        for job, (boxes, classes) in zip(jobs, shown, strict=True):
            coco["images"].append(
                {"id": job[0], "file_name": job[1].name, "width": config.width, "height": config.height}
            )
            for (x1, y1, x2, y2), cls in zip(boxes, classes, strict=True):
                w, h = x2 - x1, y2 - y1
                coco["annotations"].append(
                    {
                        "id": len(coco["annotations"]) + 1,
                        "image_id": job[0],
                        "category_id": cls + 1,
                        "bbox": [x1, y1, w, h],
                        "area": w * h,
                        "iscrowd": 0,
                    }
                )
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def write_dataset(
    folder: str | Path,
    train: int = 2000,
    val: int = 300,
    config: SceneConfig | None = None,
    *,
    processes: int = 1,
    progress: bool = True,
) -> Path:
    """Writes a data set that Ultralytics trains on and COCO tools score; returns the path of its `data.yaml`.

    The folder, which must not exist or be empty, receives

    - `images/train`, `images/val`: JPEG files of quality 95; training scenes are `generate(0..train-1)`,
      validation scenes `generate(VAL_START..VAL_START+val-1)`, so that a longer data set begins with the
      scenes of a shorter one;
    - `labels/train`, `labels/val`: `class cx cy w h` a line, fractions of the image;
    - `annotations/instances_train.json`, `instances_val.json`: COCO; the image id is the scene's index, the
      category id the class number + 1, `area` the area of the box;
    - `data.yaml` (Ultralytics; paths relative to itself) and `scenes.json`, the recipe: counts and config.

    Everything is written to a hidden folder beside `folder` and renamed when complete; an error or a
    `KeyboardInterrupt` removes it. `train` and `val` are counts, 0 to `VAL_START`, not both 0. With
    `processes` above 1 (up to four for each core) that many spawned processes make the scenes (the calling
    script then needs `if __name__ == "__main__":`). `progress` shows a progress bar on standard output.

    Raises `ValueError` for a bad count, `FileExistsError` when the folder holds files, `OSError` when writing
    fails.
    """
    folder, config = Path(folder), config or SceneConfig()
    if not (0 <= train <= VAL_START and 0 <= val <= VAL_START and train + val):
        raise ValueError(f"train and val must be 0..{VAL_START} and not both 0, got {train} and {val}")
    processes = _checks.count("processes", processes)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder; remove it or choose another")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=parent))
    try:
        splits = {"train": range(train), "val": range(VAL_START, VAL_START + val)}
        for split, indices in splits.items():
            _write_split(work, split, indices, config, processes, progress)
        names = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASSES))
        (work / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}", encoding="utf-8")
        recipe = {"train": train, "val": val, "val_start": VAL_START, "config": dataclasses.asdict(config)}
        (work / "scenes.json").write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")
        work.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        work.replace(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder / "data.yaml"


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(v) for v in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"expected numbers separated by commas, got {text!r}") from None


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; must not exist or be empty.")],
    train: Annotated[int, typer.Option(help="Training scenes.")] = 2000,
    val: Annotated[int, typer.Option(help="Validation scenes.")] = 300,
    imgsz: Annotated[str, typer.Option(help="Side in pixels, or height,width.")] = "320",
    seed: Annotated[int, typer.Option(help="Another seed, other scenes.")] = 0,
    objects: Annotated[str, typer.Option(help="Least and most objects of a scene.")] = "3,12",
    size_weights: Annotated[str, typer.Option(help="Weights of small, medium and large objects.")] = "0.3,0.45,0.25",
    class_weights: Annotated[str | None, typer.Option(help="Weight of each class; default: equal weights.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that make scenes.")] = 1,
) -> None:
    """Writes a data set of procedural scenes: images, YOLO labels, data.yaml and COCO JSON."""
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
        data = write_dataset(out, train, val, config, processes=processes)
    except (ValueError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(f"{train} + {val} scenes, {len(CLASSES)} classes: {data}")


if __name__ == "__main__":
    typer.run(main)
