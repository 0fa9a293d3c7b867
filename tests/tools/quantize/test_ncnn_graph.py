"""`yolort quantize --format ncnn`: maps stay INT8 between convolutions, and the detections equal the float model's."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from yolort.tools.evaluate.validate import validate
from yolort.tools.quantize.activations import CalibrationError
from yolort.tools.quantize.calibrate import Calibration
from yolort.tools.quantize.quantize import quantize

NCNN = Path(yolort.demo_model("ncnn"))


def accuracy(model: Path, scenes: Path) -> float:
    return float(validate(model, scenes, resamples=0, engine="ncnn").metrics.map50_95)


@pytest.mark.parametrize("per_channel", [True, False])
def test_ncnn(per_channel: bool, calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "int8_ncnn_model"
    done = quantize(NCNN, calibration, format="ncnn", per_channel=per_channel, measure=False, output=output)
    assert sorted(file.name for file in output.iterdir()) == [
        ".yolort.json", "metadata.yaml", "model.ncnn.bin", "model.ncnn.param",
    ]  # fmt: skip
    assert done.megabytes[1] < 0.4 * done.megabytes[0]
    assert done.changed < 0.5
    assert accuracy(output, scenes) > accuracy(NCNN, scenes) - 0.05
    assert yolort.Detector(output).precision == "int8"
    types = {line.split()[0] for line in (output / "model.ncnn.param").read_text().splitlines()[2:]}
    assert {"Int8Quantize", "Int8Convolution", "Int8Depthwise", "Int8Add", "Int8MaxPool"} <= types
    assert types.isdisjoint({"Convolution", "Swish", "Concat", "Interp", "Pooling"})


def test_convolutions_that_stay_float(calibration: Calibration, scenes: Path, tmp_path: Path) -> None:
    """Maps become float before such a layer, and INT8 again after it."""
    output = tmp_path / "int8_ncnn_model"
    quantize(NCNN, calibration, format="ncnn", exclude=["conv_1?"], int8_stem=False, measure=False, output=output)
    lines = [line.split() for line in (output / "model.ncnn.param").read_text().splitlines()[2:]]
    types = {line[1]: line[0] for line in lines}
    assert types["conv_10"] == "Convolution"
    assert {"Int8Dequantize", "Int8Quantize", "Int8Convolution", "Swish"} <= set(types.values())
    assert accuracy(output, scenes) > accuracy(NCNN, scenes) - 0.05


def test_an_activation_that_our_layers_do_not_have(calibration: Calibration, tmp_path: Path) -> None:
    """The convolution stays float, and no unread map is left, which the runtime would refuse."""
    model = Path(shutil.copytree(NCNN, tmp_path / "leaky_ncnn_model"))
    param = model / "model.ncnn.param"
    lines = param.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("Convolution "))
    name = lines[at].split()[1]
    lines[at] = re.sub(r" 9=\S+", "", lines[at]) + " 9=2 -23310=1,0.1"
    param.write_text("\n".join(lines) + "\n")
    output = tmp_path / "int8_ncnn_model"
    quantize(model, calibration, format="ncnn", measure=False, output=output)
    written = [line.split() for line in (output / "model.ncnn.param").read_text().splitlines()[2:]]
    assert {line[1]: line[0] for line in written}[name] == "Convolution"
    assert "Int8Convolution" in {line[0] for line in written}
    yolort.Detector(output)(yolort.demo_image())


def test_calibration_without_sums(calibration: Calibration, tmp_path: Path) -> None:
    """In the form written before we had our own NCNN layers."""
    path = tmp_path / "calibration.json"
    calibration.save(path)
    text = json.loads(path.read_text())
    del text["sums"]
    path.write_text(json.dumps(text))
    output = tmp_path / "int8_ncnn_model"
    with pytest.raises(CalibrationError, match="calibrate again"):
        quantize(NCNN, path, format="ncnn", measure=False, output=output)
    quantize(NCNN, path, format="ncnn", stock=True, measure=False, output=output)
