"""packaging/release.py: the files that the release workflow publishes with the packages."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

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
