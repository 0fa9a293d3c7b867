"""The command line as users see it: standard output, standard error and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yolort

pytest.importorskip("typer")
cv2 = pytest.importorskip("cv2")


def run(*arguments: object, code: int = 0, program: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program] if program else [sys.executable, "-m", "yolort"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    image = yolort.images.read(yolort.demo_image())
    for name in ("a.png", "b.jpg"):
        yolort.images.write(folder / name, image)
    return folder


@pytest.fixture
def model() -> Path:
    return yolort.demo_model("ncnn")


def test_demo(tmp_path: Path) -> None:
    out = run("demo", "--save", tmp_path / "demo.png", "--runs", 1).stdout
    for status in yolort.engines():
        assert status.name in out
    assert "written to" in out
    drawn = yolort.images.read(tmp_path / "demo.png")
    assert (drawn != yolort.images.read(yolort.demo_image())).any()


def test_demo_of_one_engine(tmp_path: Path) -> None:
    out = run("demo", "--save", tmp_path / "demo.png", "--runs", 1, "--engine", "ncnn").stdout
    assert "ncnn" in out
    assert "openvino" not in out
    assert "warp" in run("demo", "--engine", "warp", "--save", tmp_path / "no.png", code=2).stderr
    assert not (tmp_path / "no.png").exists()


def test_predict_text_and_pictures(folder: Path, model: Path, tmp_path: Path) -> None:
    done = run("predict", folder, "--model", model, "--save", tmp_path / "out")
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [str(folder / "a.png"), str(folder / "b.jpg")]
    assert all(line.endswith(" ms") for line in lines)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]


def test_predict_json(folder: Path, model: Path) -> None:
    lines = run("predict", folder / "*.png", "--model", model, "--json", "--conf", 0.5).stdout.splitlines()
    (found,) = [json.loads(line) for line in lines]
    assert found["path"].endswith("a.png")
    assert found["detections"]
    assert all(one["score"] > 0.5 for one in found["detections"])
    assert found["speed"]["inference"] > 0


def test_stream(folder: Path, model: Path) -> None:
    frames = [json.loads(line) for line in run("stream", folder, "--model", model, "--conf", 0.5).stdout.splitlines()]
    assert [frame["index"] for frame in frames] == [0, 1]
    assert [Path(frame["path"]).name for frame in frames] == ["a.png", "b.jpg"]
    assert all(one["score"] > 0.5 for frame in frames for one in frame["detections"])
    assert len(run("stream", folder, folder, "--model", model, "--frames", 3).stdout.splitlines()) == 3
    assert "camera 99" in run("stream", "99", "--model", model, code=2).stderr
    assert "nothing.mp4" in run("stream", "nothing.mp4", "--model", model, code=2).stderr


def video_of(image: np.ndarray, path: Path, frames: int = 3) -> Path:
    height, width = image.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for _ in range(frames):
        writer.write(image)
    writer.release()
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


def test_videos(folder: Path, model: Path, tmp_path: Path) -> None:
    image = yolort.images.read(yolort.demo_image())
    video = video_of(image, tmp_path / "v.avi")
    lines = run("predict", video, folder / "a.png", "--model", model, "--save", tmp_path / "out").stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [f"{video}, frame {index}" for index in range(3)]
    assert len(lines) == 4
    assert [frame.shape for frame in frames_of(tmp_path / "out" / "v.mp4")] == [image.shape] * 3
    assert (tmp_path / "out" / "a.png").is_file()
    drawn = tmp_path / "drawn.mp4"
    detector = yolort.Detector(model)
    name = detector.names[int(detector(image).classes[-1])]
    options = ("--save", drawn, "--frames", 2, "--max-det", 1, "--iou", 0.5, "--classes", name)
    frames = [json.loads(line) for line in run("stream", video, "--model", model, *options).stdout.splitlines()]
    assert [[one["name"] for one in frame["detections"]] for frame in frames] == [[name], [name]]
    assert len(frames_of(drawn)) == 2
    run("stream", video, "--model", model, *options)  # replaces our own file
    foreign = tmp_path / "mine.mp4"
    foreign.write_bytes(b"a film")
    assert "mine.mp4" in run("stream", video, "--model", model, "--save", foreign, code=2).stderr
    assert foreign.read_bytes() == b"a film"
    assert "written as .mp4" in run("stream", video, "--model", model, "--save", tmp_path / "x.avi", code=2).stderr
    assert "a single video" in run("stream", video, video, "--model", model, "--save", drawn, code=2).stderr


def test_predict_augmented(folder: Path, model: Path) -> None:
    def detections(*arguments: object) -> list[dict[str, object]]:
        (line,) = run("predict", folder / "a.png", "--model", model, "--json", *arguments).stdout.splitlines()
        found: list[dict[str, object]] = json.loads(line)["detections"]
        return found

    plain = detections()
    assert detections("--augment") != plain
    assert detections("--scales", "320", "--no-flip", "--merge", "nms") == plain
    assert detections("--scales", "320,256") not in (plain, detections("--augment"))
    assert detections("--augment", "--merge", "nms") != detections("--augment")


def test_an_unreadable_image_is_reported_and_the_rest_go_on(folder: Path, model: Path) -> None:
    (folder / "aa.jpg").write_bytes(b"this is no JPEG")
    done = run("predict", folder, "--model", model, code=1)
    assert len(done.stdout.splitlines()) == 2
    assert "aa.jpg" in done.stderr
    assert "1 of 3 source(s) failed" in done.stderr


def test_equal_names_do_not_overwrite_each_other(folder: Path, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    yolort.images.write(other / "a.png", np.zeros((50, 50, 3), np.uint8))
    run("predict", folder, other, "--model", model, "--save", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing.onnx"], "nothing.onnx"),
        (["--conf", "7"], "conf"),
        (["--engine", "warp"], "engines are"),
        (["--engine", "onnxruntime"], "does not read this format"),
        (["--classes", "cat"], "no class 'cat'"),
        (["--classes", "999"], "is not a class of this model"),
        (["--imgsz", "big"], "--imgsz"),
        (["--rect"], "is fixed to"),
        (["--threads", "0"], "threads"),
        (["--device", "abacus"], "abacus"),
        (["--scales", "big"], "--scales"),
        (["--scales", "320,4000"], "larger than any input"),
        (["--scales", "1"], "out of range"),
        (["--augment", "--merge", "mean"], "wbf or nms"),
        (["--merge", "nms"], "--augment"),
        (["--no-flip"], "--augment"),
        (["--scale-model", "nothing.onnx"], "nothing.onnx"),
        (["--engine-option", "spin"], "expected name=value"),
        (["--engine-option", "spin=1"], "has no options"),
        (["--precision", "int8+bf16"], "is not an INT8 model"),
    ],
)
def test_wrong_use_is_one_line(folder: Path, model: Path, arguments: list[str], message: str) -> None:
    done = run("predict", folder, "--model", model, *arguments, code=2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_no_images(model: Path, tmp_path: Path) -> None:
    assert "has no images" in run("predict", tmp_path, "--model", model, code=2).stderr


def test_formats_that_cannot_be_encoded_are_saved_as_png(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    jpeg = yolort.demo_image().read_bytes()
    for name in ("a.jpg", "a.mpo", "b.jfif"):
        (folder / name).write_bytes(jpeg)
    yolort.images.write(folder / "a.png", yolort.images.read(folder / "a.jpg"))
    done = run("predict", folder, "--model", model, "--save", out)
    assert "images are written as .png because OpenCV cannot encode .jfif, .mpo here" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["a-2.png", "a.jpg", "a.png", "b.png"]
    assert all(yolort.images.read(path).shape == (480, 640, 3) for path in out.iterdir())
    done = run("predict", folder / "a.mpo", "--model", model, "--save", tmp_path / "x.mpo")
    assert "cannot encode .mpo" in done.stderr
    assert (tmp_path / "x.png").is_file()


def test_invalid_cameras(model: Path) -> None:
    for camera in ("-1", "-5", "100"):
        error = run("stream", "--model", model, "--", camera, code=2).stderr
        assert f"the index of a camera is {camera}, expected 0 to 99" in error


def test_engines() -> None:
    out = run("engines").stdout
    assert all(status.name in out for status in yolort.engines())


def test_info(model: Path) -> None:
    assert "ncnn" in run("info", model).stdout
    facts = json.loads(run("info", model, "--json").stdout)
    assert facts["classes"] == len(facts["names"]) >= 8
    assert facts["head"] in ("raw", "raw-e2e")
    assert facts["why"][0] == "ncnn on cpu: the model was made for it"
    assert "onnxruntime: does not read ncnn" in facts["why"]


def test_text_of_a_model_is_not_markup(tmp_path: Path) -> None:
    from known_models import boxes_output, metadata, write_onnx

    names = ["[/red]", "[link=x]y", "plain"]
    model = write_onnx(tmp_path, boxes_output(), metadata(names))
    assert "[/red], [link=x]y, plain" in run("info", model).stdout


def test_export_without_the_toolchain(tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from yolort.cli import main; main()"
    assert 'pip install "yolort-runtime[tools]"' in run("export", tmp_path / "x.pt", program=program, code=2).stderr


def test_without_typer() -> None:
    program = "import sys; sys.modules['typer'] = None; from yolort.cli import main; main()"
    assert 'pip install "yolort-runtime[cli]"' in run(program=program, code=1).stderr


def test_an_interrupt_while_the_command_imports_is_quiet() -> None:
    program = """
import signal, sys
from yolort.cli import main
class Interrupt:
    def find_spec(name, *_):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt)
main()
"""
    done = run("--version", program=program, code=130)
    assert done.stdout == done.stderr == ""


def test_version_says_what_was_built() -> None:
    first, engines = run("--version").stdout.splitlines()
    assert first.startswith(f"yolort {yolort.__version__}")
    assert yolort._core.__compiler__ in first
    assert first.endswith(f"SIMD {yolort._core.simd()}")
    assert all(f"{status.name} {status.version}" in engines for status in yolort.engines() if status.available)


def test_doctor_does_not_print_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_API_KEY", "s3cret")
    monkeypatch.setenv("YOLORT_SIMD", "scalar")
    out = run("doctor").stdout
    assert "YOLORT_API_KEY=(set)" in out
    assert "YOLORT_SIMD=scalar" in out
    assert "s3cret" not in out


def test_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLORT_SIMD", "scalar")
    lines = run("doctor").stdout.splitlines()
    titles = [line for line in lines if not line.startswith("  ")]
    assert titles == ["yolort:", "system:", "engines:", "missing:", "slow:"]
    assert "  YOLORT_SIMD=scalar" in lines
    for status in yolort.engines():
        start = f"  {status.name} {status.version}" if status.available else f"  engine {status.name}: {status.reason}"
        assert any(line.startswith(start) for line in lines)
    slow = lines[lines.index("slow:") :]
    assert any("no SIMD" in line for line in slow)
    run("doctor", "--fail", code=1)


def test_a_shell_completes_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_YOLORT_COMPLETE": "complete_bash", "COMP_WORDS": "yolort do", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    program = "import sys; sys.argv = ['yolort']; from yolort.cli import main; main()"
    assert run(program=program).stdout.split() == ["doctor"]


def test_a_pipe_gets_rows_in_one_line() -> None:
    program = "from yolort.cli._output import print_table; print_table(['a', 'b'], [['x' * 150, 'y' * 150]])"
    out = run("", program=program).stdout
    assert f"{'x' * 150} │ {'y' * 150}" in out


def test_study_is_the_old_name_of_sweep() -> None:
    done = run("study", "no.pt", "--data", "no.yaml", code=2)
    assert "`yolort study` is now `yolort sweep`" in done.stderr
    commands = run("--help").stdout
    assert "sweep" in commands
    assert "study" not in commands.replace("a study", "")


def test_options_of_serve_that_cannot_be_right(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    model = yolort.demo_model()
    assert "key is not UTF-8 text" in run("serve", model, "--api-key-file", tmp_path / "key", code=2).stderr
    assert "--host 999.1.1.1: no such address" in run("serve", model, "--host", "999.1.1.1", code=2).stderr


def test_a_stream_with_files_that_cannot_be_read(folder: Path, model: Path) -> None:
    """Detects in the other images, and the exit status reports the failure."""
    (folder / "c.png").write_bytes(b"no image")
    done = run("stream", folder, "--model", model, code=1)
    assert len(done.stdout.splitlines()) == 2
    assert "warning: skipped: image" in done.stderr


def test_text_that_cannot_be_encoded(capsys: pytest.CaptureFixture[str]) -> None:
    import typer
    from yolort.cli._errors import with_clear_errors

    with pytest.raises(typer.Exit):
        with_clear_errors(lambda: print("m\udcff.pt".encode()))()
    assert r"'m\udcff.pt' cannot be written as utf-8; rename it" in capsys.readouterr().err
