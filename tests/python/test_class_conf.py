"""Score thresholds per class from a JSON file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yolort
from yolort import _class_conf


def test_a_detector_reads_thresholds_per_class(tmp_path: Path) -> None:
    image = yolort.images.read(yolort.demo_image())
    detector = yolort.Detector(yolort.demo_model("ncnn"))
    plain = detector(image)
    name = detector.names[int(plain.classes[0])]
    least = float(plain.scores[plain.classes == plain.classes[0]].max())
    file = tmp_path / "conf.json"
    file.write_text(json.dumps({"writer": "written by yolort", "conf": {name: least + 0.001}}))
    for conf in (file, str(file)):
        found = detector(image, conf=conf)
        assert 0 < len(found) < len(plain)
        assert plain.classes[0] not in found.classes
    assert len(yolort.Detector(yolort.demo_model("ncnn"), conf=file)(image)) == len(found)


def test_a_plain_object_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "conf.json"
    file.write_text('{"ball": 0.5, "conf": 1}')
    assert _class_conf.read(file) == {"ball": 0.5, "conf": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[0.5]", "must map class names to scores"),
        ('{"ball": "0.5"}', "must map class names to scores"),
        ('{"no such class": 0.5}', "the model has no class 'no such class'"),
        ('{"ball": 2}', "expected 0 to 1"),
        ('{"ball": NaN}', "expected 0 to 1"),
        ("{}", "got an empty dict"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "conf.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        yolort.Detector(yolort.demo_model("ncnn"), conf=file)


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        _class_conf.read(tmp_path / "missing.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="is not a file"):
        _class_conf.read(tmp_path / "pipe.json")
    file = tmp_path / "conf.json"
    file.write_text('{"ball": 0.5}')
    monkeypatch.setattr(_class_conf, "_MAX_BYTES", 4)
    with pytest.raises(ValueError, match="is larger than"):
        _class_conf.read(file)
