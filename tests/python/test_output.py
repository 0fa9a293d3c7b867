"""Output of the command: control characters in untrusted text have no effect on a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yolort
from known_models import boxes_output, metadata, write_onnx

pytest.importorskip("typer")
pytest.importorskip("onnxruntime")
cv2 = pytest.importorskip("cv2")

from yolort.cli._output import visible  # noqa: E402

EVIL = "\x1b]0;owned\x07\x1b[31m\u202e\x9b2J\x7f\r"


def run(*arguments: object, encoding: str = "utf-8", code: int = 0) -> str:
    """Standard output and standard error."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    command = [sys.executable, "-m", "yolort", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    text = (done.stdout + done.stderr).decode(encoding)
    assert done.returncode == code, text
    return text


def test_visible() -> None:
    assert visible("a\x1b[31mb\x07\u202e\x9b\udcff\u2028") == r"a\x1b[31mb\x07\u202e\x9b\udcff\u2028"
    assert visible("ünï 😀 犬\n") == "ünï 😀 犬\n"
    assert visible("a\nb", lines=False) == r"a\nb"
    shown = visible("".join(map(chr, [*range(0x3000), *range(0xD800, 0xE000)])))
    assert {unicodedata.category(character) for character in shown.replace("\n", "")} & {
        "Cc",
        "Cs",
        "Zl",
        "Zp",
    } == set()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {**metadata(["zero", f"one{EVIL}", "two"]), "description": f"evil{EVIL}", f"key{EVIL}": "x"}
    return write_onnx(tmp_path_factory.mktemp("evil"), boxes_output((32, 32, 8, 8, 0.9, 1)), data)


def harmless(text: str) -> None:
    assert not [character for character in text if character != "\n" and not character.isprintable()]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / f"x{EVIL.replace('/', '')}\n.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    return path


def test_names_of_classes_and_files(model: Path, image: Path) -> None:
    harmless(run("info", model))
    text = run("predict", image, "--model", model)
    harmless(text)
    assert r"1 one\x1b]0;owned\x07" in text
    assert len(text.splitlines()) == 1
    for arguments in (("predict", image, "--model", model, "--json"), ("stream", image, "--model", model)):
        text = run(*arguments)
        harmless(text)
        assert json.loads(text)["detections"][0]["name"] == f"one{EVIL}"
    harmless(run("info", model, "--json"))


def test_errors_and_warnings(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / f"{EVIL}.png"
    broken.write_bytes(b"no image")
    good = tmp_path / "good.png"
    good.write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    harmless(run("predict", broken, "--model", model, code=1))
    harmless(run("predict", tmp_path / f"gone{EVIL}", "--model", model, code=2))
    harmless(run("predict", good, "--model", tmp_path / f"gone{EVIL}.onnx", code=2))
    harmless(run("stream", tmp_path, "--model", model, code=1))
    harmless(run("val", model, "--data", f"gone{EVIL}.yaml", code=2))


def test_characters_that_cannot_be_encoded_are_escaped(tmp_path: Path) -> None:
    model = write_onnx(tmp_path, boxes_output((32, 32, 8, 8, 0.9, 1)), metadata(["zero", "犬", "two"]))
    image = tmp_path / "ünï.png"
    image.write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    text = run("predict", image, image, "--model", model, encoding="ascii")
    assert text.count(r"1 \u72ac") == 2
    assert r"\u72ac" in run("info", model, encoding="ascii")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("redirected", [True, False])
def test_output_lines_stay_intact_with_a_progress_bar_on_the_terminal(
    model: Path, image: Path, tmp_path: Path, redirected: bool
) -> None:
    """A progress bar on standard error does not affect output to a file."""
    import pty

    other = tmp_path / "other.png"
    other.write_bytes(image.read_bytes())
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "yolort", "predict", str(image), str(other), "--json", "--model", str(model)]
    with (tmp_path / "out.txt").open("wb") as file:
        started = subprocess.Popen(command, stdout=file if redirected else terminal, stderr=terminal)
        os.close(terminal)
        seen = b""
        try:
            while part := os.read(master, 65536):
                seen += part
        except OSError:  # Linux: its last writer is gone
            pass
        assert started.wait(60) == 0, seen
    os.close(master)
    text = (tmp_path / "out.txt").read_bytes() if redirected else seen
    assert [Path(json.loads(line)["path"]).name for line in text.splitlines()] == [image.name, other.name]
    assert (b"detecting" in seen) == redirected


def test_the_library_prints_nothing(capfd: pytest.CaptureFixture[str], model: Path) -> None:
    yolort.Detector(model, engine="onnxruntime")(np.zeros((64, 64, 3), np.uint8))
    assert capfd.readouterr() == ("", "")
