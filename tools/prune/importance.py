"""Importance of the channels of an opened detector, and sensitivity of detection to each unit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from yolort.tools._stages import stage
from yolort.tools.data.dataset import write_for_ultralytics
from yolort.tools.evaluate.raw_maps import map_error
from yolort.tools.models.checkpoints import restricted, task_of
from yolort.tools.prune.prunable import PrunableModel

__all__ = ["METHODS", "add_gradients", "channel_importance", "least_important", "measure_sensitivity", "multiply_adds"]

METHODS = ("l1", "random", "group-norm", "bn", "taylor")
_BATCHES = 8  # batches over which the gradients of "taylor" are summed


def channel_importance(opened: PrunableModel, method: str, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Importance of every channel, per unit and root: (width,) float64, comparable within a root.

    - "l1": the L1 norm of the filters that make the channel, with BatchNorm folded in, because it compensates any scale
    of the weights (after Li et al., arXiv:1608.08710);
    - "group-norm": the squares of all weights that produce and read it (Fang et al., arXiv:2301.12900);
    - "bn": the scale of its BatchNorm (Liu et al., arXiv:1708.06519);
    - "taylor": |weight * gradient| of all weights that produce and read it (Molchanov et al., CVPR 2019); needs
    `add_gradients`;
    - "random", by `seed`.

    All except "random" are divided by their mean over the root, so that units can be compared.
    """
    if method == "random":
        rng = np.random.default_rng(seed)
        return {unit.name: [rng.random(unit.width) for _ in unit.roots] for unit in opened.units}
    score = _scorer(opened, method)
    found = {unit.name: [score(opened.group(root)).double().numpy() for root in unit.roots] for unit in opened.units}
    return {name: [scores / max(scores.mean(), 1e-300) for scores in of_roots] for name, of_roots in found.items()}


def _scorer(opened: PrunableModel, method: str) -> Callable[[Any], torch.Tensor]:
    from torch_pruning.pruner import importance

    if method == "l1":
        return _FilterNorm(opened)
    if method == "group-norm":
        return importance.GroupMagnitudeImportance(p=2, normalizer=None)  # type: ignore[no-any-return]
    if method == "bn":
        return importance.BNScaleImportance(normalizer=None)  # type: ignore[no-any-return]
    return importance.GroupTaylorImportance(normalizer=None)  # type: ignore[no-any-return]


class _FilterNorm:
    """The importance "l1" of the channels of a torch_pruning group: (width,)."""

    def __init__(self, opened: PrunableModel) -> None:
        self._produces = opened.produces
        blocks = [one for one in opened.network.modules() if hasattr(one, "conv") and hasattr(one, "bn")]
        self._norms: dict[nn.Module, Any] = {block.conv: block.bn for block in blocks}

    @torch.no_grad()
    def __call__(self, group: Any) -> torch.Tensor:
        sums = torch.zeros(len(group[0].idxs))
        for item in group.items:
            conv = item.dep.target.module
            if isinstance(conv, nn.Conv2d) and self._produces(item):
                norm = self._norms[conv]
                scale = norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
                filters = conv.weight.abs().flatten(1).sum(1) * scale
                sums.index_add_(0, torch.tensor(item.root_idxs), filters[item.idxs])
        return sums


def least_important(scores: np.ndarray, count: int) -> list[int]:
    """The least important channels; ties go to the first."""
    chosen: list[int] = np.argsort(scores, kind="stable")[:count].tolist()
    return chosen


def measure_sensitivity(
    opened: PrunableModel,
    importance: Mapping[str, Sequence[np.ndarray]],
    images: torch.Tensor,
    levels: Sequence[float],
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> dict[str, np.ndarray]:
    """How much pruning only one unit changes the detections: `map_error` per unit and level, 0 or more.

    `importance`: result of `channel_importance`; `images`: (n, 3, H, W) in 0..1; `levels`: shares of the unit's
    channels. Channels are removed by setting the weights that read them to zero, and restored afterwards.
    """
    stage(f"measuring the sensitivity of {len(opened.units)} groups of channels")
    reg_max = getattr(opened.network.model[-1], "reg_max", 1)

    def maps() -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = opened.network(images)
        return [output.numpy() for output in outputs[: len(outputs) - opened.hidden]]

    exact = maps()
    errors: dict[str, np.ndarray] = {}
    for unit in progress(opened.units):
        found = []
        for level in levels:
            count = min(max(1, round(unit.width * level)), unit.width - 1)
            chosen = [least_important(scores, count) for scores in importance[unit.name]]
            readers = [
                reader
                for root, channels in zip(unit.roots, chosen, strict=True)
                for reader in opened.readers(root, channels)
            ]
            own = [(weight, channels, weight[channels].clone()) for weight, channels in readers]
            for weight, channels, _ in own:
                weight[channels] = 0
            found.append(map_error(reg_max, exact, maps()))
            for weight, channels, before in own:
                weight[channels] = before
        errors[unit.name] = np.array(found)
    return errors


def multiply_adds(opened: PrunableModel, image: torch.Tensor) -> dict[str, float]:
    """Multiply-adds per unit for an image (1, 3, H, W): those that produce and that read its channels."""
    cells: dict[nn.Module, int] = {}

    def count(conv: nn.Module, _: Any, out: torch.Tensor) -> None:
        cells[conv] = out.shape[2] * out.shape[3]

    hooks = [one.register_forward_hook(count) for one in opened.network.modules() if isinstance(one, nn.Conv2d)]
    with torch.inference_mode():
        opened.network(image)
    for hook in hooks:
        hook.remove()
    found = {}
    for unit in opened.units:
        items = [item for root in unit.roots for item in opened.group(root).items]
        convs = [(item.dep.target.module, item) for item in items if isinstance(item.dep.target.module, nn.Conv2d)]
        shares = [
            len(item.idxs) / (conv.out_channels if opened.produces(item) else conv.in_channels) for conv, item in convs
        ]
        found[unit.name] = float(
            sum(cells[conv] * conv.weight.numel() * share for (conv, _), share in zip(convs, shares, strict=True))
        )
    return found


def add_gradients(model: nn.Module, data: str | Path, side: int, batch: int, seed: int = 0) -> None:
    """Stores the gradients of Ultralytics' training loss in the parameters, summed over 8 training batches of `data`.

    Images are letterboxed to `side` pixels and not augmented. BatchNorm statistics and evaluation mode of the model
    stay unchanged.
    """
    from yolort.tools._ultralytics import allow_missing_torchvision

    allow_missing_torchvision()
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    network: Any = model
    given = getattr(network, "args", None) or {}
    settings = get_cfg(overrides={"imgsz": side, "task": task_of(model), "seed": seed, "workers": 0})
    with tempfile.TemporaryDirectory(prefix="yolort-") as folder, restricted():
        described = check_det_dataset(write_for_ultralytics(data, Path(folder)), autodownload=False)
        images = build_yolo_dataset(settings, described["train"], batch, described, mode="val", rect=False, stride=32)
    order = np.random.default_rng(seed).permutation(len(images))[: batch * _BATCHES]
    trained = {name: one.requires_grad for name, one in network.named_parameters()}
    network.args, network.criterion = settings, None
    network.zero_grad()
    network.requires_grad_(True)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # keeps the statistics unchanged
    for start in range(0, len(order), batch):
        chosen = images.collate_fn([images[index] for index in order[start : start + batch]])
        chosen["img"] = chosen["img"].float() / 255
        loss, _ = network.loss(chosen)
        loss.sum().backward()
    network.args, network.criterion = given, None
    for name, one in network.named_parameters():
        one.requires_grad_(trained[name])
        if one.grad is None:
            one.grad = torch.zeros_like(one)
    network.eval()
