"""Importance of channels and sensitivity of units."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("ultralytics")

import torch
from pruned_models import model_of
from yolort.tools.prune.importance import channel_importance, measure_sensitivity
from yolort.tools.prune.prunable import open_model

Checkpoints = Callable[[str], Path]
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("method", ["l1", "group-norm", "bn", "taylor"])
def test_channels_without_effect_are_least_important(method: str, checkpoint: Checkpoints, blocks: Path) -> None:
    from yolort.tools.prune.importance import add_gradients

    model = model_of(checkpoint("yolo26n"))
    idle = [3, 7, 12]
    stem, after = model.model[0], model.model[1]
    with torch.no_grad():
        if method == "bn":
            stem.bn.weight[idle] = 1e-6
        elif method == "l1":
            stem.bn.weight[idle] = 1e-6  # BatchNorm folded into the filters
            stem.conv.weight[idle] *= 10
        else:
            stem.conv.weight[idle] = 0
            stem.bn.weight[idle] = 0
            after.conv.weight[:, idle] = 0
    if method == "taylor":
        add_gradients(model, blocks, 64, 4)
    opened = open_model(model)
    scores = channel_importance(opened, method)
    assert sorted(np.argsort(scores["model.0"][0])[:3].tolist()) == idle
    assert all(len(one) == unit.width for unit in opened.units for one in scores[unit.name])
    assert all(np.isfinite(one).all() for of_roots in scores.values() for one in of_roots)


def test_gradients_leave_the_model_as_it_was(checkpoint: Checkpoints, blocks: Path) -> None:
    from yolort.tools.prune.importance import add_gradients

    model = model_of(checkpoint("yolov8n"))
    before = copy.deepcopy(model.state_dict())
    flags = [one.requires_grad for one in model.parameters()]
    add_gradients(model, blocks, 64, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [one.requires_grad for one in model.parameters()] == flags
    assert not model.training
    split = open_model(model)
    halves = split.network.model[2].cv1.parts
    joined = torch.cat([part.conv.weight.grad for part in halves])
    assert torch.equal(joined, model.model[2].cv1.conv.weight.grad)
    assert joined.abs().sum() > 0


def test_sensitivity_is_measured_without_a_trace(checkpoint: Checkpoints) -> None:
    opened = open_model(model_of(checkpoint("yolo11n")))
    unread = next(unit for unit in opened.units if unit.name == "model.2.m.0.cv1")
    with torch.no_grad():
        for weights, inputs in opened.readers(unread.roots[0], range(unread.width)):
            weights[inputs] = 0
    before = copy.deepcopy(opened.network.state_dict())
    found = measure_sensitivity(opened, channel_importance(opened, "l1"), IMAGE, (0.25, 0.75))
    assert set(found) == {unit.name for unit in opened.units}
    assert found.pop("model.2.m.0.cv1").tolist() == [0, 0]
    assert all(values[1] > 0 for values in found.values())
    assert all(torch.equal(value, before[name]) for name, value in opened.network.state_dict().items())
