"""`Evaluator`: scores several models, but reads images and labels once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yolort

pytest.importorskip("pycocotools")
pytest.importorskip("ultralytics")

from yolort.tools.demo.dataset import write_dataset
from yolort.tools.evaluate import evaluator as evaluator_module
from yolort.tools.evaluate.evaluator import Evaluator
from yolort.tools.evaluate.validate import validate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.yaml of 4 scenes."""
    return write_dataset(tmp_path_factory.mktemp("scenes"), train=0, val=4, progress=False)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images read, in order."""
    paths: list[Path] = []
    real = yolort.images.read

    def call(path: Any, *options: Any) -> Any:
        paths.append(Path(path))
        return real(path, *options)

    monkeypatch.setattr(yolort.images, "read", call)
    return paths


def test_images_are_read_once_and_figures_are_those_of_validate(scenes: Path, read: list[Path]) -> None:
    evaluator = Evaluator(scenes)
    detector = evaluator.open(yolort.demo_model(), engine="onnxruntime")
    scores = [evaluator.score(detector) for _ in range(2)]
    assert len(evaluator.labelled(4)) == 4
    assert len(read) == len(set(read)) == 4
    metrics = validate(yolort.demo_model(), scenes, engine="onnxruntime", resamples=0).metrics
    for found in scores:
        assert (found.value, found.second, found.best_conf) == (metrics.map50_95, metrics.map50, metrics.best_conf)


def test_images_are_kept_within_the_limit(scenes: Path, read: list[Path]) -> None:
    one_image = yolort.images.read(next((scenes.parent / "images" / "val").iterdir())).nbytes
    read.clear()
    evaluator = Evaluator(scenes, image_bytes=2 * one_image)
    detector = evaluator.open(yolort.demo_model(), engine="onnxruntime")
    first, second = (evaluator.score(detector).value for _ in range(2))
    assert first == second
    assert len(read) == 4 + 2


def test_an_image_that_cannot_be_read_is_listed_once(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "scenes", train=0, val=4, progress=False)
    broken = sorted((data.parent / "images" / "val").iterdir())[1]
    broken.write_bytes(b"no image")
    evaluator = Evaluator(data)
    detector = evaluator.open(yolort.demo_model(), engine="onnxruntime")
    for _ in range(2):
        assert len(evaluator.run(detector).truths) == 3
    assert list(evaluator.unreadable) == [broken]
    assert str(broken) in evaluator.unreadable[broken]


def test_models_of_other_tasks_are_refused(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator_module, "task_of", lambda _: "segment")
    with pytest.raises(ValueError, match="its task is segment, but the labels were read for detect"):
        Evaluator(scenes).open(yolort.demo_model(), engine="onnxruntime")
