"""Kills commands with kill -9 at random moments, and checks that nothing is lost, repeated or left behind.

    python tests/bench/crash.py [calibrate quantize prune optimize ablate batch] --kills 20

Each command works on tiny data in a folder that also holds files of the user. It is run once undisturbed, then again in
another folder, killed at random moments until it has been killed often enough, and then left to end. Checked after each
kill: the user's files are as they were, the output is absent or whole, finished stages are still there and were not
made again. Checked at the end: the outcome is that of the undisturbed run, and nothing hidden is left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
import yolort
from ultralytics.nn.tasks import DetectionModel
from yolort.tools.demo.dataset import write_dataset

STUDY = {
    "model": "m.pt",
    "data": "data.yaml",
    "imgsz": 64,
    "steps": {"prune": {"prune": 0.2, "method": "l1"}, "augment": {"augment": True}},
    "sets": ["each"],
}


class Job(NamedTuple):
    """A command in a folder, and its expected output."""

    arguments: list[str]
    outcome: Callable[[Path], object]  #: state of its folder afterwards; the same for every run
    whole: Callable[[Path], object]  #: raises if the output is neither absent nor complete
    stages: str = ""  #: pattern of cached results, which must not be computed twice


def without(found: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: value for key, value in found.items() if key not in keys}


def if_there(path: Path, load: Callable[[Path], object]) -> object:
    return load(path) if path.exists() else None


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def weights(path: Path) -> str:
    model = torch.load(path, weights_only=False)["model"]
    whole = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        whole.update(name.encode() + value.float().numpy().tobytes())
    return whole.hexdigest()


def lines(folder: Path) -> list[object]:
    parts = [part.read_text().splitlines() for part in sorted(folder.glob("part-*"))]
    return [without(json.loads(line), "path") for part in parts for line in part]


def jobs(given: Path) -> dict[str, Job]:
    """`given` holds model, data and calibration; the command runs in a folder beside it."""
    model, data = str(given / "m.pt"), str(given / "data.yaml")
    onnx, ncnn = str(yolort.demo_model()), str(yolort.demo_model("ncnn"))
    return {
        "calibrate": Job(
            ["calibrate", onnx, "--data", data, "--output", "out.json"],
            lambda at: without(read(at / "out.json"), "created"),
            lambda at: if_there(at / "out.json", read),
        ),
        "quantize": Job(
            ["quantize", onnx, "--calibration", str(given / "c.json"), "--no-measure", "--output", "out.onnx"],
            lambda at: yolort.Detector(at / "out.onnx")([yolort.demo_image()])[0].to_dict()["detections"],
            lambda at: if_there(at / "out.onnx", yolort.Detector),
        ),
        "prune": Job(
            ["prune", model, "--ratio", "0.2", "--method", "l1", "--no-measure", "--output", "out.pt"],
            lambda at: weights(at / "out.pt"),
            lambda at: if_there(at / "out.pt", weights),
        ),
        "optimize": Job(
            ["optimize", model, "--data", data, "--max-drop", "100", "--imgsz", "64", "--trials", "3",
             "--finetune", "0", "--engine", "onnxruntime", "--folder", "search", "--report", "out.json"],
            lambda at: sorted(row["map50_95"] or -1 for row in read(at / "out.json")["trials"]),
            lambda at: if_there(at / "out.json", read),
            "search/*-*/inputs.json",
        ),
        "ablate": Job(
            ["ablate", str(given / "study.yaml"), "--folder", "stages", "--runs", "5", "--report", "out.json"],
            lambda at: [row["map50_95"] for row in read(at / "out.json")["rows"]],
            lambda at: if_there(at / "out.json", read),
            "stages/*-*/inputs.json",
        ),
        "batch": Job(
            ["batch", str(given / "scenes" / "images" / "train"), "--model", ncnn, "--engine", "ncnn",
             "--shard-size", "2", "--output", "found"],
            lambda at: lines(at / "found"),
            lambda at: lines(at / "found"),
            "found/part-*.jsonl",
        ),
    }  # fmt: skip


def make(given: Path) -> None:
    """A model with random weights, a dataset of 12 + 4 scenes, and a study."""
    write_dataset(given / "scenes", train=12, val=4, progress=False)
    (given / "data.yaml").write_text((given / "scenes" / "data.yaml").read_text().replace("images/", "scenes/images/"))
    (given / "study.yaml").write_text(yaml.safe_dump(STUDY))
    torch.manual_seed(0)
    model = DetectionModel("yolov8n.yaml", nc=10, verbose=False)
    model.names = {index: f"class {index}" for index in range(10)}
    torch.save({"model": model, "train_args": {"imgsz": 64, "task": "detect"}}, given / "m.pt")


def plant(at: Path) -> dict[str, str]:
    """Files of the user, some with names that start like those of outputs."""
    for name in ("photo.jpg", "notes.json", ".out.json-mine/thesis.txt", ".out.pt-keep", "search/mine.db",
                 "stages/mine.txt", "found/mine.jsonl", "outer.json"):  # fmt: skip
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(f"the user's {name}")
    return user_files(at)


def user_files(at: Path) -> dict[str, str]:
    found = {path: path.read_bytes() for path in at.rglob("*") if path.is_file() and path.stat().st_size < 100}
    return {str(path.relative_to(at)): data.decode() for path, data in found.items() if data.startswith(b"the user's")}


def run(job: Job, at: Path, seconds: float | None = None) -> int:
    """Status of the command; -9 if it was killed after `seconds`."""
    with at.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "yolort", *job.arguments], cwd=at, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def torment(name: str, job: Job, at: Path, kills: int) -> str:
    calm, rough = at / "calm", at / "rough"
    for folder in (calm, rough):
        folder.mkdir()
    mine = plant(calm), plant(rough)
    start = time.monotonic()
    assert run(job, calm) == 0, (at / "calm.log").read_text()[-2000:]
    duration = time.monotonic() - start
    killed = ended = 0
    made: dict[str, int] = {}
    while killed < kills:
        status = run(job, rough, random.uniform(0.2, duration))
        killed += status == -9
        ended += status == 0
        assert status in (0, -9), (at / "rough.log").read_text()[-2000:]
        assert user_files(rough) == mine[1], "a file of the user is changed or gone"
        job.whole(rough)
        stages = {str(path): path.stat().st_mtime_ns for path in rough.glob(job.stages)} if job.stages else {}
        again = [path for path, when in made.items() if stages.get(path) != when]
        assert not again, f"finished stages are gone, or were made again: {again}"
        made = stages
        if status == 0:  # from the start
            shutil.rmtree(rough)
            rough.mkdir()
            mine = mine[0], plant(rough)
            made = {}
    assert run(job, rough) == 0, (at / "rough.log").read_text()[-2000:]
    assert job.outcome(rough) == job.outcome(calm), "the outcome differs"
    assert user_files(rough) == mine[1] and user_files(calm) == mine[0]
    known = (".out.json-mine", ".out.pt-keep", ".yolort.json")
    hidden = [str(path.relative_to(rough)) for path in rough.rglob(".*") if path.name not in known] or "nothing"
    return f"{name}: {duration:.1f} s; killed {killed} times, ended before {ended} times; left hidden: {hidden}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random.seed(asked.seed)
    with tempfile.TemporaryDirectory(prefix="yolort-crash-") as name:
        given = Path(name) / "given"
        given.mkdir()
        make(given)
        known = jobs(given)
        status = run(known["calibrate"], given)
        assert status == 0, (Path(name) / "given.log").read_text()
        (given / "out.json").rename(given / "c.json")
        for command in asked.commands or known:
            at = Path(name) / command
            at.mkdir()
            print(torment(command, known[command], at, asked.kills), flush=True)


if __name__ == "__main__":
    main()
