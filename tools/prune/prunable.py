"""Opens an Ultralytics model for channel pruning, and closes it into the stock modules again.

    opened = open_model(model)
    for unit in opened.units:
        opened.remove(unit, [[0, 3]] * len(unit.roots))
    pruned = opened.close()           # a model that stock Ultralytics loads

torch-pruning finds the dependencies of a channel by tracing the network. Three things would prevent that and are
replaced: the head, which reshapes its maps (here it returns them raw); the first convolution of C2f, C3k2 and C2PSA,
whose output is split in two (here two convolutions that stay equally wide); and attention, whose width is fixed by its
heads (a convolution during tracing; the channels it is added to keep their width).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import yolort
from torch import nn
from yolort.tools.models.checkpoints import channels_of, detect_head, task_of
from yolort.tools.models.split_conv import merge_block, split_block

__all__ = ["ChannelGroup", "PrunableModel", "PruneError", "open_model", "widths"]

_TRACED = 64  # side of the image for tracing; a multiple of every stride
_TOLERANCE = 1e-4  # tolerance between the maps before and after closing, relative to the largest value


class PruneError(yolort.Error):
    """The model cannot be pruned as requested, or the pruned model is wrong."""


def _raw_head(head: Any) -> int:
    """Makes a head return its maps in the order of `PrunableModel.network`; returns how many of them only training
    uses.
    """
    if hasattr(head, "linear"):

        def scores(features: Any) -> list[torch.Tensor]:
            joined = torch.cat(features, 1) if isinstance(features, list) else features
            logits = head.linear(head.pool(head.conv(joined)).flatten(1))
            return [logits.softmax(1), logits]

        head.forward = scores
        return 1
    prefixes = [prefix for prefix in ("", "one2one_") if getattr(head, f"{prefix}cv2", None) is not None]
    prototypes: Any = getattr(head, "proto", None)
    has_regions = getattr(prototypes, "semseg", None) is not None

    def forward(features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        maps, hidden = [], []
        for prefix in prefixes:
            branches: list[Any] = [
                getattr(head, prefix + name, None) for name in ("cv2", "cv3", "cv4", "cv4_kpts", "cv4_sigma")
            ]
            boxes, classes, extra, last, sigma = branches
            for level, feature in enumerate(features):
                maps += [boxes[level](feature), classes[level](feature)]
                if extra is not None:
                    trunk = extra[level](feature)
                    maps.append(trunk if last is None else last[level](trunk))
                    hidden += [] if sigma is None else [sigma[level](trunk)]
        if has_regions:
            prototypes.training = True  # sets only its own flag: it then returns both
            masks, regions = prototypes(features)
            prototypes.training = False
            return [*maps, masks, *hidden, regions]
        if prototypes is not None:
            maps.append(prototypes(features if hasattr(prototypes, "feat_fuse") else features[0]))
        return maps + hidden

    head.forward = forward
    sigmas = [getattr(head, f"{prefix}cv4_sigma", None) for prefix in prefixes]
    return has_regions + sum(len(one) for one in sigmas if one is not None)


def _last_layers(head: Any) -> set[nn.Module]:
    """Convolutions that produce the maps of a head, whose width is therefore fixed."""
    if hasattr(head, "linear"):
        return set()
    lists = [
        branches
        for prefix in ("", "one2one_")
        for name in ("cv2", "cv3", "cv4", "cv4_kpts", "cv4_sigma")
        if (branches := getattr(head, prefix + name, None)) is not None
    ]
    found = {branch[-1] if isinstance(branch, nn.Sequential) else branch for branches in lists for branch in branches}
    prototypes = getattr(head, "proto", None)
    if prototypes is not None:
        found.add(prototypes.cv3.conv)
        regions = getattr(prototypes, "semseg", None)
        found |= set() if regions is None else {regions[-1]}
    return {layer for layer in found if isinstance(layer, nn.Conv2d)}  # the last module of a trunk is not one of them


def widths(model: nn.Module) -> dict[str, int]:
    """The number of output channels of every convolution, by name."""
    return {name: one.out_channels for name, one in model.named_modules() if isinstance(one, nn.Conv2d)}


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together: those of convolutions joined by a sum, or of both halves of a split
    block.
    """

    name: str  # name of the first convolution, or of the one that is split
    roots: tuple[nn.Conv2d, ...]  # one, or one per half of a split block; both are pruned equally

    @property
    def width(self) -> int:
        """Number of channels of each root."""
        return self.roots[0].out_channels


class PrunableModel:
    """A copy of a model between `open_model` and `close`.

    `network` takes (B, 3, H, W) and returns the raw maps of every branch of the head, each (B, C, H/s, W/s): per level
    the box and class maps and the task's additional map, one-to-many branch first; then prototypes; finally the
    `hidden` maps that only training uses. For a classifier: scores, (B, classes), and logits (hidden).
    """

    def __init__(self, network: Any, graph: Any, units: list[ChannelGroup], hidden: int = 0) -> None:
        self.network = network
        self.hidden = hidden  # how many of the outputs
        self.graph = graph  # torch_pruning.DependencyGraph
        self.units = units

    def group(self, root: nn.Conv2d, channels: Sequence[int] | None = None) -> Any:
        """The `torch_pruning` group of these output channels of a root; default: all channels."""
        import torch_pruning

        every = range(root.out_channels) if channels is None else channels
        return self.graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, list(every))

    def readers(self, root: nn.Conv2d, channels: Sequence[int]) -> list[tuple[torch.Tensor, list[int]]]:
        """The weights that read these channels, as views with input channels first, and the indices to use.

        If they are zero, the network computes the same as without the channels.
        """
        import torch_pruning

        reading = (torch_pruning.prune_conv_in_channels, torch_pruning.prune_linear_in_channels)
        layers = [
            (item.dep.target.module, item.idxs)
            for item in self.group(root, channels).items
            if item.dep.handler in reading
        ]
        return [
            (layer.weight.data if getattr(layer, "transposed", False) else layer.weight.data.transpose(0, 1), idxs)
            for layer, idxs in layers
        ]

    def produces(self, item: Any) -> bool:
        """Whether the module of a group's item produces the channels instead of reading them."""
        return bool(self.graph.is_out_channel_pruning_fn(item.dep.handler))

    def remove(self, unit: ChannelGroup, channels: Sequence[Sequence[int]]) -> None:
        """Removes the listed channels of each root: the same number for each, and never all (PruneError)."""
        counts = {len(set(some)) for some in channels}
        if len(channels) != len(unit.roots) or len(counts) != 1:
            raise ValueError(f"{unit.name}: expected {len(unit.roots)} lists of equally many channels")
        if counts.pop() >= unit.width:
            raise PruneError(f"{unit.name}: all of its {unit.width} channels would go; keep at least one")
        for root, some in zip(unit.roots, channels, strict=True):
            if some:
                self.group(root, sorted(set(some))).prune()

    def close(self) -> nn.Module:
        """Returns the model with stock modules, in evaluation mode; this object cannot be used afterwards.

        Raises PruneError if its results differ from the opened model's by more than 1e-4 of the largest value.
        """
        from ultralytics.nn.modules.block import C2PSA, C2f

        model: Any = self.network.eval()
        image = torch.rand(1, 3, _TRACED, _TRACED, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            before = model(image)
            for module in model.modules():
                if isinstance(module, (C2f, C2PSA)):
                    merge_block(module)
            after = model(image)
        for one, other in zip(before, after, strict=True):
            if one.shape != other.shape or (one - other).abs().max() > _TOLERANCE * max(1.0, float(one.abs().max())):
                raise PruneError("the merged modules differ from the split ones; please report this")
        del model.model[-1].forward
        self.network = self.graph = None
        closed: nn.Module = model
        return closed


def open_model(model: nn.Module) -> PrunableModel:
    """Copies a DetectionModel of any task, or a ClassificationModel, with its gradients, and opens the copy.

    Raises CheckpointError for other models, PruneError for unknown layers and fused models.
    """
    import torch_pruning
    from ultralytics.nn.modules import block as blocks
    from ultralytics.nn.modules import conv as convs

    known = (
        *(convs.Conv, convs.DWConv, convs.Concat, nn.Upsample),
        *(blocks.C2f, blocks.C3, blocks.C3k2, blocks.C2PSA, blocks.SPPF),
    )
    classifies = task_of(model) == "classify"
    original: Any = model if classifies else detect_head(model, tasks=True) and model
    foreign = sorted({type(layer).__name__ for layer in original.model[:-1] if type(layer) not in known})
    if foreign or (not classifies and original.model[-1].cv2 is None):
        why = (
            f"it has layers that are not known here ({', '.join(foreign)})"
            if foreign
            else "a branch of its head is gone"
        )
        raise PruneError(f"this model cannot be pruned: {why}; YOLOv8, YOLO11 and YOLO26 can")
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise PruneError("this model cannot be pruned: it is fused; use the checkpoint of the training")
    if channels_of(original) != 3:
        raise PruneError(f"this model cannot be pruned: it takes images with {channels_of(original)} channels, not 3")

    network = _copy_with_gradients(original).float().eval()
    hidden = _raw_head(network.model[-1])
    split = []
    for module in network.modules():
        if isinstance(module, (blocks.C2f, blocks.C2PSA)):
            split_block(module)
            split.append(module)
    graph = torch_pruning.DependencyGraph()
    with _traceable(network, blocks.Attention) as stand_ins:
        example = torch.zeros(1, 3, _TRACED, _TRACED)
        graph.build_dependency(network, example_inputs=example, verbose=False)
    fixed = _last_layers(network.model[-1]) | set(stand_ins)
    return PrunableModel(network, graph, list(_units(network, graph, fixed, split)), hidden)


def _copy_with_gradients(model: Any) -> Any:
    network = copy.deepcopy(model)
    for one, original in zip(network.parameters(), model.parameters(), strict=True):
        one.grad = None if original.grad is None else original.grad.detach().clone()
    return network


@contextmanager
def _traceable(network: Any, attention: Any) -> Iterator[list[nn.Conv2d]]:
    """Context in which the network can be traced: with gradients, and with convolutions in place of attention; yields
    these convolutions.
    """
    aside = []
    modules: list[tuple[str, Any]] = list(network.named_modules())
    for name, module in modules:
        if isinstance(module, attention):
            parent, _, child = name.rpartition(".")
            width = module.proj.conv.out_channels
            aside.append((network.get_submodule(parent), child, module, nn.Conv2d(width, width, 1)))
    frozen = [one for one in network.parameters() if not one.requires_grad]
    network.requires_grad_(True)
    for parent, child, _, stand_in in aside:
        setattr(parent, child, stand_in)
    try:
        yield [stand_in for *_, stand_in in aside]
    finally:
        for parent, child, module, _ in aside:
            setattr(parent, child, module)
        for one in frozen:
            one.requires_grad_(False)


def _units(network: nn.Module, graph: Any, fixed: set[nn.Module], split: Iterable[Any]) -> Iterator[ChannelGroup]:
    """The prunable channel groups, in the order of the network."""
    names = {module: _readable(name) for name, module in network.named_modules()}
    produced = graph.is_out_channel_pruning_fn
    free: dict[nn.Module, nn.Conv2d] = {}  # every convolution that can be pruned: the root of its group
    for group in graph.get_all_groups(ignored_layers=list(fixed), root_module_types=[nn.Conv2d]):
        root = group[0].dep.target.module
        out = [item.dep.target.module for item in group.items if produced(item.dep.handler)]
        free.update((module, root) for module in out if isinstance(module, nn.Conv2d))
    paired: dict[nn.Module, tuple[str, tuple[nn.Conv2d, ...]]] = {}
    for block in split:
        halves = [part.conv for part in block.cv1.parts]
        roots = tuple(free[half] for half in halves if half in free)
        known = (names[block.cv1], roots if len(roots) == 2 else ())  # attention fixes one half, and so the other
        paired.update((free[half], known) for half in halves if half in free)
    roots_done: set[nn.Module] = set()
    for module in network.modules():
        root = free.get(module) if isinstance(module, nn.Conv2d) else None
        if root is None or root in roots_done:
            continue
        name, roots = paired.get(root, (names[root], (root,)))
        roots_done.update((root, *roots))
        if roots:
            yield ChannelGroup(name, roots)


def _readable(name: str) -> str:
    """The name of a module in the stock model, without the `conv` of its `Conv`."""
    return re.sub(r"\.parts\.\d", "", name).removesuffix(".conv")
