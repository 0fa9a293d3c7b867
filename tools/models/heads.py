"""Cuts a detector's graph at one of several heads."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import yolort
from torch import nn
from yolort.tools.models.checkpoints import channels_of, detect_head, extra_branch, task_of
from yolort.tools.models.split_conv import split_block

__all__ = ["HEADS", "ExportError", "complexity", "with_head"]

HEADS = ("raw", "raw-e2e", "boxes", "end2end")


class ExportError(yolort.Error):
    """The model cannot be exported, or its export gives different results."""


class _RawMaps(nn.Module):
    """Replaces a Detect head by only the last convolutions of one of its branches, and prototypes.

    Takes the feature maps of the levels, (B, C_i, H/s_i, W/s_i); returns the tuple described in `with_head`.
    """

    def __init__(self, detect: Any, prefix: str) -> None:
        super().__init__()
        branches = (getattr(detect, f"{prefix}cv2"), getattr(detect, f"{prefix}cv3"), extra_branch(detect, prefix))
        self.branches = nn.ModuleList(branch for branch in branches if branch is not None)
        self.prototypes = getattr(detect, "proto", None)
        self.fused = hasattr(self.prototypes, "feat_fuse")  # Proto26 takes the maps of all levels

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        branches: Any = self.branches
        maps = []
        for level, feature in enumerate(features):
            maps += [branch[level](feature) for branch in branches]
        if self.prototypes is not None:
            maps.append(self.prototypes(features if self.fused else features[0]))
        return tuple(maps)


# Long for its documentation.
def with_head(model: nn.Module, head: str = "raw", *, dynamic: bool = False, without_split: bool = False) -> nn.Module:
    """A copy of an Ultralytics `DetectionModel` that ends in `head`, or of a `ClassificationModel`; BatchNorm is fused.

    Takes (B, channels, H, W) float32, usually RGB in 0..1, with H and W multiples of the largest stride. `model` is not
    changed.

    - "raw" and "raw-e2e" return the tuple box0, cls0, box1, cls1, ... of float32 maps, finest level first: box_i
      (B, 4 * reg_max, H/s_i, W/s_i), distances from the cell's center to left, top, right, bottom in grid cells (DFL
      logits where reg_max > 1), and cls_i (B, nc, H/s_i, W/s_i), logits. "raw" is the one-to-many branch (needs NMS),
      "raw-e2e" the one-to-one branch of YOLO26 (needs none).

      Other tasks have a third map per level, extra_i (B, n, H/s_i, W/s_i): mask coefficients, keypoints, or the angle;
      segmentation models end with the prototypes, (B, n, H/4, W/4).
    - "boxes" returns (B, 4 + nc, N): cx cy w h in pixels and scores in 0..1, of the one-to-many branch.
    - "end2end" returns (B, 300, 6): x1 y1 x2 y2 in pixels (of oriented boxes cx cy w h), score and class, of the
      one-to-one branch.

    In both, the decoded additional values of other tasks follow; prototypes are a second output. A classifier has
    only "raw", which returns (B, nc), scores in 0..1. `dynamic` keeps the grid of decoded heads from being fixed to
    the traced size. `without_split` replaces a convolution and Split in C2f and similar blocks with two convolutions
    of half the channels.

    Raises ValueError for another `head`, CheckpointError if the model is not a detector, ExportError if it lacks the
    branch.
    """
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    one_to_one = head in ("raw-e2e", "end2end")
    prefix = "one2one_" if one_to_one else ""
    classifies = task_of(model) == "classify"
    if classifies and head != "raw":
        raise ExportError(f'a classifier ends in its scores, and has no head "{head}"; leave it out')
    if not classifies and getattr(detect_head(model, tasks=True), f"{prefix}cv2", None) is None:
        branch = "one-to-one" if one_to_one else "one-to-many"
        other = {"raw": "raw-e2e", "raw-e2e": "raw", "boxes": "end2end", "end2end": "boxes"}[head]
        raise ExportError(f'head "{head}" needs the {branch} branch, which this model lacks; use "{other}"')

    from ultralytics.nn.modules.block import C2PSA, C2f

    cut = copy.deepcopy(model).float().eval().requires_grad_(False)
    layers: Any = cut.model
    detect = layers[-1]
    if classifies:
        detect.export = True
    elif head.startswith("raw"):
        maps: Any = _RawMaps(detect, prefix)
        if maps.fused:
            maps.prototypes.fuse()  # drops modules that only training needs
        maps.f, maps.i, maps.type = detect.f, detect.i, "RawMaps"  # attributes with which Ultralytics connects layers
        layers[-1] = maps  # before fusing, because Detect.fuse() would delete a branch
    else:
        detect.end2end = one_to_one
        detect.export, detect.format, detect.dynamic, detect.max_det = True, "onnx", dynamic, 300
    fuse: Any = cut.fuse
    fuse(verbose=False)
    for module in cut.modules():
        if without_split and isinstance(module, (C2f, C2PSA)):
            # A Split copies all channels, and in an INT8 graph its input is float. Without it, ONNX Runtime is 5 to 7 %
            # faster in fp32 and OpenVINO 2 to 3 % (6 % in INT8), and each half has its own range. NCNN, whose Slice
            # copies little, gets 2 % slower.
            split_block(module)
        elif isinstance(module, C2f):  # the same result with a plain Split, as in Ultralytics' exporter
            module.forward = module.forward_split
    return cut.eval().requires_grad_(False)


def complexity(cut: nn.Module, size: tuple[int, int]) -> dict[str, float]:
    """`parameters` of a model, and its `gflops` for one image of (height, width), counting 2 per multiply-add."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        cut(torch.zeros(1, channels_of(cut), *size))
    count = sum(parameter.numel() for parameter in cut.parameters())
    return {"parameters": count, "gflops": round(flops.get_total_flops() / 1e9, 3)}
