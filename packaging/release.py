"""Helpers for the release workflow: release.py check TAG | notes TAG | describe FOLDER.

check exits with 1 unless TAG is `v` plus the version in CMakeLists.txt, and CHANGELOG.md has a section for it
notes    prints that section
describe writes SHA256SUMS of the files in FOLDER, and sbom.cdx.json (CycloneDX): what is compiled into the packages
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def found_in(file: str, pattern: str) -> str:
    """The first group of a pattern's match in a file of the project."""
    found = re.search(pattern, (ROOT / file).read_text(), re.M | re.S)
    if not found:
        sys.exit(f"release.py: {file} does not have {pattern}")
    return found[1]


def version() -> str:
    return found_in("CMakeLists.txt", r"project\(yolort VERSION ([0-9.]+)")


def notes(tag: str) -> str:
    """The section of the changelog; exits if the tag is not the version or has no section."""
    if tag != f"v{version()}":
        sys.exit(f"release.py: the tag is {tag}, the version in CMakeLists.txt {version()}")
    return found_in("CHANGELOG.md", rf"^## {re.escape(version())}[^\n]*\n(.*?)(?=^## |\Z)").strip()


def sbom(files: list[Path]) -> dict[str, object]:
    """A bill of materials: the packages, and what is compiled into them."""
    ncnn, digest = (found_in("cpp/cmake/fetch_ncnn.py", rf'^{name} = "(.*?)"') for name in ("VERSION", "SHA256"))
    pybind11 = found_in("pyproject.toml", r'"pybind11>=([0-9.]+)"')

    def component(name: str, version: str, license: str, **more: object) -> dict[str, object]:
        return {
            "type": "library", "name": name, "version": version, "licenses": [{"license": {"id": license}}], **more
        }  # fmt: skip

    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component("yolort-runtime", version(), "Apache-2.0")},
        "components": [
            component(
                "ncnn", ncnn, "BSD-3-Clause",
                purl=f"pkg:pypi/ncnn@{ncnn}", hashes=[{"alg": "SHA-256", "content": digest}],
            ),
            component("glslang", f"as in ncnn {ncnn}", "Apache-2.0"),
            component("pybind11", f"{pybind11} or later", "BSD-3-Clause"),
            *(
                {"type": "file", "name": file.name, "hashes": [{"alg": "SHA-256", "content": sha256(file)}]}
                for file in files
            ),
        ],
    }  # fmt: skip


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def describe(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz")))
    if not files:
        sys.exit(f"release.py: {folder} has no packages")
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom(files), indent=1) + "\n")
    named = [*files, folder / "sbom.cdx.json"]
    (folder / "SHA256SUMS").write_text("".join(f"{sha256(file)}  {file.name}\n" for file in named))


def main() -> None:
    match sys.argv[1:]:
        case ["check", tag]:
            notes(tag)
        case ["notes", tag]:
            print(notes(tag))
        case ["describe", folder]:
            describe(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
