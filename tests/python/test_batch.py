"""Shards, their files, and resuming; and one run with Ray on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yolort
from known_models import metadata, write_onnx
from yolort import batch
from yolort._open import open_model

pytest.importorskip("cv2")
SAMPLE = yolort.demo_image().read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abcde":
        (folder / f"{name}.jpg").write_bytes(b"damaged" if name == "d" else SAMPLE)
    return folder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_in_shards(detector: yolort.Detector, folder: Path, tmp_path: Path) -> None:
    shards = batch.split(folder, 2)
    assert [len(shard["paths"]) for shard in shards] == [2, 2, 1]
    assert batch.detect_shard(detector, shards[1], tmp_path, "image") == {"images": 2, "failed": 1}
    good, bad = lines(tmp_path / "part-00001.jsonl")
    assert good["path"] == str(folder / "c.jpg")
    assert good["detections"] == detector(yolort.images.read(yolort.demo_image())).to_dict()["detections"]
    assert "damaged" in str(bad["error"])


def test_a_shard_of_a_classifier(folder: Path, tmp_path: Path) -> None:
    said = {**metadata(["cat", "dog", "owl"]), "task": "classify", "head": "Classify", "stride": 1, "imgsz": [32, 32]}
    model = write_onnx(tmp_path, {"output0": np.array([0.2, 0.1, 0.7], np.float32)}, said)
    (shard,) = batch.split(folder, 10)
    assert batch.detect_shard(open_model(model), shard, tmp_path, "image") == {"images": 5, "failed": 1}
    written = lines(tmp_path / "part-00000.jsonl")
    assert [line["path"] for line in written] == [str(folder / f"{name}.jpg") for name in "abcde"]
    classes = written[0]["classes"]
    assert isinstance(classes, list) and [one["name"] for one in classes] == ["owl", "cat", "dog"]
    assert "damaged" in str(written[3]["error"])


def test_parquet_by_row_groups(detector: yolort.Detector, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"image": [SAMPLE, None, SAMPLE], "path": ["one", "two", None]})
    parquet.write_table(table, tmp_path / "images.parquet", row_group_size=2)
    shards = batch.split(tmp_path, 1)
    assert shards == batch.split(tmp_path / "images.parquet", 1)
    assert [shard["row_group"] for shard in shards] == [0, 1]
    assert batch.detect_shard(detector, shards[0], tmp_path, "image") == {"images": 2, "failed": 1}
    assert [line["path"] for line in lines(tmp_path / "part-00000.jsonl")] == ["one", "two"]
    with pytest.raises(ValueError, match="no column 'picture'; its columns: image, path"):
        batch.detect_shard(detector, shards[1], tmp_path, "picture")


def test_a_file_that_is_gone_is_a_line(detector: yolort.Detector, folder: Path, tmp_path: Path) -> None:
    (shard,) = batch.split(folder, 10)
    (folder / "e.jpg").unlink()
    failed = batch.detect_shard(detector, shard, tmp_path, "image")["failed"]
    *_, last = lines(tmp_path / "part-00000.jsonl")
    assert failed >= 1
    assert last["path"] == str(folder / "e.jpg")
    assert "e.jpg" in str(last["error"])


def test_a_shard_that_fails_leaves_nothing(
    detector: yolort.Detector, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shard,) = batch.split(folder, 10)

    def fail(path: str, channels: int) -> None:
        raise MemoryError(path, channels)

    monkeypatch.setattr(yolort.images, "read", fail)
    with pytest.raises(MemoryError):
        batch.detect_shard(detector, shard, tmp_path, "image")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.slow
def test_ray_on_this_machine(folder: Path, tmp_path: Path) -> None:
    """Run as a command, so that Ray's processes and warnings do not affect this one."""
    pytest.importorskip("ray")
    out = tmp_path / "out"
    model = yolort.demo_model("ncnn")
    command = [sys.executable, "-m", "yolort", "batch", str(folder), "--model", str(model), "--output", str(out)]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--shard-size", "2", *more], capture_output=True, text=True, timeout=300, env={**os.environ}
        )

    first = run()
    assert first.returncode == 1, first.stderr
    assert "5 image(s) in 3 shard(s); 0 shard(s) existed already" in first.stdout
    assert "1 of 5 image(s) failed" in first.stderr
    (out / "part-00002.jsonl").unlink()
    kept = (out / "part-00000.jsonl").stat().st_mtime_ns
    second = run()
    assert second.returncode == 0, second.stderr
    assert "1 image(s) in 1 shard(s); 2 shard(s) existed already" in second.stdout
    assert (out / "part-00000.jsonl").stat().st_mtime_ns == kept
    names = [str(line["path"]) for i in range(3) for line in lines(out / f"part-0000{i}.jsonl")]
    assert names == [str(folder / f"{name}.jpg") for name in "abcde"]
    other = run("--conf", "0.9")
    assert other.returncode == 2
    assert "results for another source, model or options" in other.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own warnings
def test_a_worker_that_cannot_start_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "m.onnx").write_bytes(b"damaged")
    with pytest.raises(yolort.EngineError, match=r"a worker on the Ray cluster stopped: .*m\.onnx") as caught:
        batch.run(folder, tmp_path / "m.onnx", tmp_path / "out")
    assert "\n" not in str(caught.value)


def claim(folder: Path, images: Path, model: Path) -> None:
    batch._claim(folder, batch.split(images, 2), model, "image", {})


def test_work_on_files_that_changed_is_other_work(folder: Path, tmp_path: Path) -> None:
    model, output = tmp_path / "m.onnx", tmp_path / "out"
    model.write_bytes(b"model")
    output.mkdir()
    claim(output, folder, model)
    claim(output, folder, model)
    for changed in (model, folder / "b.jpg"):
        before = changed.read_bytes()
        changed.write_bytes(before[::-1])
        os.utime(changed, (1, 1))
        with pytest.raises(ValueError, match="or these files have changed since; choose another output"):
            claim(output, folder, model)
        status = (1_700_000_000, 1_700_000_000)
        changed.write_bytes(before)
        os.utime(changed, status)
        shutil.rmtree(output)
        output.mkdir()
        claim(output, folder, model)


def test_of_two_works_one_gets_the_folder(folder: Path, tmp_path: Path) -> None:
    models = [tmp_path / name for name in ("a.onnx", "b.onnx")]
    for model in models:
        model.write_bytes(b"model")
    for turn in range(20):
        output = tmp_path / f"out{turn}"
        output.mkdir()
        barrier = threading.Barrier(2)

        def work(model: Path, output: Path = output, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            try:
                claim(output, folder, model)
            except ValueError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(work, models)) == [False, True]


def test_a_file_system_without_hard_links(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    output = tmp_path / "out"
    output.mkdir()
    claim(output, folder, tmp_path / "a.onnx")
    claim(output, folder, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="has results for another"):
        claim(output, folder, tmp_path / "b.onnx")


@pytest.mark.parametrize("kind", ["pipe", "bytes", "folder"])
def test_a_manifest_that_is_none(kind: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    manifest = output / "batch.json"
    if kind == "pipe":
        os.mkfifo(manifest)
    elif kind == "bytes":
        manifest.write_bytes(b"\xff\xfe")
    else:
        manifest.mkdir()
    with pytest.raises(ValueError, match=r"out.* has results for another"):
        claim(output, folder, tmp_path / "m.onnx")


def test_the_output_is_a_folder(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    output = tmp_path / "out"
    output.write_text("mine")
    with pytest.raises(NotADirectoryError, match="out is a file; give a folder"):
        batch.run(folder, yolort.demo_model(), output)
    assert output.read_text() == "mine"
