"""Chooses the channels to remove, and their number for a target in GFLOPs or milliseconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yolort
from torch import nn
from yolort.tools._formats import FORMATS, own_format
from yolort.tools._stages import stage
from yolort.tools.data.dataset import letterboxed, list_images
from yolort.tools.export.pipeline import export
from yolort.tools.models.checkpoints import Checkpoint
from yolort.tools.models.heads import complexity, with_head
from yolort.tools.prune.checkpoint import save
from yolort.tools.prune.importance import (
    add_gradients,
    channel_importance,
    least_important,
)
from yolort.tools.prune.prunable import ChannelGroup, PrunableModel, PruneError, open_model, widths

__all__ = ["MAX_RATIO", "Job", "Planner", "check_latency", "ratio_for_flops", "ratio_for_latency", "timed"]

_log = logging.getLogger(__name__)

MAX_RATIO = 0.95  # of the channels
_MOST_OF_UNIT = 0.8  # maximum share of a unit that allocations other than "uniform" remove
LEVELS = (0.1, 0.25, 0.5, _MOST_OF_UNIT)  # ratios at which the sensitivity is measured for the allocation
TIME_PULL = 1.25  # exponent on the multiply-adds: 0 considers only the error, larger values prune expensive units more
_PICTURES = 4  # images for the measurement
_ROUNDS = 7  # steps of a bisection: ratios to 0.75 %
_RUNS = 100  # number of timed detections per candidate
_QUICK_RUNS = 20  # timed detections of the narrowest network, which show whether a target can be met


@dataclass
class Job:
    """State shared by all candidates."""

    source: Checkpoint
    method: str
    allocate: str
    round_to: int
    data: str | Path | None
    batch: int
    side: int
    seed: int
    progress: Callable[[Sequence[Any]], Iterable[Any]]
    folder: Path  # work folder
    runs: Path  # for the trainings

    def opened(self, model: nn.Module) -> PrunableModel:
        """Opens the model, with the gradients that the method needs."""
        if self.method == "taylor":
            assert self.data is not None
            add_gradients(model, self.data, self.side, self.batch, self.seed)
        return open_model(model)

    def importance(self, opened: PrunableModel) -> dict[str, list[np.ndarray]]:
        """Importance of every channel, by the method."""
        return channel_importance(opened, self.method, self.seed)

    def pictures(self) -> torch.Tensor:
        """(n, 3, side, side): images spread over the training split, or the embedded image."""
        files = list_images(self.data, "train") if self.data is not None else [yolort.demo_image()]
        spread = np.unique(np.linspace(0, len(files) - 1, _PICTURES).round().astype(int))
        return torch.from_numpy(letterboxed([files[index] for index in spread], (self.side, self.side)))

    def save(self, model: nn.Module, name: str) -> Path:
        """Writes a checkpoint into the folder."""
        return save(model, self.source, self.side, self.folder / name)


class Planner:
    """Decides the width of each unit. Ratios refer to the widths `dense`, even if some channels are already removed."""

    def __init__(self, job: Job, dense: Mapping[str, int], errors: Mapping[str, np.ndarray] | None) -> None:
        self.job, self.dense, self.errors = job, dense, errors

    def kept(self, opened: PrunableModel, ratio: float) -> dict[str, int]:
        """The width of each unit at a ratio; PruneError if one would be empty."""
        if self.job.allocate == "global":
            shares = self._by_importance(opened, ratio)
        elif self.job.allocate == "sensitivity":
            shares = self._by_error(opened, ratio)
        else:
            shares = dict.fromkeys(self.dense, ratio)
        kept = {unit.name: self._rounded(unit, shares[unit.name]) for unit in opened.units}
        if kept == self.dense:
            raise PruneError(
                f"ratio {ratio:.3g} removes nothing: no width shrinks by a multiple of {self.job.round_to}; raise the "
                "ratio or lower round_to"
            )
        return kept

    def pruned(self, opened: PrunableModel, ratio: float) -> nn.Module:
        """Prunes to a ratio, and closes the model."""
        kept, ranks = self.kept(opened, ratio), self.job.importance(opened)
        for unit in opened.units:
            opened.remove(unit, [least_important(scores, unit.width - kept[unit.name]) for scores in ranks[unit.name]])
        return opened.close()

    def candidate(self, ratio: float) -> nn.Module:
        """Prunes a copy of the given model to a ratio."""
        return self.pruned(open_model(self.job.source.model), ratio)

    def most(self) -> float:
        """The largest ratio at which no unit is empty."""
        return min(MAX_RATIO, 1 - 1 / min(self.dense.values()))

    def _rounded(self, unit: ChannelGroup, share: float) -> int:
        width = self.dense[unit.name]
        if int(width * (1 - share) + 1e-9) < 1:
            raise PruneError(
                f"ratio {share:.3g} empties {unit.name}, which has {width} channels; at most {1 - 1 / width:.3g} "
                "leaves it one"
            )
        return min(self._width(unit.name, share), unit.width)

    def _width(self, name: str, share: float) -> int:
        by = self.job.round_to
        return min(max(by, by * round(self.dense[name] * (1 - share) / by)), self.dense[name])

    def _by_importance(self, opened: PrunableModel, ratio: float) -> dict[str, float]:
        ranks = self.job.importance(opened)
        least = {name: np.mean([np.sort(rank) for rank in of_roots], 0) for name, of_roots in ranks.items()}
        roots = {unit.name: len(unit.roots) for unit in opened.units}

        def shares(threshold: float) -> dict[str, float]:
            gone = {name: self.dense[name] - int((rank > threshold).sum()) for name, rank in least.items()}
            return {name: min(count / self.dense[name], _MOST_OF_UNIT) for name, count in gone.items()}

        return self._solved(shares, max(float(rank.max()) for rank in least.values()), ratio, roots)

    def _by_error(self, opened: PrunableModel, ratio: float) -> dict[str, float]:
        assert self.errors is not None
        rising = {name: np.maximum.accumulate([0.0, *values]) for name, values in self.errors.items()}
        roots = {unit.name: len(unit.roots) for unit in opened.units}

        def shares(error: float) -> dict[str, float]:
            return {name: float(np.interp(error, values, (0.0, *LEVELS))) for name, values in rising.items()}

        return self._solved(shares, max(float(values[-1]) for values in rising.values()), ratio, roots)

    def _solved(
        self, shares: Callable[[float], dict[str, float]], most: float, ratio: float, roots: Mapping[str, int]
    ) -> dict[str, float]:
        """Shares per unit at which, after rounding, `ratio` of all channels are removed, found by bisection."""
        total = sum(self.dense[name] * roots[name] for name in self.dense)

        def gone(threshold: float) -> float:
            taken = {name: self.dense[name] - self._width(name, share) for name, share in shares(threshold).items()}
            return sum(roots[name] * count for name, count in taken.items()) / total

        low, high = 0.0, most
        if gone(high) < ratio:
            raise PruneError(
                f"ratio {ratio:.3g} is more than allocate={self.job.allocate!r} can remove ({gone(high):.3g}); lower it"
            )
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if gone(middle) < ratio else (low, middle)
        return shares(high)


def ratio_for_flops(planner: Planner, target: float | str) -> float:
    """The ratio, to 0.75 %, at which an image takes this many GFLOPs, or the nearest possible number."""
    size = (planner.job.side, planner.job.side)

    def gflops(model: nn.Module) -> float:
        return complexity(with_head(model), size)["gflops"]

    now = gflops(planner.job.source.model)
    try:
        wanted = now * float(str(target).removesuffix("%")) / 100 if str(target).endswith("%") else float(target)
    except (ValueError, AttributeError):
        raise ValueError(f"target_flops is a number of GFLOPs or a share like '60%', not {target!r}") from None
    if not 0 < wanted < now:
        raise ValueError(f"target_flops must be above 0 and below the {now:.3f} GFLOPs of now, not {wanted:.3g}")
    known: dict[float, float] = {}

    def cost(ratio: float) -> float:
        known[ratio] = gflops(planner.candidate(ratio))
        return known[ratio]

    _bisected(planner, cost, wanted, "GFLOPs")
    return min(known, key=lambda ratio: (abs(known[ratio] - wanted), -ratio))


def check_latency(job: Job, dense: Mapping[str, int], target: float, engine: str) -> None:
    """Raises PruneError if even the narrowest network, which would be useless, is not fast enough; checked first."""
    planner = Planner(replace(job, method="l1", allocate="uniform"), dense, None)
    narrowest = artifact_for(job, planner.candidate(planner.most()), engine, "narrowest")
    fastest = timed([narrowest], engine, _QUICK_RUNS)[0]
    if fastest > target:
        raise PruneError(
            f"target_latency {target:g} ms cannot be met on {engine}: with {planner.most():.0%} of the channels gone "
            f"an image still takes {fastest:.2f} ms. Use a smaller input (imgsz) or a faster engine"
        )


def ratio_for_latency(planner: Planner, target: float, engine: str) -> tuple[float, tuple[float, float]]:
    """The smallest ratio, to 0.75 %, that meets the target, and the times of the dense and the pruned model.

    Every candidate is exported and timed alternately with the dense model. Other load slows both, so a candidate's time
    is the initially measured dense time multiplied by the ratio of the two.
    """
    dense = artifact_for(planner.job, planner.job.source.model, engine, "dense")
    first = timed([dense], engine)[0]
    if first <= target:
        raise PruneError(
            f"the unpruned model takes {first:.2f} ms on {engine}; nothing needs to be pruned for {target} ms"
        )
    known: dict[tuple[int, ...], float] = {}

    def ms(ratio: float) -> float:
        model = planner.candidate(ratio)
        key = tuple(widths(model).values())
        if key not in known:
            stage(f"timing ratio {ratio:.3f} on {engine}")
            both = timed([dense, artifact_for(planner.job, model, engine, f"candidate-{len(known)}")], engine)
            known[key] = first * both[1] / both[0]
            _log.info("ratio %.3f: %.2f ms on %s (%.2f x)", ratio, known[key], engine, first / known[key])
        return known[key]

    ratio = _bisected(planner, ms, target, f"ms on {engine}")
    return ratio, (first, ms(ratio))


def _bisected(planner: Planner, cost: Callable[[float], float], target: float, unit: str) -> float:
    """The smallest ratio whose cost is at most the target, by bisection; PruneError if the largest one is not
    enough.
    """
    low, high = 0.0, planner.most()
    least = cost(high)
    if least > target:
        raise PruneError(f"even a ratio of {high:.3g} takes {least:.3g} {unit}, more than the target of {target:.3g}")
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        try:
            met = cost(middle) <= target
        except PruneError:  # so small that rounding removes nothing
            met = False
        low, high = (low, middle) if met else (middle, high)
    return high


def artifact_for(job: Job, model: nn.Module, engine: str, name: str) -> Path:
    format = own_format(engine)
    checkpoint = job.save(model, f"{name}.pt")
    return export(checkpoint, format=format, imgsz=job.side, output=job.folder / f"{name}{FORMATS[format].ending}")


def timed(artefacts: Sequence[Path], engine: str, runs: int = _RUNS) -> list[float]:
    """Median milliseconds per image, end to end, measured alternately."""
    from yolort.tools.evaluate.benchmark import Case, benchmark

    chosen = [Case(str(path), engine) for path in artefacts]
    rows = benchmark(chosen=chosen, runs=runs, warmup=20, latency_only=True).rows
    for row in rows:
        if row.error:
            raise yolort.EngineError(f"{engine} cannot time {row.case}: {row.error}")
    return [row.p50 for row in rows]
