"""The command line with models for segmentation, poses and oriented boxes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort
from known_models import metadata, task_model, write_ncnn

pytest.importorskip("typer")
pytest.importorskip("cv2")

TASKS = ["detect", "segment", "pose", "obb"]
ADDED = {"detect": set(), "segment": {"mask"}, "pose": {"keypoints"}, "obb": {"rotated", "corners"}}


def run(*arguments: object, code: int = 0) -> str:
    """Standard output; for a failing command, standard error."""
    command = [sys.executable, "-m", "yolort", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(task: str, tmp_path: Path) -> Path:
    return write_ncnn(tmp_path, *task_model(task))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    yolort.images.write(path, np.full((48, 60, 3), 100, np.uint8))
    return path


@pytest.fixture
def expected(model: Path, image: Path) -> dict[str, Any]:
    """What Python gives."""
    found = yolort.Detector(model)(str(image))
    assert isinstance(found, yolort.Detections)
    return found.to_dict()


def test_predict_and_stream_print_the_same_results_as_python(
    task: str, model: Path, image: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    predicted = json.loads(run("predict", image, "--model", model, "--json", "--save", tmp_path / "drawn"))
    assert predicted.pop("speed")
    assert predicted == expected
    assert set(expected["detections"][0]) == {"box", "score", "class", "name"} | ADDED[task]
    drawn = yolort.images.read(tmp_path / "drawn" / "image.png")
    assert (drawn != 100).any()
    streamed = json.loads(run("stream", image, "--model", model))
    assert {key: streamed[key] for key in expected} == expected


def test_batch_writes_the_same_results_as_python(
    model: Path, image: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    from yolort.batch import detect_shard, split

    folder = tmp_path / "found"
    folder.mkdir()
    (shard,) = split(image, 1)
    detect_shard(yolort.Detector(model), shard, folder, "image")
    assert json.loads((folder / "part-00000.jsonl").read_text()) == expected


def test_info_names_the_task(task: str, model: Path) -> None:
    facts = json.loads(run("info", model, "--json"))
    assert facts["task"] == task
    assert facts.get("skeleton") == ([[0, 1], [0, 2]] if task == "pose" else None)


def test_labels_of_another_task(task: str, model: Path, tmp_path: Path) -> None:
    if task == "detect":
        pytest.skip("boxes are what it needs")
    pytest.importorskip("pycocotools")
    (tmp_path / "data.yaml").write_text(f"path: {tmp_path}\ntrain: images\nval: images\nnames: [thing]\n")
    folder = tmp_path / "images"
    folder.mkdir()
    yolort.images.write(folder / "a.png", np.zeros((64, 64, 3), np.uint8))
    (folder / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    needs = {"segment": "a polygon", "pose": "poses need 'kpt_shape'", "obb": "the corners of an oriented box"}
    assert needs[task] in run("val", model, "--data", tmp_path / "data.yaml", code=2)


def test_options_of_poses(image: Path, tmp_path: Path) -> None:
    outputs, data = task_model("pose")
    del data["yolort"]
    foreign = write_ncnn(tmp_path, outputs, data)
    command = ["predict", image, "--model", foreign, "--augment"]
    assert "pass flip_idx, or set flip to false" in run(*command, code=2)
    assert "2 thing" in run(*command, "--no-flip")
    assert "thing" in run(*command, "--flip-idx", "0,2,1", "--skeleton", "0-1,1-2")
    assert "expected keypoints such as 0,2,1" in run(*command, "--flip-idx", "left", code=2)
    assert "skeleton has a limb from keypoint 0 to 7" in run(*command, "--no-flip", "--skeleton", "0-7", code=2)


def test_other_tasks_are_refused_in_a_sentence(image: Path, tmp_path: Path) -> None:
    for other in ("semantic", "depth"):
        folder = tmp_path / other
        folder.mkdir()
        model = write_ncnn(folder, {"out0": np.zeros((5, 4), np.float32)}, metadata(["a"]) | {"task": other})
        message = run("predict", image, "--model", model, code=2)
        assert f"its task is '{other}'; yolort supports detect, segment, pose, obb and classify" in message
