"""Sampling of training images and their sizes."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import WeightedRandomSampler
from ultralytics.data.augment import BaseMixTransform, Mosaic
from yolort.tools.data.class_balance import sample_weights

if TYPE_CHECKING:
    from yolort.tools.train.train import TrainOptions

__all__ = ["resample", "resized", "sides_within"]


class _Pick:
    """Replaces `get_indexes` of a transform that mixes images: draws them by weight."""

    def __init__(self, weights: np.ndarray, count: int | None) -> None:
        self._cumulated = weights.cumsum().tolist()
        self._count = count

    def __call__(self) -> Any:
        drawn = random.choices(range(len(self._cumulated)), cum_weights=self._cumulated, k=self._count or 1)
        return drawn[0] if self._count is None else drawn


def resample(loader: Any, names: dict[int, str], options: TrainOptions) -> None:
    """Makes an unused Ultralytics loader draw its images by weight."""
    dataset = loader.dataset
    classifies = not hasattr(dataset, "labels")
    weights = sample_weights(
        [np.array([sample[1]]) for sample in dataset.samples]
        if classifies
        else [label["cls"].reshape(-1) for label in dataset.labels],
        len(names),
        options.sampling or "",
        threshold=options.repeat_threshold,
        names=names,
    )
    # in InfiniteDataLoader, a sampler repeats a BatchSampler, which takes its indices from this one
    loader.batch_sampler.sampler.sampler = WeightedRandomSampler(weights.tolist(), len(weights))
    for transform in () if classifies else _mixing(dataset.transforms):
        transform.get_indexes = _Pick(weights, transform.n - 1 if isinstance(transform, Mosaic) else None)


def _mixing(transform: Any) -> list[BaseMixTransform]:
    inner = [part for child in getattr(transform, "transforms", ()) for part in _mixing(child)]
    before = getattr(transform, "pre_transform", None)
    mine = [transform] if isinstance(transform, BaseMixTransform) else []
    return mine + inner + (_mixing(before) if before is not None else [])


def sides_within(scales: tuple[float, float], imgsz: int, stride: int) -> range:
    """The multiples of the stride between these multiples of `imgsz`; ValueError if there is none."""
    low, high = (scale * imgsz / stride for scale in scales)
    sides = range(math.ceil(low - 1e-6) * stride, math.floor(high + 1e-6) * stride + 1, stride)
    if not sides or sides[-1] < stride:
        raise ValueError(
            f"scales {scales[0]:g},{scales[1]:g} of {imgsz} pixels contain no multiple of the stride, {stride}; "
            "widen the range"
        )
    return sides


def resized(images: torch.Tensor, scales: tuple[float, float], imgsz: int, stride: int) -> torch.Tensor:
    """A batch (n, 3, height, width) stretched so that its longer side is a random one of `sides_within`."""
    side = random.choice(sides_within(scales, imgsz, stride))
    factor = side / max(images.shape[2:])
    size = [max(stride, round(edge * factor / stride) * stride) for edge in images.shape[2:]]
    if size == list(images.shape[2:]):
        return images
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
