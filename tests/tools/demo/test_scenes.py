"""The procedural dataset: determinism, exact labels, written files, and parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("typer")

import cv2
from typer.testing import CliRunner
from yolort.tools.demo import dataset as dataset_module
from yolort.tools.demo import scene as scene_module
from yolort.tools.demo.config import SIZES, SceneConfig
from yolort.tools.demo.dataset import VAL_START, write_dataset
from yolort.tools.demo.scene import Scene, generate
from yolort.tools.demo.shapes import CLASSES

CLEAN = SceneConfig(seed=3, clutter=(0, 0), shadow=0, light=0, blur=0, noise=0, jpeg=0)
SMALL = SceneConfig(seed=5, height=96, width=128, objects=(1, 4), noise=0)


def changed(scene: Scene, index: int, config: SceneConfig) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The pixels in which a scene differs from its own background."""
    empty = generate(index, replace(config, objects=(0, 0)))
    assert len(empty.boxes) == len(empty.classes) == 0
    differs: np.ndarray[Any, np.dtype[np.bool_]] = (scene.image != empty.image).any(axis=2)
    return differs


def test_a_scene_depends_on_seed_and_index_only() -> None:
    config = SceneConfig(seed=11)
    first = generate(4, config)
    generate(5, config)
    again = generate(4, config)
    assert first.image.tobytes() == again.image.tobytes()
    assert np.array_equal(first.boxes, again.boxes) and np.array_equal(first.classes, again.classes)
    assert first.image.tobytes() != generate(5, config).image.tobytes()
    assert first.image.tobytes() != generate(4, replace(config, seed=12)).image.tobytes()


def test_shapes_and_dtypes() -> None:
    scene = generate(0, SceneConfig(height=96, width=160))
    assert scene.image.shape == (96, 160, 3) and scene.image.dtype == np.uint8
    assert scene.boxes.shape == (len(scene.classes), 4) and scene.boxes.dtype == np.float32
    assert scene.classes.dtype == np.int64


@pytest.mark.parametrize("cls", range(len(CLASSES)), ids=CLASSES)
def test_box_of_an_object_alone_is_where_pixels_changed(cls: int) -> None:
    """Exact to the pixel row and column at every size, also if the border cuts the object."""
    weights = tuple(float(k == cls) for k in range(len(CLASSES)))
    for index, mix in enumerate(((1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1))):
        config = replace(CLEAN, objects=(1, 1), class_weights=weights, size_weights=mix)
        scene = generate(index, config)
        assert scene.classes.tolist() == [cls]
        ys, xs = np.nonzero(changed(scene, index, config))
        # a pixel at the edge may have the background's color by chance
        assert np.abs(scene.boxes[0] - [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).max() <= 1
        x1, y1, x2, y2 = scene.boxes[0].astype(int)
        assert xs.min() >= x1 and ys.min() >= y1 and xs.max() < x2 and ys.max() < y2


def test_all_that_is_painted_is_labelled() -> None:
    for index in range(8):
        config = replace(CLEAN, objects=(6, 14))
        scene = generate(index, config)
        outside = changed(scene, index, config)
        for x1, y1, x2, y2 in scene.boxes.astype(int):
            outside[y1:y2, x1:x2] = False
        assert not outside.any()


def test_boxes_are_valid_and_inside() -> None:
    for index in range(8):
        scene = generate(index, replace(SMALL, objects=(5, 20)))
        x1, y1, x2, y2 = scene.boxes.T
        assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= 128).all() and (y2 <= 96).all()
        assert (x2 - x1 >= 1).all() and (y2 - y1 >= 1).all()


@pytest.mark.parametrize("least", [0.1, 0.6, 1.0])
def test_occlusion_leaves_the_part_required(least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    silhouettes: list[int] = []
    owners: list[Any] = []
    place, paint = scene_module._place, scene_module._paint_objects

    def recording_place(owner: Any, alpha: Any, *rest: Any) -> Any:
        at = place(owner, alpha, *rest)
        if at is not None:
            silhouettes.append(int((alpha > 0).sum()))
        return at

    def recording_paint(*arguments: Any) -> Any:
        owner, classes = paint(*arguments)
        owners.append(owner)
        return owner, classes

    monkeypatch.setattr(scene_module, "_place", recording_place)
    monkeypatch.setattr(scene_module, "_paint_objects", recording_paint)
    config = replace(CLEAN, objects=(12, 12), min_visible=least)
    counts = [len(generate(index, config).boxes) for index in range(5)]
    seen = np.concatenate([np.bincount(o[o >= 0], minlength=n) for o, n in zip(owners, counts, strict=True)])
    assert (seen >= least * np.array(silhouettes)).all()
    if least < 1:
        assert (seen < np.array(silhouettes)).any()  # there is occlusion


def test_class_weights_make_the_imbalance() -> None:
    weights = tuple(10.0 if name == "car" else 0.0 if name == "tree" else 1.0 for name in CLASSES)
    config = replace(SMALL, class_weights=weights, objects=(6, 6), size_weights=(1, 0, 0))
    seen = np.concatenate([generate(index, config).classes for index in range(40)])
    share = np.bincount(seen, minlength=len(CLASSES)) / len(seen)
    assert share[CLASSES.index("car")] == pytest.approx(10 / 18, abs=0.12)
    assert share[CLASSES.index("tree")] == 0
    even = np.concatenate([generate(k, replace(config, class_weights=None)).classes for k in range(40)])
    assert set(even.tolist()) == set(range(len(CLASSES)))


@pytest.mark.parametrize("size", SIZES)
def test_size_weights_make_the_size_mix(size: str) -> None:
    small, medium, large = (float(name == size) for name in SIZES)
    config = replace(SMALL, height=320, width=320, size_weights=(small, medium, large), min_visible=1.0, objects=(2, 2))
    boxes = np.concatenate([generate(index, config).boxes for index in range(8)])
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) / 320
    low, high = SIZES[size]
    # a silhouette may be shorter than the nominal side, or longer when tilted
    assert (longest > 0.6 * low).all() and (longest < 1.4 * high).all()
    assert low <= np.median(longest) <= high


@pytest.mark.parametrize("effect", ["light", "blur", "noise", "jpeg"])
def test_effects_change_pixels_but_not_labels(effect: str) -> None:
    config = replace(CLEAN, objects=(4, 4))
    full: dict[str, Any] = {effect: 1.0}
    plain, with_effect = generate(1, config), generate(1, replace(config, **full))
    assert not np.array_equal(plain.image, with_effect.image)
    assert np.array_equal(plain.boxes, with_effect.boxes)
    assert np.array_equal(plain.classes, with_effect.classes)


def test_a_shadow_is_outside_the_box_of_its_object() -> None:
    config = replace(CLEAN, objects=(1, 1), size_weights=(0, 1, 0), shadow=1.0)
    for index in range(5):
        scene, empty = generate(index, config), generate(index, replace(config, objects=(0, 0)))
        beside = changed(scene, index, config)
        x1, y1, x2, y2 = scene.boxes[0].astype(int)
        beside[y1:y2, x1:x2] = False
        assert beside.any()
        assert (scene.image[beside] <= empty.image[beside]).all()


def test_clutter_changes_pixels() -> None:
    assert not np.array_equal(generate(1, CLEAN).image, generate(1, replace(CLEAN, clutter=(5, 5))).image)


def test_tiny_and_oblong_images() -> None:
    for height, width in ((64, 64), (64, 300), (300, 64)):
        scene = generate(0, SceneConfig(height=height, width=width, objects=(10, 10)))
        assert scene.image.shape == (height, width, 3) and len(scene.boxes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"height": 32}, "height must be 64..4096 pixels, got 32"),
        ({"width": 5000}, "width must be 64..4096 pixels, got 5000"),
        ({"objects": (4, 2)}, "objects must be"),
        ({"clutter": (-1, 2)}, "clutter must be"),
        ({"class_weights": (1.0, 2.0)}, "class_weights needs 10 values, got 2"),
        ({"class_weights": (0.0,) * 10}, "class_weights must be finite"),
        ({"size_weights": (1.0, -1.0, 1.0)}, "size_weights must be finite"),
        ({"size_weights": (1.0, float("nan"), 1.0)}, "size_weights must be finite"),
        ({"min_visible": 0.0}, "min_visible must be 0.05..1, got 0.0"),
        ({"blur": 1.5}, "blur is a chance and must be 0..1, got 1.5"),
    ],
)
def test_a_bad_config_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        SceneConfig(**options)


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="index must be 0 or more"):
        generate(-1)


# ------------------------------------------------------------------------------------------------- the files


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "data"
    write_dataset(folder, train=5, val=3, config=SMALL, progress=False)
    return folder


def test_yolo_labels_are_the_boxes(dataset: Path) -> None:
    for split, indices in (("train", range(5)), ("val", range(VAL_START, VAL_START + 3))):
        files = sorted((dataset / "labels" / split).iterdir())
        assert [int(file.stem) for file in files] == list(indices)
        for file in files:
            scene = generate(int(file.stem), SMALL)
            rows = np.array([line.split() for line in file.read_text().splitlines()], float).reshape(-1, 5)
            centre, extent = rows[:, 1:3] * (128, 96), rows[:, 3:] * (128, 96)
            assert rows[:, 0].tolist() == scene.classes.tolist()
            assert np.allclose(np.hstack([centre - extent / 2, centre + extent / 2]), scene.boxes, atol=1e-3)


def test_coco_agrees_with_the_scenes(dataset: Path) -> None:
    for split in ("train", "val"):
        coco = json.loads((dataset / "annotations" / f"instances_{split}.json").read_text())
        assert [c["name"] for c in coco["categories"]] == list(CLASSES)
        assert len({a["id"] for a in coco["annotations"]}) == len(coco["annotations"])
        for image in coco["images"]:
            scene = generate(image["id"], SMALL)
            mine = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
            boxes = np.array([a["bbox"] for a in mine]).reshape(-1, 4)
            assert np.array_equal(boxes[:, :2], scene.boxes[:, :2])
            assert np.array_equal(boxes[:, :2] + boxes[:, 2:], scene.boxes[:, 2:])
            assert [a["category_id"] - 1 for a in mine] == scene.classes.tolist()
            assert all(a["area"] == a["bbox"][2] * a["bbox"][3] and a["iscrowd"] == 0 for a in mine)
            file = dataset / "images" / split / image["file_name"]
            pixels = cv2.imread(str(file))
            assert pixels is not None and pixels.shape == (image["height"], image["width"], 3) == (96, 128, 3)
            assert np.abs(pixels.astype(int) - scene.image).mean() < 8  # JPEG of quality 95


def test_data_yaml_is_read_by_ultralytics(dataset: Path) -> None:
    yaml = pytest.importorskip("yaml")
    data = yaml.safe_load((dataset / "data.yaml").read_text())
    assert data == {"train": "images/train", "val": "images/val", "names": dict(enumerate(CLASSES))}
    recipe = json.loads((dataset / "scenes.json").read_text())
    assert (recipe["train"], recipe["val"], recipe["val_start"]) == (5, 3, VAL_START)
    saved: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in recipe["config"].items()}
    assert SceneConfig(**saved) == SMALL


def test_processes_write_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", train=5, val=3, config=SMALL, processes=2, progress=False)
    files = sorted(p.relative_to(dataset) for p in dataset.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "data") for p in (tmp_path / "data").rglob("*") if p.is_file())
    assert all((dataset / p).read_bytes() == (tmp_path / "data" / p).read_bytes() for p in files)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_nothing(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Iterator[None]:
        yield
        yield
        raise error

    steps = interrupted()

    def generate_then_stop(index: int, config: SceneConfig) -> Scene:
        next(steps)
        return generate(index, config)

    monkeypatch.setattr(dataset_module, "generate", generate_then_stop)
    with pytest.raises(error):
        write_dataset(tmp_path / "data", train=5, val=0, config=SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    (tmp_path / "empty").mkdir()
    assert write_dataset(tmp_path / "empty", train=1, val=0, config=SMALL, progress=False).exists()
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        write_dataset(tmp_path, train=1, val=0, config=SMALL, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "mine.txt"]


def test_bad_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both 0"):
        write_dataset(tmp_path / "data", train=0, val=0)
    with pytest.raises(ValueError, match="processes is 0, expected 1 to"):
        write_dataset(tmp_path / "data", processes=0)


def test_command_line(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(dataset_module.main)
    options = ["--train", "2", "--val", "1", "--imgsz", "96,128", "--seed", "5", "--objects", "1,4"]
    done = CliRunner().invoke(app, [str(tmp_path / "data"), *options])
    assert done.exit_code == 0, done.output
    assert "2 + 1 scenes, 10 classes" in done.output
    first = (tmp_path / "data" / "labels" / "train" / "0000000.txt").read_text()
    assert len(first.splitlines()) == len(generate(0, SMALL).classes)
    for wrong in (["--size-weights", "1,x,1"], ["--imgsz", "1,2,3"], ["--seed", "-1"]):
        bad = CliRunner().invoke(app, [str(tmp_path / "other"), *wrong])
        assert bad.exit_code == 2 and not (tmp_path / "other").exists()
