"""Fetches the pinned ncnn source from the user's package index and unpacks it: fetch_ncnn.py FOLDER.

ncnn's source is published as the sdist of its Python package, but pip cannot download it (its setup.py stamps today's
date as the version). So the index is asked through its JSON API (PEP 691) and the file is checked against the SHA-256
pinned here. The index is the one pip is set to: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_CERT, or `pip config`. The
client of that API, pypi-simple, is installed into a temporary folder if it is missing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "1.0.20261020"
SHA256 = "ad8cdd63e9755cfa8e23b9b6d9ce46156077d80298a89e7c3ba325ffccfca200"
FILE = f"ncnn-{VERSION}.tar.gz"


def pip_settings() -> dict[str, str]:
    """The settings of pip, without section names: {"index-url": ..., "cert": ...}; the environment wins."""
    settings = {}
    for command in ([sys.executable, "-m", "pip"], ["pip"]):
        try:
            listing = subprocess.run([*command, "config", "list"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            settings[key.rpartition(".")[2]] = value.strip("'\"")
        break
    for key in ("index-url", "extra-index-url", "cert"):
        if value := os.environ.get("PIP_" + key.upper().replace("-", "_")):
            settings[key] = value
    return settings


def provide_client(folder: Path) -> None:
    """Make `pypi_simple` importable: if this Python lacks it, pip puts it into `folder`."""
    if importlib.util.find_spec("pypi_simple"):
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder]
    result = subprocess.run([*command, "pypi-simple>=1.6"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{sys.executable} cannot install pypi-simple, which fetches {FILE}:\n{result.stderr}")
    sys.path.insert(0, str(folder))


def download(target: Path) -> None:
    """Write the sdist to `target`; raises LookupError with what each index answered."""
    import requests
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, PyPISimple

    settings = pip_settings()
    session = requests.Session()
    if cert := settings.get("cert"):
        session.verify = cert
    tried = []
    for url in [
        settings.get("index-url", PYPI_SIMPLE_ENDPOINT),
        *settings.get("extra-index-url", "").split(),
    ]:
        if not url.startswith(("http://", "https://")):
            continue
        try:
            with PyPISimple(url, session=session) as client:
                for package in client.get_project_page("ncnn", timeout=60).packages:
                    if package.filename == FILE:
                        client.download_package(package, target, verify=False, timeout=120)
                        return
            tried.append(f"{url}: it does not have {FILE}")
        except Exception as error:  # if one index fails, try the next
            tried.append(f"{url}: {error}")
    raise LookupError("\n  ".join(tried))


def main() -> None:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = Path(scratch, FILE)
        provide_client(Path(scratch, "packages"))
        try:
            download(archive)
        except LookupError as error:
            sys.exit(f"cannot fetch {FILE}:\n  {error}")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != SHA256:
            sys.exit(f"{FILE} has SHA-256 {digest}, expected {SHA256}")
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(scratch, filter="data")
            else:  # only the pinned archive is accepted
                tar.extractall(scratch)
        shutil.move(Path(scratch, f"ncnn-{VERSION}"), folder)


if __name__ == "__main__":
    main()
