"""The first convolutions of a network, which gain least from INT8."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Step", "stem"]

_STEM = 3  # convolutions in a row: at 1, 1/2 and 1/4 of the image's sides


class Step(NamedTuple):
    """A layer of a graph."""

    name: str
    convolution: bool
    inputs: Iterable[str]
    outputs: Iterable[str]


def stem(steps: Iterable[Step]) -> set[str]:
    """The convolutions with at most two others between them and the image, of layers in the order they run.

    What they take and give is the largest of the network with the least arithmetic, and has the longest tails: in 8
    bits they save little or nothing and lose the most (docs/benchmarks/int8.md).
    """
    depth: dict[str, int] = {}
    out = set()
    for step in steps:
        deep = max((depth.get(name, 0) for name in step.inputs), default=0) + step.convolution
        if step.convolution and deep <= _STEM:
            out.add(step.name)
        depth |= dict.fromkeys(step.outputs, deep)
    return out
