"""packaging/release.py: the files that the release workflow publishes with the packages."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from installing import ROOT, found_in

VERSION = found_in(ROOT / "CMakeLists.txt", r"yolort VERSION ([\d.]+)")


def release(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "packaging/release.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_tag_that_is_not_the_version_is_refused() -> None:
    done = release("check", "v99.0.0")
    assert done.returncode == 1
    assert f"the tag is v99.0.0, the version in CMakeLists.txt {VERSION}" in done.stderr


def test_packages_are_described(tmp_path: Path) -> None:
    wheel = tmp_path / f"yolort_runtime-{VERSION}-cp312-cp312-manylinux_2_28_x86_64.whl"
    wheel.write_bytes(b"a wheel")
    assert release("describe", tmp_path).returncode == 0
    sums = dict(line.split("  ")[::-1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines())
    assert sums[wheel.name] == hashlib.sha256(b"a wheel").hexdigest()
    sbom = json.loads((tmp_path / "sbom.cdx.json").read_text())
    assert sums["sbom.cdx.json"] == hashlib.sha256((tmp_path / "sbom.cdx.json").read_bytes()).hexdigest()
    assert sbom["metadata"]["component"]["version"] == VERSION
    assert {"ncnn", "glslang", "pybind11", wheel.name} == {part["name"] for part in sbom["components"]}


def test_nothing_to_describe_is_an_error(tmp_path: Path) -> None:
    done = release("describe", tmp_path)
    assert done.returncode == 1
    assert "has no packages" in done.stderr


def test_a_wheel_is_built_beside_those_of_other_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs that write a file instead of building."""

    def run(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words = list(map(str, command))
        if "--wheel-dir" in words:
            folder = Path(words[words.index("--wheel-dir") + 1])
            folder.mkdir(exist_ok=True)
            platform = "manylinux_2_28_x86_64" if "auditwheel" in words else "linux_x86_64"
            (folder / f"yolort_runtime-{VERSION}-cp312-cp312-{platform}.whl").write_text("new")
        return subprocess.CompletedProcess(words, 0, "cp312\n", "")

    wheels = runpy.run_path(str(ROOT / "packaging/wheels.py"))
    monkeypatch.setitem(wheels["build"].__globals__, "write_tools", lambda _: None)
    monkeypatch.setattr(subprocess, "run", run)
    for name in ("0.0.1", VERSION):  # an older version, and this one of an earlier run
        (tmp_path / f"yolort_runtime-{name}-cp312-cp312-manylinux_2_28_x86_64.whl").write_text("old")
    made = wheels["build"]("python3.12", "x86_64", tmp_path)
    assert made == tmp_path / f"yolort_runtime-{VERSION}-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert made.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2
