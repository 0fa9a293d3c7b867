"""The installed yolort-detect."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yolort
from installing import ROOT, detections, found_in, run, write_pnm
from known_models import metadata, task_model, write_ncnn

pytestmark = pytest.mark.slow

MODEL = yolort.demo_model("ncnn")


@pytest.fixture
def app(prefix: Path) -> Path:
    return prefix / "bin" / "yolort-detect"


@pytest.fixture(scope="module")
def here(picture: np.ndarray) -> np.ndarray:
    """Python's detections in the demo image: rows of class, score, x1, y1, x2, y2."""
    found = yolort.Detector(MODEL, tuned=False)(picture)
    assert len(found) >= 6
    return np.column_stack([found.classes, found.scores, found.boxes])


def test_pictures_and_folders(app: Path, picture: np.ndarray, here: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / 'photos "1"\n'
    folder.mkdir()
    write_pnm(folder / "b.ppm", picture)
    write_pnm(folder / "a.PGM", np.full((30, 50), 114, np.uint8))
    (folder / "notes.txt").write_text("no image")
    single = write_pnm(tmp_path / "single.ppm", picture)
    told = [json.loads(line) for line in run(app, MODEL, single, folder).splitlines()]
    assert [one["path"] for one in told] == [str(single), str(folder / "a.PGM"), str(folder / "b.ppm")]
    assert [one["shape"] for one in told] == [[480, 640], [30, 50], [480, 640]]
    assert told[0]["detections"][0]["name"] in yolort.Detector(MODEL).names.values()
    assert told[0]["speed"]["inference"] > 0
    for line in (told[0], told[2]):
        np.testing.assert_allclose(detections(json.dumps(line)), here, atol=1e-4)


def test_frames(app: Path, picture: np.ndarray, here: np.ndarray) -> None:
    frames = picture.tobytes() + np.full_like(picture, 114).tobytes() + picture.tobytes()
    told = run(app, MODEL, "-", "--size", "640x480", stdin=frames).splitlines()
    assert [(json.loads(line)["index"], json.loads(line)["path"]) for line in told] == [(0, None), (1, None), (2, None)]
    np.testing.assert_allclose(detections(told[0]), here, atol=1e-4)
    np.testing.assert_array_equal(detections(told[2]), detections(told[0]))
    assert len(detections(told[1])) == 0
    rgba = np.dstack([picture[..., ::-1], picture[..., 0]]).tobytes()
    (line,) = run(app, MODEL, "-", "--size", "640x480", "--format", "rgba", stdin=rgba).splitlines()
    np.testing.assert_array_equal(detections(line), detections(told[0]))
    message = run(app, MODEL, "-", "--size", "640x480", stdin=frames[:-1], status=1)
    assert "the last frame has 921599 bytes, expected 921600" in message


def test_frames_of_many_channels(app: Path, tmp_path: Path) -> None:
    """With the number of channels from the metadata, or given; a folder of three-channel images is refused with a clear
    error.
    """
    rows = np.array([[8, 8, 24, 24, 0.9, 0]], np.float32)
    said = {**metadata(["thing"]), "end2end": True, "imgsz": [32, 32]}
    (tmp_path / "a").mkdir()
    model = write_ncnn(tmp_path, {"out0": rows}, {**said, "channels": 6})
    silent = write_ncnn(tmp_path / "a", {"out0": rows}, said)
    frame = bytes(range(192)) * 32
    words = ("-", "--size", "32x32", "--format", "6", "--save", tmp_path / "drawn")
    for line in (run(app, model, *words, stdin=frame), run(app, silent, *words, "--input", "channels=6", stdin=frame)):
        np.testing.assert_allclose(detections(line)[0][2:], [8, 8, 24, 24])
    assert yolort.images.read(tmp_path / "drawn" / "frame-0.png").shape == (32, 32, 3)
    message = run(app, model, "-", "--size", "32x32", stdin=frame[: 32 * 32 * 3], status=1)
    assert "it has 3 channel(s), but the model takes 6" in message


def assert_alike(a: object, b: object) -> None:
    """The same keys and texts, and numbers equal within the written digits."""
    if isinstance(a, dict) and isinstance(b, dict):
        assert list(a) == list(b)
        assert_alike(list(a.values()), list(b.values()))
    elif isinstance(a, list) and isinstance(b, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_alike(one, other)
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-4)
    else:
        assert a == b


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_the_json_is_that_of_python(app: Path, task: str, tmp_path: Path) -> None:
    model = write_ncnn(tmp_path, *task_model(task))
    file = write_pnm(tmp_path / "gray.ppm", np.full((48, 60, 3), 100, np.uint8))
    line = json.loads(run(app, model, file))
    speed = line.pop("speed")
    assert list(speed) == ["pre", "inference", "post"]
    found = yolort.Detector(model)(np.full((48, 60, 3), 100, np.uint8))
    found.path = str(file)
    assert_alike(line, json.loads(json.dumps(found.to_dict())))


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_annotated_images(static_prefix: Path, task: str, tmp_path: Path) -> None:
    """Draws at the same places as Python; only Python writes labels."""
    cv2 = pytest.importorskip("cv2")
    app = static_prefix / "bin" / "yolort-detect"
    model = write_ncnn(tmp_path, *task_model(task))
    image = np.full((480, 600, 3), 100, np.uint8)
    file = write_pnm(tmp_path / "gray.ppm", image)
    run(app, model, file, file, "--save", tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["gray-2.png", "gray.png"]
    drawn = yolort.images.read(tmp_path / "drawn" / "gray.png").astype(int)
    found = yolort.Detector(model)(image)
    expected = found.draw(image).astype(int)
    for top, left in np.rint(found.boxes[:, 1::-1]).astype(int):
        label = np.s_[max(top - 25, 0) : top + 1, left : left + 130]
        drawn[label] = expected[label] = 100
    here, there = ((pixels != 100).any(2) for pixels in (drawn, expected))
    wider = [cv2.dilate(part.astype(np.uint8), np.ones((5, 5), np.uint8)) for part in (here, there)]
    assert here.sum() > 500 and there.sum() > 500
    assert (here & (wider[1] == 0)).sum() + (there & (wider[0] == 0)).sum() < 0.02 * here.sum()
    colors = [np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True) for pixels in (drawn, expected)]
    ours, theirs = (found[np.argsort(-counts)[1]] for found, counts in colors)  # after the background
    np.testing.assert_allclose(ours, theirs, atol=1)
    run(app, model, file, "--save", tmp_path / "drawn")  # replaces its own
    (tmp_path / "drawn" / "gray.png").write_bytes(b"mine")
    assert "was not written by yolort" in run(app, model, file, "--save", tmp_path / "drawn", status=1)
    assert (tmp_path / "drawn" / "gray.png").read_bytes() == b"mine"


def test_options(app: Path, picture_file: Path, here: np.ndarray) -> None:
    classes = sorted({int(row[0]) for row in here})[:2]
    first = ",".join(str(cls) for cls in classes)
    chosen = detections(run(app, MODEL, picture_file, "--classes", first, "--precision", "fp32", "--threads", 1))
    assert set(chosen[:, 0]) == set(classes)
    assert len(detections(run(app, MODEL, picture_file, "--max-det", 2))) == 2
    assert len(detections(run(app, "--conf", 1, MODEL, picture_file))) == 0
    assert len(detections(run(app, MODEL, "--imgsz", "320x320", picture_file, "--iou", "0.7"))) == len(here)
    assert "is fixed to 320 x 320" in run(app, MODEL, picture_file, "--rect", "yes", status=1)
    assert len(detections(run(app, MODEL, picture_file, "--rect", "no"))) == len(here)


def test_unreadable_files_are_reported_and_skipped(app: Path, picture_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ppm"
    bad.write_bytes(b"P6 640 480 255\n only that")
    huge = tmp_path / "huge.ppm"
    huge.write_bytes(b"P6 65535 65535 255\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    short = tmp_path / "short.ppm"
    short.write_bytes(b"P6 11000 11000 255\n")  # declares 363 MB but contains no pixels
    pipe = tmp_path / "pipe.ppm"
    os.mkfifo(pipe)
    for source in (bad, huge, empty, short, pipe, Path("/dev/zero"), tmp_path / "nothing.jpg"):
        message = run(app, MODEL, source, picture_file, status=1)
        assert source.name in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([MODEL], "at least one source"),
        ([MODEL, "-"], "--size and frames"),
        ([MODEL, "a.jpg", "--size", "1x1"], "--size and frames"),
        ([MODEL, "-", "a.jpg", "--size", "1x1"], "cannot be combined"),
        ([MODEL, "-", "--size", "0x10"], "--size 0x10: expected 1 to 65535"),
        ([MODEL, "-", "--size", "10"], "--size 10: expected two whole numbers"),
        ([MODEL, "-", "--size", "1x1", "--format", "yuv"], "--format yuv: expected bgr"),
        ([MODEL, "-", "--size", "1x1", "--format", "513"], "--format 513: expected bgr"),
        ([MODEL, "a.jpg", "--input", "depth=6"], "--input depth=6: expected channels="),
        ([MODEL, "a.jpg", "--input", "mean=dark"], "--input mean=dark: expected a number"),
        ([MODEL, "a.jpg", "--conf", "half"], "--conf half: expected a number"),
        ([MODEL, "a.jpg", "--threads", "2x"], "--threads 2x: expected a whole number"),
        ([MODEL, "a.jpg", "--rect", "maybe"], "--rect maybe: expected yes or no"),
        ([MODEL, "a.jpg", "--speed", "9"], "unknown option --speed"),
        ([MODEL, "a.jpg", "--conf"], "--conf has no value"),
        ([MODEL, "a.jpg", "--skeleton", "0,1"], "--skeleton 0,1: expected pairs of keypoints"),
    ],
)
def test_a_wrong_command_line(static_prefix: Path, words: list[str], message: str) -> None:
    assert message in run(static_prefix / "bin" / "yolort-detect", *words, status=2)


def test_failures(static_prefix: Path, picture_file: Path, tmp_path: Path) -> None:
    app = static_prefix / "bin" / "yolort-detect"
    assert "does not exist" in run(app, tmp_path / "nothing", picture_file, status=1)
    assert "conf is" in run(app, MODEL, picture_file, "--conf", "2", status=1)
    assert 'engine "warp"' in run(app, MODEL, picture_file, "--engine", "warp", status=1)


def test_asked_about_itself(static_prefix: Path) -> None:
    app = static_prefix / "bin" / "yolort-detect"
    assert run(app, "--version").strip() == found_in(ROOT / "CMakeLists.txt", r"yolort VERSION ([\d.]+)")
    assert "ncnn: available" in run(app, "--engines")
    assert "--size WxH" in run(app, "--help")
    assert run(app, status=2) == ""


def as_openvino(folder: Path) -> Path:
    """The demo model in OpenVINO's own format."""
    openvino = pytest.importorskip("openvino")
    yaml = pytest.importorskip("yaml")
    model = folder / "scenes_openvino_model"
    openvino.save_model(openvino.convert_model(yolort.demo_model("onnx")), model / "model.xml", compress_to_fp16=False)
    detector = yolort.Detector(yolort.demo_model("onnx"))
    own = json.loads(detector.metadata["yolort"])
    (model / "metadata.yaml").write_text(
        yaml.safe_dump({"names": detector.names, "imgsz": list(detector.imgsz), "yolort": own})
    )
    return model


def as_int8(folder: Path) -> Path:
    """The demo model, quantized on the demo image."""
    for package in ("onnx", "torch"):
        pytest.importorskip(package)
    from yolort.tools import calibrate, quantize

    model = shutil.copy(yolort.demo_model("onnx"), folder)
    images = [shutil.copy(yolort.demo_image(), folder / name) for name in ("a.jpg", "b.jpg")]
    (folder / "images.txt").write_text("\n".join(map(str, images)))
    (folder / "data.yaml").write_text("train: images.txt\nval: images.txt\nnames: [a, b, c, d, e, f, g, h]\n")
    return quantize(model, calibrate(model, folder / "data.yaml", images=2, allow_overlap=True), measure=False).path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "onnx": lambda _: yolort.demo_model("onnx"),
    "int8": as_int8,
    "xml": as_openvino,
}


@pytest.mark.parametrize(
    ("engine", "format"),
    [("onnxruntime", "onnx"), ("onnxruntime", "int8"), ("openvino", "onnx"), ("openvino", "int8"), ("openvino", "xml")],
)
def test_libraries_of_python_packages(
    app: Path, picture: np.ndarray, picture_file: Path, engine: str, format: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The same boxes as Python, which runs in the same precision by default."""
    status = {one.name: one for one in yolort.engines()}[engine]
    if not status.library:
        pytest.skip(f"{engine}: {status.reason or 'it is a Python package'}")
    monkeypatch.setenv("YOLORT_LIBRARY_PATH", str(Path(status.library).parent))
    model = MAKERS[format](tmp_path)
    expected = yolort.Detector(model, engine=engine)(picture)
    assert len(expected) >= 6
    found = detections(run(app, model, picture_file, "--engine", engine))
    np.testing.assert_allclose(found, np.column_stack([expected.classes, expected.scores, expected.boxes]), atol=1e-4)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_compressed_pictures(
    static_prefix: Path, picture: np.ndarray, here: np.ndarray, ending: str, tmp_path: Path
) -> None:
    """Decoded by stb_image, if yolort-detect was built with it."""
    cv2 = pytest.importorskip("cv2")
    if ".jpg" not in run(static_prefix / "bin" / "yolort-detect", "--help"):
        pytest.skip("yolort-detect was built without stb_image 2.28 or later (STB_INCLUDE_DIR)")
    file = tmp_path / f"scenes.{ending}"
    assert cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 98] if ending == "jpg" else [])
    found = detections(run(static_prefix / "bin" / "yolort-detect", MODEL, file))
    assert found[:, 0].tolist() == here[:, 0].tolist()
    np.testing.assert_allclose(found, here, atol=2 if ending == "jpg" else 6e-3)
    file.write_bytes(file.read_bytes()[:100])
    assert "scenes" in run(static_prefix / "bin" / "yolort-detect", MODEL, file, status=1)
