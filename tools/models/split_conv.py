"""Replaces a convolution whose output is split in two by two convolutions, and merges them again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["SplitConv", "merge_block", "split_block"]


class SplitConv(nn.Module):
    """Replaces an Ultralytics `Conv` whose output is split by two with half the channels.

    Takes (B, C, H, W), returns a list of two (B, C'/2, H, W). Existing gradients are split as well.
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_half(whole, half) for half in (0, 1))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [part(x) for part in self.parts]

    def merged(self) -> Any:
        """Merges both into one `Conv`; they must have the same width."""
        parts: Any = self.parts
        whole = _copy(parts[0])
        for layer, *others in _layers(whole, *parts):
            for name, value in _channelwise(layer):
                _set(layer, name, value, torch.cat([getattr(other, name).detach() for other in others]))
        _count_channels(whole)
        return whole


def _half(whole: Any, half: int) -> Any:
    part = _copy(whole)
    for layer, original in _layers(part, whole):
        for name, value in _channelwise(layer):
            _set(layer, name, value, getattr(original, name).detach().chunk(2)[half].clone())
            gradient = getattr(original, name).grad
            if gradient is not None:
                getattr(layer, name).grad = gradient.chunk(2)[half].clone()
    _count_channels(part)
    return part


def _copy(conv: Any) -> Any:
    """A copy that shares the activation, like all `Conv` of a model."""
    return copy.deepcopy(conv, {id(conv.act): conv.act})


def _layers(*convs: Any) -> Iterator[tuple[Any, ...]]:
    """Their convolutions, and their BatchNorms if not fused."""
    for name in ("conv", "bn"):
        if hasattr(convs[0], name):
            yield tuple(getattr(conv, name) for conv in convs)


def _channelwise(layer: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers whose first dimension is the output channel."""
    named = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return [(name, value) for name, value in named if value.ndim]


def _set(layer: nn.Module, name: str, old: torch.Tensor, new: torch.Tensor) -> None:
    setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new)


def _count_channels(conv: Any) -> None:
    conv.conv.out_channels = len(conv.conv.weight)
    if hasattr(conv, "bn"):
        conv.bn.num_features = len(conv.bn.weight)


def split_block(block: Any) -> None:
    """Makes a C2f, C3k2 or C2PSA compute its two halves separately instead of splitting one output; the results are the
    same.

    `block.cv1` becomes a `SplitConv`, and `block.forward` an attribute of this instance.
    """
    block.cv1 = SplitConv(block.cv1)

    def forward(x: torch.Tensor) -> torch.Tensor:
        kept = block.cv1(x)
        if isinstance(block.m, nn.Sequential):  # C2PSA uses only the output of the last
            kept[1] = block.m(kept[1])
        else:
            for inner in block.m:
                kept.append(inner(kept[-1]))
        out: torch.Tensor = block.cv2(torch.cat(kept, 1))
        return out

    block.forward = forward


def merge_block(block: Any) -> None:
    """Undoes `split_block`, also after channels were removed."""
    block.c = block.cv1.parts[0].conv.out_channels
    block.cv1 = block.cv1.merged()
    del block.forward
