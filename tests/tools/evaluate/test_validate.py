"""`yolort val` on the embedded model and generated scenes, and its errors for invalid data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import yolort

pytest.importorskip("pycocotools")
pytest.importorskip("ultralytics")

from yolort.tools.data.samples import LabelError
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.evaluate.validate import validate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 6 scenes."""
    return write_dataset(tmp_path_factory.mktemp("scenes"), train=0, val=6, progress=False)


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolort", "val", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn"])
def test_engines_agree(engine: str, scenes: Path) -> None:
    model = yolort.demo_model("ncnn" if engine == "ncnn" else "onnx")
    try:
        done = validate(model, scenes, engine=engine, precision="fp32")
    except yolort.EngineError as error:
        pytest.skip(str(error))
    reference = validate(yolort.demo_model(), scenes, engine="onnxruntime")
    assert done.metrics.images == 6
    assert done.metrics.map50_95 > 0.4
    assert done.metrics.map50_95 == pytest.approx(reference.metrics.map50_95, abs=2e-3)
    assert done.described["engine"] == engine
    assert done.unreadable == []


def test_coco_json_and_yolo_labels_agree(scenes: Path) -> None:
    annotations = scenes.parent / "annotations" / "instances_val.json"
    yolo, coco = (validate(yolort.demo_model(), data, resamples=0).metrics for data in (scenes, annotations))
    assert coco.map50_95 == pytest.approx(yolo.map50_95, abs=2e-3)
    assert coco.instances == yolo.instances


def test_augmentation_is_compared_with_none(scenes: Path) -> None:
    plain = validate(yolort.demo_model(), scenes, engine="onnxruntime")
    assert plain.augmentation is None
    assert plain.to_dict()["augmentation"] is None
    done = validate(yolort.demo_model(), scenes, engine="onnxruntime", scales=[320, 256])
    assert done.augmentation
    assert done.augmentation.plain.metrics.to_dict() == plain.metrics.to_dict()
    assert done.metrics.map50_95 > plain.metrics.map50_95 - 0.1
    assert done.metrics.map50_95 != plain.metrics.map50_95
    told = done.to_dict()["augmentation"]
    assert [(view["scale"], view["flip"]) for view in told["views"]] == [
        (320, False),
        (320, True),
        (256, False),
        (256, True),
    ]
    assert told["plain"]["map50_95"] == plain.metrics.map50_95
    assert told["ms"] > 0
    assert told["ms_plain"] > 0
    assert told["latency_ratio"] > 0


def test_a_checkpoint_is_the_baseline(checkpoint: Any, scenes: Path) -> None:
    path = checkpoint("yolov8n")
    described = yaml.safe_load(scenes.read_text())
    with pytest.raises(LabelError, match="the model has 3 classes"):
        validate(path, scenes)
    assert len(described["names"]) > 3
    with pytest.raises(ValueError, match="runs with engine torch"):
        validate(path, scenes, engine="ncnn")
    for option in ({"scales": [64]}, {"flip": False}, {"merge": "nms"}, {"scale_models": [path]}):
        with pytest.raises(ValueError, match=f"augmented as Ultralytics does; export it for {next(iter(option))}"):
            validate(path, scenes, augment=True, **option)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_and_its_export_give_the_same_detections(checkpoint: Any, tmp_path: Path) -> None:
    from yolort.tools.export.pipeline import export
    from yolort.tools.models.torch_detector import TorchDetector

    path = checkpoint("yolo11n")
    image = yolort.images.read(yolort.demo_image())
    settings: dict[str, Any] = {"conf": 0.0005, "multi_label": True, "max_det": 50}
    theirs = TorchDetector(path, imgsz=96, **settings)
    ours = yolort.Detector(export(path, imgsz=96, output=tmp_path / "m.onnx"), precision="fp32", **settings)
    assert theirs.names == ours.names
    assert theirs.imgsz == ours.imgsz
    expected, found = theirs(image), ours(image)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(np.sort(found.boxes, axis=0), np.sort(expected.boxes, axis=0), atol=0.5)
    assert theirs.speed.inference > 0
    assert len(theirs([image, image])) == 2
    augmented = TorchDetector(path, imgsz=96, augment=True, **settings)
    assert [view.flip for view in augmented.views] == [False, True, False]
    np.testing.assert_array_equal(augmented(image, augment=False).scores, expected.scores)
    assert not np.array_equal(augmented(image).scores, expected.scores)


@pytest.mark.slow
def test_command(scenes: Path, tmp_path: Path) -> None:
    kept = tmp_path / "conf.json"
    saving = ("--save", tmp_path / "out", "--save-conf", kept)
    done = run(yolort.demo_model("ncnn"), "--data", scenes, *saving, "--resamples", 10)
    confs = json.loads(kept.read_text())["conf"]
    assert confs
    assert all(0 < conf < 1 for conf in confs.values())
    assert yolort.Detector(yolort.demo_model("ncnn"), conf=kept)(yolort.demo_image())
    kept.unlink()
    assert "mAP50-95" in done.stdout
    assert "ncnn" in done.stdout
    saved = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 0.4 < saved["metrics"]["map50_95"] < 1
    assert saved["split"] == "val"
    assert (tmp_path / "out" / "PR_curve.png").is_file()
    printed = json.loads(run(yolort.demo_model("ncnn"), "--data", scenes, "--json", "--resamples", 10).stdout)
    assert {"writer": "written by yolort", **printed} == saved
    augmented = run(yolort.demo_model("ncnn"), "--data", scenes, "--augment", "--resamples", 0).stdout
    assert "320, 320 mirrored" in augmented
    assert "gain" in augmented
    assert " x " in augmented
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_unreadable_images_are_reported_and_skipped(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "labels").mkdir()
    for image in sorted((scenes.parent / "images" / "val").iterdir())[:3]:
        (folder / image.name).write_bytes(image.read_bytes())
        label = scenes.parent / "labels" / "val" / f"{image.stem}.txt"
        (tmp_path / "labels" / label.name).write_bytes(label.read_bytes())
    (folder / "broken.jpg").write_bytes(b"no JPEG")
    described = {**yaml.safe_load(scenes.read_text()), "path": str(tmp_path), "val": "images"}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(described))
    done = run(yolort.demo_model("ncnn"), "--data", tmp_path / "data.yaml", "--resamples", 0, code=1)
    assert "broken.jpg" in done.stderr
    assert "1 image(s) could not be read" in done.stderr
    assert "3 images" in done.stdout
    for image in folder.glob("*[0-9]*.*"):
        image.write_bytes(b"no image")
    done = run(yolort.demo_model("ncnn"), "--data", tmp_path / "data.yaml", code=2)
    assert "none of the 4 images can be read" in done.stderr


@pytest.mark.slow
def test_wrong_use_is_one_line(scenes: Path, tmp_path: Path) -> None:
    model = yolort.demo_model("ncnn")
    (tmp_path / "empty").mkdir()
    (tmp_path / "d.yaml").write_text("val: empty\nnames: [a]\n")
    for arguments, says in (
        ((tmp_path / "none.onnx", "--data", scenes), "none.onnx"),
        ((model, "--data", tmp_path / "none.yaml"), "no such file"),
        ((model, "--data", tmp_path / "d.yaml"), "has no images"),
        ((model, "--data", scenes, "--split", "test"), "no split 'test'"),
        ((model, "--data", scenes, "--conf", 7), "conf"),
        ((model, "--data", scenes, "--scales", 2000), "larger than any input"),
    ):
        done = run(*arguments, code=2)
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_results_replace_only_results(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = validate(yolort.demo_model(), scenes, resamples=0)
    target = tmp_path / "out"
    done.save(target)
    done.save(target)
    assert json.loads((target / "metrics.json").read_text())["metrics"]["images"] == 6

    def disk_full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in target.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(type(done.scores), "save_plots", disk_full)
        with pytest.raises(OSError, match="No space left"):
            done.save(target)
    assert sorted(path.name for path in target.iterdir()) == before
    (target / "thesis.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"thesis\.txt.*the result was saved as"):
        done.save(target)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        done.save(tmp_path / "a" / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.slow
def test_settings_that_limit_map_are_reported(scenes: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    assert validate(yolort.demo_model(), scenes, resamples=0).notes == []
    done = validate(yolort.demo_model(), scenes, resamples=0, conf=0.25, max_det=50)
    assert [note.split(" leaves")[0] for note in done.notes] == ["conf 0.25", "max_det 50"]
    model = onnx.load(yolort.demo_model())
    onnx.helper.set_model_props(
        model, {**{one.key: one.value for one in model.metadata_props}, "args": "{'batch': 1, 'nms': True}"}
    )
    onnx.save(model, tmp_path / "nms.onnx")
    ran = run(tmp_path / "nms.onnx", "--data", scenes, "--resamples", 0, "--save", tmp_path / "out")
    assert "NMS is in the graph of this export" in ran.stderr
    assert "the lowest score that it gave is 0.00" in ran.stderr
    assert "NMS is in the graph" in json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"][0]


def test_names_and_sizes_that_differ_are_noted(scenes: Path, tmp_path: Path) -> None:
    annotations = scenes.parent / "annotations" / "instances_val.json"
    described = json.loads(annotations.read_text())
    described["categories"][1]["name"] = "sphere"
    described["images"][2]["width"] += 1
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(described))
    images = next(path for path in (scenes.parent / "images").rglob("*") if path.is_file()).parent
    done = run(yolort.demo_model(), "--data", changed, "--images", images, "--resamples", 0, "--json")
    names, sizes = json.loads(done.stdout)["notes"]
    assert "class names: 1 is 'sphere' of the data" in names
    assert sizes.startswith("1 image(s) are of another size than the data say")
    assert done.stderr.count("class names:") == 1
    with pytest.warns(UserWarning, match="class names"):
        assert len(validate(yolort.demo_model(), changed, images=images, resamples=0).notes) == 2


def test_rtdetr(tmp_path: Path) -> None:
    """Rows of an RT-DETR export are fractions of the image; `val` scores them like any other detection."""
    from known_models import metadata, write_onnx
    from PIL import Image

    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "a.png")
    (tmp_path / "labels" / "a.txt").write_text("2 0.3 0.25 0.4 0.5\n0 0.5 0.5 0.1 0.1\n")
    rows = np.array([[0.3, 0.25, 0.4, 0.5, 0.75, 2], [0.9, 0.9, 0.1, 0.1, 0.2, 0]], np.float32)
    described = {**metadata(), "head": "RTDETRDecoder"}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"val": "images", "names": described["names"]}))
    done = validate(write_onnx(tmp_path, {"output0": rows}, described), data, engine="onnxruntime")
    assert done.metrics.map50_95 == pytest.approx(0.5)  # one of two objects is found
    assert [one.map50_95 for one in done.metrics.classes if one.instances] == [0, pytest.approx(1)]
