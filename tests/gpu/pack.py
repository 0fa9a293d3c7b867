"""Packs everything that run.sh needs on a machine without network access, in pieces of at most N MiB.

    python tests/gpu/pack.py --tensorrt tensorrt-8.6.0-*.whl --headers TENSORRT/include --weights a.pt b.pt \\
        --calibrate train.yaml --data val.yaml --output build/gpu [--python 3.12] [--mib 55]

The pieces, put together in order, are one .tar.zst: lib/ (TensorRT without its plugins), include/, models/ (FP32, INT8
for TensorRT, TorchScript, and dynamic ones), data/ (the images to score on), wheels/ (of Python packages).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
import yaml
import yolort
from yolort.tools.data.dataset import load_dataset
from yolort.tools.export.pipeline import export
from yolort.tools.models.checkpoints import load_checkpoint
from yolort.tools.models.heads import with_head
from yolort.tools.quantize.calibrate import calibrate
from yolort.tools.quantize.quantize import quantize

WHEELS = ["onnxslim", "pycocotools", "ultralytics"]
LIBRARIES = ("libnvinfer.so", "libnvinfer_builder_resource.so", "libnvonnxparser.so")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--tensorrt", type=Path, required=True, help="its wheel, which is only unpacked")
parser.add_argument("--headers", type=Path, required=True, help="of the same version")
parser.add_argument("--weights", type=Path, nargs="+", required=True)
parser.add_argument("--calibrate", required=True, help="data.yaml whose training images INT8 is calibrated on")
parser.add_argument("--data", required=True, help="data.yaml to score on")
parser.add_argument("--output", type=Path, default=Path("build/gpu"))
parser.add_argument("--python", default="3.12", help="of the machine with the GPU")
parser.add_argument("--mib", type=int, default=55)
given = parser.parse_args()

shutil.rmtree(given.output, ignore_errors=True)
store = given.output / "store"
for folder in ("lib", "models/dynamic", "data/images", "data/labels", "wheels"):
    (store / folder).mkdir(parents=True)

with zipfile.ZipFile(given.tensorrt) as wheel:
    for name in wheel.namelist():
        if Path(name).name.startswith(LIBRARIES):
            with wheel.open(name) as source, (store / "lib" / Path(name).name).open("wb") as target:
                shutil.copyfileobj(source, target)
shutil.copytree(given.headers, store / "include")
kinds = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
download += [f"--platform={kind}" for kind in kinds]
subprocess.run([*download, "--python-version", given.python, "-d", str(store / "wheels"), *WHEELS], check=True)
for weights in given.weights:
    made = export(weights, output=store / "models" / f"{weights.stem}.onnx")
    known = calibrate(made, given.calibrate)
    quantize(made, known, target="gpu", measure=False, output=made.with_name(f"{weights.stem}-int8.onnx"))
    cut = with_head(load_checkpoint(weights).model, "raw")
    torch.jit.trace(cut, torch.rand(1, 3, 640, 640), check_trace=False).save(made.with_suffix(".torchscript"))
export(given.weights[-1], dynamic=True, output=store / "models" / "dynamic" / f"{given.weights[-1].stem}-any.onnx")

samples = load_dataset(given.data).samples
names = yolort.Detector(made, engine="onnxruntime").names
for sample in samples:
    shutil.copy(sample.path, store / "data" / "images")
    label = Path(str(sample.path).replace("/images/", "/labels/")).with_suffix(".txt")
    if label.exists():
        shutil.copy(label, store / "data" / "labels")
(store / "data" / "data.yaml").write_text(yaml.safe_dump({"train": "images", "val": "images", "names": names}))

packed = given.output / "store.tar.zst"
# The builder's code for many GPUs has long-range repetitions: 1.0 GB becomes 0.37.
subprocess.run(["tar", "-C", str(store), "-I", "zstd -15 --long=27 -T0", "-cf", str(packed.resolve()), "."], check=True)
with packed.open("rb") as whole:
    for number in range(10_000):
        piece = whole.read(given.mib << 20)
        if not piece:
            break
        (given.output / f"piece.{number:02}").write_bytes(piece)
packed.unlink()
print(f"{number} pieces in {given.output}, {len(samples)} images to score on")
