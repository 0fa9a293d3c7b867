"""Opening models for pruning, and closing them again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("ultralytics")

import torch
from pruned_models import assert_close, maps, model_of, pruned, raw_maps, some_channels
from yolort.tools.models.split_conv import merge_block
from yolort.tools.prune import prunable
from yolort.tools.prune.prunable import PruneError, open_model

Checkpoints = Callable[[str], Path]
FAMILIES = ("yolov8n", "yolo11n", "yolo26n")


@pytest.mark.parametrize("architecture", FAMILIES)
def test_opening_and_closing_a_model_changes_nothing(architecture: str, checkpoint: Checkpoints) -> None:
    model = model_of(checkpoint(architecture))
    before = copy.deepcopy(model.state_dict())
    opened = open_model(model)
    assert_close(maps(opened.network), raw_maps(model))
    closed = opened.close()
    assert [type(module) for module in closed.modules()] == [type(module) for module in model.modules()]
    after = closed.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("architecture", FAMILIES)
def test_removed_channels_are_equivalent_to_zeros(architecture: str, checkpoint: Checkpoints) -> None:
    opened = open_model(model_of(checkpoint(architecture)))
    whole = copy.deepcopy(opened.network.state_dict())
    chosen = {unit: some_channels(unit, 0.4) for unit in opened.units}
    with torch.no_grad():
        for unit, channels in chosen.items():
            for root, some in zip(unit.roots, channels, strict=True):
                for weights, inputs in opened.readers(root, some):
                    weights[inputs] = 0
    expected = maps(opened.network)
    opened.network.load_state_dict(whole)
    for unit, channels in chosen.items():
        opened.remove(unit, channels)
    assert_close(maps(opened.network), expected)
    closed = opened.close()
    assert_close(raw_maps(closed), expected)
    assert sum(value.numel() for value in closed.parameters()) < 0.6 * sum(value.numel() for value in whole.values())


def test_a_file_that_is_there_stays_where_pruning_fails(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(block: Any) -> None:
        merge_block(block)
        with torch.no_grad():
            block.cv1.conv.weight.copy_(block.cv1.conv.weight.flip(0))  # the halves in the wrong order

    monkeypatch.setattr(prunable, "merge_block", damaged)
    (tmp_path / "pruned.pt").write_bytes(before := b"before, written by yolort")
    with pytest.raises(PruneError, match="merged modules differ from the split ones"):
        pruned(checkpoint, tmp_path, ratio=0.3)
    assert [file.name for file in tmp_path.iterdir()] == ["pruned.pt"]
    assert (tmp_path / "pruned.pt").read_bytes() == before
