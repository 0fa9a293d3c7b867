"""`yolort prune`: the remaining channels compute the same, in a checkpoint that stock Ultralytics loads."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("torch_pruning")
pytest.importorskip("ultralytics")

import torch
import training
from pruned_models import model_of, pruned
from yolort.tools.data.samples import LabelError
from yolort.tools.export.pipeline import export
from yolort.tools.models.checkpoints import CheckpointError
from yolort.tools.models.heads import with_head
from yolort.tools.prune import outcome, planner
from yolort.tools.prune.checkpoint import check_widths
from yolort.tools.prune.prunable import PrunableModel, PruneError, open_model, widths
from yolort.tools.prune.prune import prune

pruning = importlib.import_module("yolort.tools.prune.prune")  # the module, not the function of its name

Checkpoints = Callable[[str], Path]
FAMILIES = ("yolov8n", "yolo11n", "yolo26n")
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("architecture", FAMILIES)
def test_what_keeps_its_width(architecture: str, checkpoint: Checkpoints, tmp_path: Path) -> None:
    before = model_of(checkpoint(architecture))
    after = model_of(pruned(checkpoint, tmp_path, architecture, ratio=0.5).path)
    narrower = {name for name, width in widths(before).items() if widths(after)[name] < width}
    kept = set(widths(before)) - narrower
    outputs = {name for name in kept if re.search(r"(cv2|cv3)\.\d\.2$", name)}
    assert len(outputs) == (12 if architecture == "yolo26n" else 6)  # box and class maps of 3 levels, of each branch
    attention = {name for name in kept if ".attn." in name}
    assert bool(attention) == (architecture != "yolov8n")
    assert not {name for name in narrower if ".attn." in name}
    assert len(narrower) > 0.8 * len(kept | narrower) - len(outputs | attention)
    assert all(width % 8 == 0 for name, width in widths(after).items() if name in narrower)
    heads = [name for name in narrower if name.startswith(f"model.{len(before.model) - 1}.")]
    assert any("one2one" in name for name in heads) == (architecture == "yolo26n")
    assert any("one2one" not in name for name in heads)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", FAMILIES)
def test_ultralytics_alone_loads_it(architecture: str, checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, architecture, ratio=0.3)
    assert done.channels[1] < 0.75 * done.channels[0]
    assert done.parameters[1] < 0.6 * done.parameters[0]
    assert done.gflops[1] < 0.75 * done.gflops[0]
    model = model_of(done.path)
    with torch.inference_mode():
        expected = float(model(IMAGE)[0].double().abs().sum())
    image = "torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))"
    seen = training.without_yolort(done.path, f"float(yolo.model.float().eval()({image})[0].double().abs().sum())")
    assert float(seen) == pytest.approx(expected, rel=1e-4)
    fused = training.without_yolort(
        done.path, f"float(yolo.model.float().fuse(verbose=False).eval()({image})[0].double().abs().sum())"
    )
    if architecture != "yolo26n":  # its fused model decodes the other branch
        assert float(fused) == pytest.approx(expected, rel=1e-3)
    assert training.without_yolort(done.path, "yolo.names[0]") == "driver's cab"
    blocks = [module for module in model.modules() if type(module).__name__ in ("C2f", "C3k2", "C2PSA")]
    assert blocks
    assert all(2 * block.c == block.cv1.conv.out_channels == block.cv1.bn.num_features for block in blocks)
    assert (model.model[-1].nc, model.yaml["nc"]) == (3, 3)
    trained = model.train()(torch.cat([IMAGE, IMAGE]))
    assert ("one2one" in trained) == (architecture == "yolo26n")


def test_an_input_that_the_network_cannot_run_at(checkpoint: Checkpoints, tmp_path: Path) -> None:
    for side in (33, 0, 1_000_000):
        with pytest.raises(ValueError, match="imgsz"):
            pruned(checkpoint, tmp_path, ratio=0.3, imgsz=side)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "ncnn"])
@pytest.mark.parametrize("head", ["raw", "raw-e2e"])
def test_exports_agree_with_torch(format: str, head: str, checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, ratio=0.4)
    written = export(done.path, format=format, head=head, imgsz=96)  # compares, and raises if they differ
    detector = yolort.Detector(written, tuned=False)
    assert (
        f'"parameters": {sum(v.numel() for v in with_head(model_of(done.path), head).parameters())}'
        in (detector.metadata["yolort"])
    )


@pytest.mark.slow
def test_random_goes_by_the_seed(checkpoint: Checkpoints, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        done = pruned(checkpoint, tmp_path, ratio=0.3, method="random", seed=seed, output=tmp_path / name)
        weight: torch.Tensor = model_of(done.path).model[3].conv.weight
        return weight

    first, again, other = weights("a.pt", 1), weights("b.pt", 1), weights("c.pt", 2)
    assert torch.equal(first, again)
    assert first.shape == other.shape
    assert not torch.equal(first, other)


@pytest.mark.parametrize("allocate", ["global", pytest.param("sensitivity", marks=pytest.mark.slow)])
def test_the_ratio_is_spread(allocate: str, checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, ratio=0.3, allocate=allocate, method="bn", round_to=1, imgsz=64)
    assert 1 - done.channels[1] / done.channels[0] == pytest.approx(0.3, abs=0.02)
    shares = {round(1 - after / before, 1) for before, after in done.widths.values()}
    assert len(shares) > 2
    with pytest.raises(PruneError, match=rf"ratio 0.85 is more than allocate='{allocate}' can remove \(0\.\d+\)"):
        pruned(checkpoint, tmp_path, ratio=0.85, allocate=allocate, method="bn", round_to=1, imgsz=64)


def test_sensitive_units_stay_wide(checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(opened: PrunableModel, *_: Any) -> dict[str, np.ndarray]:
        return {unit.name: np.array([1, 2, 3, 4.0]) * (100 if unit.name == "model.5" else 1) for unit in opened.units}

    monkeypatch.setattr(pruning, "measure_sensitivity", measured)
    done = pruned(checkpoint, tmp_path, ratio=0.4, allocate="sensitivity", imgsz=64)
    assert done.widths["model.5"] == (128, 128)
    assert done.widths["model.7"][1] < 256


@pytest.mark.slow
def test_steps_arrive_at_the_same_widths(checkpoint: Checkpoints, tmp_path: Path) -> None:
    once = pruned(checkpoint, tmp_path, ratio=0.4, output=tmp_path / "once.pt")
    thrice = pruned(checkpoint, tmp_path, ratio=0.4, steps=3, output=tmp_path / "thrice.pt")
    assert thrice.widths == once.widths
    assert model_of(thrice.path).yaml["pruning"]["ratio"] == 0.4


@pytest.mark.slow
def test_flops(checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, target_flops="60%", imgsz=64)
    wanted = 0.6 * done.gflops[0]
    again = pruned(checkpoint, tmp_path, target_flops=wanted, imgsz=64)
    assert again.widths == done.widths
    for other in (done.ratio - 0.03, done.ratio - 0.015, done.ratio + 0.015, done.ratio + 0.03):
        beside = pruned(checkpoint, tmp_path, ratio=other, imgsz=64)
        assert abs(beside.gflops[1] - wanted) >= abs(done.gflops[1] - wanted)
    share = f"{done.gflops[1] / done.gflops[0]:.1%}"
    assert done.notes[0].startswith("target_flops 60%: it became") and share in done.notes[0]
    with pytest.raises(PruneError, match=r"even a ratio of 0.875 takes .* GFLOPs, more than the target"):
        pruned(checkpoint, tmp_path, target_flops="0.1%", imgsz=64)


@pytest.mark.slow
def test_latency_is_that_of_exported_candidates(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def timed(artefacts: Sequence[Path], engine: str, *_: int) -> list[float]:
        """A fake machine: times are proportional to the file size, and twice as long after the first measurement of the
        dense model.
        """
        assert engine == "onnxruntime"
        slow = 2 if any(path.stem == "dense" for path in seen) else 1
        seen.extend(artefacts)
        return [slow * path.stat().st_size / 1e6 for path in artefacts]

    monkeypatch.setattr(planner, "timed", timed)
    done = pruned(checkpoint, tmp_path, target_latency=6.0, engine="onnxruntime", imgsz=64)
    assert all(path.suffix == ".onnx" for path in seen)
    assert len(seen) > 6
    assert done.ms is not None
    assert done.ms[0] > 9
    assert 5 < done.ms[1] <= 6
    assert [file.name for file in tmp_path.iterdir()] == ["pruned.pt"]


@pytest.mark.slow
def test_an_unreachable_latency(checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything else is measured."""
    monkeypatch.setattr(pruning, "measure_sensitivity", lambda *_: pytest.fail("measured"))
    with pytest.raises(PruneError, match=r"target_latency 1e-06 ms cannot be met on ncnn: with 88% .* takes .* ms"):
        pruned(checkpoint, tmp_path, target_latency=1e-6, engine="ncnn", imgsz=64, allocate="sensitivity")
    with pytest.raises(PruneError, match=r"takes .* ms on ncnn; nothing needs to be pruned"):
        pruned(checkpoint, tmp_path, target_latency=1e6, engine="ncnn", imgsz=64)


@pytest.mark.slow
@pytest.mark.parametrize("distill", [False, True])
def test_training_keeps_the_widths(distill: bool, checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    first = pruned(checkpoint, tmp_path, ratio=0.4, output=tmp_path / "untrained.pt")
    source = checkpoint("yolo26n")
    if distill:  # the teacher must have the data's classes
        named = torch.load(source, weights_only=False)
        named["model"].names = {0: "red", 1: "green", 2: "blue"}
        torch.save(named, source := tmp_path / "named.pt")
    options = {**training.QUICK, "finetune": 2, "steps": 2, "data": blocks, "distill": distill}
    done = prune(source, ratio=0.4, measure=False, output=tmp_path / "pruned.pt", **options)
    assert done.widths == first.widths
    assert widths(model_of(done.path)) == widths(model_of(first.path))
    assert model_of(done.path).names == {0: "red", 1: "green", 2: "blue"}
    assert {run.name for run in (tmp_path / "pruned-training").iterdir()} == {"step-1", "step-2"}
    seen = training.without_yolort(done.path, "sum(value.numel() for value in yolo.model.parameters())")
    assert int(seen) == sum(value.numel() for value in model_of(first.path).parameters())
    with pytest.raises(FileExistsError, match="pruned-training contains an earlier training"):
        prune(source, ratio=0.4, measure=False, output=tmp_path / "pruned.pt", **options)


def test_a_dense_rebuild_is_reported(checkpoint: Checkpoints, tmp_path: Path) -> None:
    from ultralytics.nn.tasks import DetectionModel

    model = model_of(pruned(checkpoint, tmp_path, ratio=0.4).path)
    check_widths(model, "x.pt")
    rebuilt = DetectionModel(model.yaml, verbose=False)  # as Ultralytics' train does
    rebuilt.names = model.names
    torch.save({"model": rebuilt, "train_args": {}}, tmp_path / "rebuilt.pt")
    message = r"rebuilt.pt was pruned and is wide again \(model.0.conv has 16 channels, 8 were left\)"
    with pytest.raises(PruneError, match=message):
        prune(tmp_path / "rebuilt.pt", ratio=0.2)


def test_pruned_again(checkpoint: Checkpoints, tmp_path: Path) -> None:
    once = pruned(checkpoint, tmp_path, ratio=0.3, output=tmp_path / "once.pt")
    twice = prune(once.path, ratio=0.3, measure=False, output=tmp_path / "twice.pt")
    assert twice.channels[0] == once.channels[1]
    assert twice.channels[1] < twice.channels[0]
    check_widths(model_of(twice.path), twice.path)


def test_unstructured(checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, ratio=0.6, unstructured=True, method="l1")
    assert done.sparsity == pytest.approx(0.6, abs=0.001)
    assert done.parameters[0] == done.parameters[1]
    assert "not faster" in done.notes[0]
    before, after = model_of(checkpoint("yolo26n")).state_dict(), model_of(done.path).state_dict()
    weights = [name for name, value in before.items() if value.ndim == 4]
    zero = torch.cat([before[name][after[name] == 0].abs() for name in weights])
    rest = torch.cat([before[name][after[name] != 0].abs() for name in weights])
    assert zero.max() <= rest.min()
    assert all(torch.equal(before[name], after[name]) for name in before if name not in weights)


@pytest.mark.slow
def test_zeros_stay_zero_in_a_training(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    """The zeros stay in the saved weights, which are averaged; other weights are trained. Accuracy is measured, too."""
    untrained = pruned(checkpoint, tmp_path, ratio=0.6, unstructured=True, method="l1", output=tmp_path / "a.pt")
    options = {**training.QUICK, "finetune": 2, "data": blocks, "output": tmp_path / "b.pt"}
    done = pruned(checkpoint, tmp_path, ratio=0.6, unstructured=True, method="l1", measure=True, **options)
    before, after = model_of(untrained.path).state_dict(), model_of(done.path).state_dict()
    same = [name for name in before if before[name].ndim == 4 and before[name].shape == after[name].shape]
    assert len(same) > 100
    assert all((after[name][before[name] == 0] == 0).all() for name in same)
    assert any(not torch.equal(before[name], after[name]) for name in same)
    assert done.sparsity == pytest.approx(0.6, abs=0.01)
    assert done.cost is not None
    assert done.cost.before is None  # the model had other classes
    assert 0 <= done.cost.after <= 1


def test_the_cost_has_an_interval(
    checkpoint: Checkpoints, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = torch.load(checkpoint("yolo26n"), weights_only=False)
    named["model"].names = {0: "red", 1: "green", 2: "blue"}
    torch.save(named, tmp_path / "named.pt")
    monkeypatch.setattr(pruning, "measure_sensitivity", lambda *_: {"model.0": [0.0]})
    done = prune(tmp_path / "named.pt", ratio=0.4, data=blocks, imgsz=64, output=tmp_path / "pruned.pt")
    assert done.cost is not None and done.cost.before is not None and done.cost.interval is not None
    change = done.cost.after - done.cost.before
    assert done.cost.interval[0] <= change <= done.cost.interval[1]


@pytest.mark.slow
def test_a_finetuning_for_rare_classes(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    options = {**training.QUICK, "gamma": 1.5, "class_weights": "median", "sampling": "balanced"}
    pruned(checkpoint, tmp_path, ratio=0.3, finetune=1, data=blocks, **options)
    assert (tmp_path / "pruned-training" / "step-1" / "class_weights.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of ratio, target_flops, target_latency, not none"),
        ({"ratio": 0.2, "target_flops": "60%"}, "not ratio and target_flops"),
        ({"ratio": 0.99}, "ratio must be above 0 and at most 0.95, not 0.99: nothing would be left"),
        ({"ratio": 0}, "ratio must be above 0"),
        ({"ratio": 0.2, "method": "l2"}, "method must be one of l1, random, group-norm, bn, taylor, not 'l2'"),
        ({"ratio": 0.2, "allocate": "even"}, "allocate must be one of uniform, global, sensitivity"),
        ({"ratio": 0.2, "round_to": 0}, "round_to must be within 1..64"),
        ({"target_latency": 5.0}, "target_latency needs the engine"),
        ({"ratio": 0.2, "engine": "ncnn"}, "engine is for nothing else"),
        ({"target_latency": 5.0, "engine": "tflite"}, "engine must be one of .*ncnn.*, not 'tflite'"),
        ({"target_latency": 0.0, "engine": "ncnn"}, "target_latency is in milliseconds, above 0"),
        ({"target_flops": "much"}, "target_flops is a number of GFLOPs or a share like '60%', not 'much'"),
        ({"target_flops": "120%"}, "target_flops must be above 0 and below the .* GFLOPs of now"),
        ({"ratio": 0.2, "method": "taylor"}, "method taylor needs data"),
        ({"ratio": 0.2, "finetune": 3}, "finetune needs data"),
        ({"ratio": 0.2, "distill": True}, "distill needs finetune, because it applies to training"),
        ({"ratio": 0.2, "lr0": 0.1}, "lr0 needs finetune"),
        ({"ratio": 0.2, "finetune": 1, "data": "d.yaml", "gamma": -1.0}, "gamma must be 0 or more"),
        ({"ratio": 0.2, "finetune": 1, "data": "d.yaml", "sampling": "x"}, "sampling must be balanced or repeat"),
        ({"target_flops": "60%", "unstructured": True}, "unstructured needs a ratio and method l1 or random"),
        ({"ratio": 0.2, "output": "pruned.onnx"}, "output must end in .pt"),
    ],
)
def test_wrong_use(options: dict[str, Any], message: str, checkpoint: Checkpoints) -> None:
    with pytest.raises(ValueError, match=message):
        prune(checkpoint("yolo26n"), measure=False, **options)


def test_a_ratio_that_empties_a_layer(checkpoint: Checkpoints, tmp_path: Path) -> None:
    message = "ratio 0.9 empties model.2.m.0.cv1, which has 8 channels; at most 0.875 leaves it one"
    with pytest.raises(PruneError, match=message):
        pruned(checkpoint, tmp_path, ratio=0.9)
    with pytest.raises(PruneError, match="removes nothing: no width shrinks by a multiple of 64"):
        pruned(checkpoint, tmp_path, ratio=0.1, round_to=64)
    opened = open_model(model_of(checkpoint("yolo26n")))
    with pytest.raises(PruneError, match="model.0: all of its 16 channels would go"):
        opened.remove(opened.units[0], [range(16)])
    split = next(unit for unit in opened.units if len(unit.roots) == 2)
    with pytest.raises(ValueError, match="expected 2 lists of equally many channels"):
        opened.remove(split, [[0], [0, 1]])


def test_models_that_cannot_be_pruned(checkpoint: Checkpoints, blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="noise.pt is not a PyTorch checkpoint"):
        prune(tmp_path / "noise.pt", ratio=0.2)
    with pytest.raises(FileNotFoundError):
        prune(tmp_path / "missing.pt", ratio=0.2)
    with pytest.raises(ValueError, match="model must be a checkpoint"):
        prune("yolo26n.yaml", ratio=0.2)
    with pytest.raises(
        PruneError, match=r"layers that are not known here \(.*SCDown.*\); YOLOv8, YOLO11 and YOLO26 can"
    ):
        prune(checkpoint("yolov10n"), ratio=0.2)
    fused = model_of(checkpoint("yolov8n")).fuse(verbose=False)
    with pytest.raises(PruneError, match="it is fused"):
        open_model(fused)
    with pytest.raises(LabelError, match="classes"):
        data = blocks.with_name("four.yaml")
        data.write_text(f"path: {blocks.parent}\ntrain: images/train\nval: images/val\nnames: [a, b, c, d]\n")
        prune(checkpoint("yolo26n"), ratio=0.2, method="taylor", data=data)


@pytest.mark.slow
def test_advice(checkpoint: Checkpoints, tmp_path: Path) -> None:
    done = pruned(checkpoint, tmp_path, ratio=0.5, measure=True, imgsz=64)
    assert set(done.sensitivity) == set(done.widths)
    assert any("not trained since" in note for note in done.notes)
    worst = max(done.sensitivity, key=lambda name: done.sensitivity[name])
    assert any(note.startswith("most sensitive when pruned alone") and worst in note for note in done.notes)


def test_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    """COCO figures are shown for COCO models; after fine-tuning, those of the most similar measured model."""
    monkeypatch.setattr(outcome, "MEASURED_LOSS", {"yolo26": {0.1: 2.0, 0.3: 7.5}})
    monkeypatch.setattr(outcome, "RECOVERED", {"yolov8n": {0.2: (0.5, 0.4, 20), 0.4: (7.0, 1.0, 10)}})
    coco, cells = (
        SimpleNamespace(yaml={"yaml_file": "yolo26n.yaml"}, names=dict.fromkeys(range(count))) for count in (80, 3)
    )
    assert "of a COCO-trained yolo26n 30% cost 7.5 points" in outcome.guidance(coco, 0.52, False)[0]
    assert "10% cost 2.0 points" in outcome.guidance(coco, 0.1, False)[0]
    (told,) = outcome.guidance(cells, 0.52, False)
    assert told == outcome.guidance(coco, 0.52, True)[0]
    assert "20% was safe (0.5 ± 0.4" in told and "40% was aggressive (7.0 ± 1.0" in told
    assert "yolov8n, the nearest that was measured, on 273 images" in told


@pytest.mark.slow
def test_command(checkpoint: Checkpoints, tmp_path: Path) -> None:
    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "yolort", "prune", str(checkpoint("yolov8n")), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    out = run("--ratio", 0.3, "--imgsz", 64, "--output", tmp_path / "pruned.pt").stdout
    for part in ("channels", "M parameters", "GFLOPs at 64x64", "most sensitive when pruned alone", "written to"):
        assert part in out
    out = run("--ratio", 0.5, "--unstructured", "--method", "l1", "--output", tmp_path / "masked.pt").stdout
    assert re.search(r"zero weights.* 50.0%", out)
    assert "this model is not faster" in out
    error = run("--ratio", 0.99, code=2).stderr
    assert error == (
        "yolort: error: ratio must be above 0 and at most 0.95, not 0.99: nothing would be left to detect with\n"
    )
