"""Sets single weights to zero and keeps them zero in training. For comparison only: no engine gets faster."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["keeping_zeros", "masked", "sparsity"]


def masked(model: nn.Module, method: str, ratio: float, seed: int) -> nn.Module:
    """A copy in which a share `ratio` of all convolutions' weights, the smallest ("l1") or random ones ("random"), is
    zero.
    """
    from torch.nn.utils import prune as masking

    network = copy.deepcopy(model)
    convolutions = list(_convolutions(network).values())
    chosen = masking.L1Unstructured if method == "l1" else masking.RandomUnstructured
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        masking.global_unstructured([(conv, "weight") for conv in convolutions], chosen, amount=ratio)
    for conv in convolutions:
        masking.remove(conv, "weight")
    return network


def sparsity(model: nn.Module) -> float:
    """The share of zeros among the convolutions' weights, 0 to 1."""
    weights = [conv.weight for conv in _convolutions(model).values()]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


def keeping_zeros(base: type[Any], model: nn.Module) -> type[Any]:
    """A trainer like `base` that resets the weights that are zero in `model` to zero after each step, also in the
    averaged weights, which are the ones saved.

    Convolutions that were replaced for the data's classes are ignored.
    """
    zeros = {name: conv.weight == 0 for name, conv in _convolutions(model).items()}

    class MaskedTrainer(base):  # type: ignore[misc]
        def optimizer_step(self) -> None:
            super().optimizer_step()
            both: tuple[Any, Any] = (self.model, self.ema.ema)
            for model in both:
                _clear(getattr(model, "student_model", model), zeros)

    return MaskedTrainer


def _clear(model: nn.Module, zeros: Mapping[str, torch.Tensor]) -> None:
    modules: dict[str, Any] = dict(model.named_modules())
    with torch.no_grad():
        for name, mask in zeros.items():
            weight = modules[name].weight
            if weight.shape == mask.shape:
                weight.masked_fill_(mask.to(weight.device), 0)


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """All convolutions except the fixed one that decodes boxes."""
    network: Any = model
    decoder = getattr(getattr(network.model[-1], "dfl", None), "conv", None)
    return {name: conv for name, conv in model.named_modules() if isinstance(conv, nn.Conv2d) and conv is not decoder}
