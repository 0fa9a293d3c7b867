"""C++, C, Rust and Python programs find the installed package and detect with it, linked statically or dynamically."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yolort
from installing import ROOT, found_in, run
from known_models import task_model, write_ncnn

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
HEADERS = ["c.h", "export.h", "yolort.h"]


def lines(found: yolort.Detections, names: dict[int, str]) -> list[str]:
    """The expected output of the examples."""
    return [
        f"{names[cls]} {score:.3f} " + " ".join(f"{side:.1f}" for side in box)
        for box, score, cls in zip(found.boxes, found.scores, found.classes, strict=True)
    ]


@pytest.fixture
def frame(picture: np.ndarray, tmp_path: Path) -> list[object]:
    """Arguments of the examples."""
    file = tmp_path / "frame.bgr"
    file.write_bytes(picture.tobytes())
    return [file, picture.shape[1], picture.shape[0]]


@pytest.fixture
def expected(picture: np.ndarray) -> list[str]:
    detector = yolort.Detector(yolort.demo_model("ncnn"), tuned=False)
    found = lines(detector(picture), detector.names)
    assert len(found) >= 6
    return found


def test_examples(
    prefix: Path,
    picture: np.ndarray,
    frame: list[object],
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = ("onnxruntime", "openvino")
    libraries = {
        one.name: str(Path(one.library).parent) for one in yolort.engines() if one.library and one.name in known
    }
    assert sorted(path.name for path in (prefix / "include").rglob("*.h")) == HEADERS
    for language in ("cpp", "c"):
        run(
            "cmake",
            "-G",
            "Ninja",
            "-S",
            EXAMPLES / language,
            "-B",
            tmp_path / language,
            f"-DCMAKE_PREFIX_PATH={prefix}",
        )
        run("cmake", "--build", tmp_path / language)
    foreign = tmp_path / "model.onnx"  # the libraries for this format are not found
    shutil.copy(yolort.demo_model("onnx"), foreign)
    for program in (tmp_path / "cpp/detect_cpp", tmp_path / "c/detect_c"):
        assert run(program, yolort.demo_model("ncnn"), *frame).splitlines() == expected
        assert "does not exist" in run(program, tmp_path / "nothing", *frame, status=1)
        assert "no engine here can run" in run(program, foreign, *frame, status=1)
        for engine, library in libraries.items():
            monkeypatch.setenv("YOLORT_LIBRARY_PATH", library)
            monkeypatch.setenv("YOLORT_ENGINE", engine)
            detector = yolort.Detector(yolort.demo_model("onnx"))
            there = run(program, yolort.demo_model("onnx"), *frame).splitlines()
            assert detector.engine == engine
            assert there == lines(detector(picture), detector.names)
        for name in ("YOLORT_ENGINE", "YOLORT_LIBRARY_PATH"):
            monkeypatch.delenv(name, raising=False)


def task_lines(found: yolort.Detections, *, rle: bool) -> list[str]:
    """The expected output of the task examples."""
    out = []
    for i, (_, score, cls) in enumerate(found):
        line = f"{found.names[cls]} {score:.3f}"
        points: np.ndarray = np.empty((0, 2))
        if found.masks is not None:
            line += f" {found.masks.area[i]} pixels"
            line += f", COCO RLE {found.masks.rle()[i]['counts']}" if rle else ""
        elif found.keypoints is not None:
            points = found.keypoints[i, :, :2]
        elif found.corners is not None:
            points = found.corners[i]
        out.append(line + "".join(f" {x:.1f},{y:.1f}" for x, y in points))
    return out


@pytest.fixture(scope="module")
def examples(static_prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The task programs by language."""
    folder = tmp_path_factory.mktemp("examples")
    for language in ("cpp", "c"):
        source, build = EXAMPLES / language, folder / language
        run("cmake", "-G", "Ninja", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={static_prefix}")
        run("cmake", "--build", build, "--target", f"tasks_{language}")
    return {language: folder / language / f"tasks_{language}" for language in ("cpp", "c")}


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_examples_of_tasks(
    shared_prefix: Path, examples: dict[str, Path], task: str, frame: list[object], picture: np.ndarray, tmp_path: Path
) -> None:
    model = write_ncnn(tmp_path, *task_model(task))
    found = yolort.Detector(model)(picture)
    assert len(found) == 2
    for language, program in examples.items():
        assert run(program, model, *frame).splitlines() == task_lines(found, rle=language == "cpp")
        assert "does not exist" in run(program, tmp_path / "nothing", *frame, status=1)
    script = [sys.executable, EXAMPLES / "c/tasks_ctypes.py", shared_prefix / "lib" / "libyolort.so"]
    assert run(*script, model, *frame).splitlines() == task_lines(found, rle=False)


def test_the_licenses_of_what_is_linked_are_installed(prefix: Path) -> None:
    folder = prefix / "share/yolort/licenses"
    assert (folder / "yolort.txt").read_text() == (ROOT / "LICENSE").read_text()
    linked = {"ncnn": "BSD 3-Clause License", "glslang": "The Khronos Group"}
    if (folder / "stb_image.txt").exists():  # yolort-detect was built with it
        linked["stb_image"] = "This software is available under 2 licenses"
    assert {path.stem for path in folder.iterdir()} == {"yolort", *linked}
    for name, words in linked.items():
        assert words in (folder / f"{name}.txt").read_text(encoding="utf-8")


def test_ctypes(shared_prefix: Path, frame: list[object], expected: list[str], tmp_path: Path) -> None:
    library = shared_prefix / "lib" / "libyolort.so"
    script = [sys.executable, EXAMPLES / "c/detect_ctypes.py", library]
    assert run(*script, yolort.demo_model("ncnn"), *frame).splitlines() == expected
    assert "does not exist" in run(*script, tmp_path / "nothing", *frame, status=1)


def test_rust(shared_prefix: Path, frame: list[object], expected: list[str], tmp_path: Path) -> None:
    compiler = shutil.which("rustc") or pytest.skip("needs a Rust compiler (rustc)")
    library, program = shared_prefix / "lib", tmp_path / "detect"
    flags = ["--edition", "2021", "-D", "warnings", "-L", library, "-C", f"link-arg=-Wl,-rpath,{library}"]
    run(compiler, *flags, EXAMPLES / "rust/detect.rs", "-o", program)
    assert run(program, yolort.demo_model("ncnn"), *frame).splitlines() == expected
    assert "does not exist" in run(program, tmp_path / "nothing", *frame, status=1)
    assert "are not" in run(program, yolort.demo_model("ncnn"), frame[0], 7, 7, status=1)
    assert "detect MODEL FRAME" in run(program, status=1)


def test_a_program_in_c_alone_links_the_shared_library(
    shared_prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A C compiler also accepts the header without warnings."""
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    program = tmp_path / "version"
    source = tmp_path / "version.c"
    source.write_text("#include <yolort/c.h>\n#include <stdio.h>\nint main(void) { return !puts(yolort_version()); }\n")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{shared_prefix}/include"]
    library = shared_prefix / "lib"
    run(compiler, *flags, source, "-o", program, f"-L{library}", "-lyolort", f"-Wl,-rpath,{library}")
    version = found_in(ROOT / "CMakeLists.txt", r"yolort VERSION ([\d.]+)")
    assert run(program).strip() == version
    if not shutil.which("pkg-config"):
        return
    monkeypatch.setenv("PKG_CONFIG_PATH", str(library / "pkgconfig"))
    assert run("pkg-config", "--modversion", "yolort").strip() == version
    told = run("pkg-config", "--cflags", "--libs", "yolort").split()
    program.unlink()
    run(compiler, source, "-o", program, *told, f"-Wl,-rpath,{library}")
    assert run(program).strip() == version


def test_the_shared_library_exports_only_the_public_interface(shared_prefix: Path) -> None:
    """Exports every function of c.h and the marked classes of yolort.h, but nothing of ncnn or the standard library."""
    nm = shutil.which("nm") or pytest.skip("needs nm")
    library = shared_prefix / "lib" / "libyolort.so"
    told = run(nm, "-DC", "--defined-only", library)
    names = {line.split(maxsplit=2)[2].partition("@@")[0] for line in told.splitlines()}
    names -= {"YOLORT_" + found_in(shared_prefix / "include/yolort/c.h", r"YOLORT_ABI_VERSION (\d+)")}
    declared = set(
        re.findall(r"^YOLORT_API .*?(yolort_\w+)\(", (shared_prefix / "include/yolort/c.h").read_text(), re.M)
    )
    assert {name for name in names if "::" not in name} == declared
    functions = r"(Detector|Classifier)::(?!Impl)|Classification::|Mask::|corners|engines|devices"
    errors = r"\w*(Error|FileNotFound)"
    meant = re.compile(rf"yolort::({functions})|(vtable|typeinfo|typeinfo name) for yolort::{errors}$")
    assert [name for name in names - declared if not meant.match(name)] == []


def test_the_shared_library_says_its_abi(shared_prefix: Path) -> None:
    readelf = shutil.which("readelf") or pytest.skip("needs readelf")
    abi = found_in(shared_prefix / "include/yolort/c.h", r"YOLORT_ABI_VERSION (\d+)")
    told = run(readelf, "-d", "-V", shared_prefix / "lib" / "libyolort.so")
    assert f"[libyolort.so.{abi}]" in told
    assert f"Name: YOLORT_{abi}" in told


def test_a_failed_fetch_of_ncnn_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    monkeypatch.setenv("YOLORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    build = tmp_path / "build"
    told = run("cmake", "-G", "Ninja", "-S", ROOT, "-B", build, f"-DPython3_EXECUTABLE={sys.executable}", status=1)
    assert "127.0.0.1:9" in told
    assert "YOLORT_NCNN_SOURCE" in told
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]
    assert "Python3_EXECUTABLE" not in (build / "CMakeCache.txt").read_text()
