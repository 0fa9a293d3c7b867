"""Compares the times of two rows turn by turn: they were measured alternately, so a slowdown of the machine affects
both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Ratio", "paired_ratio"]

_RESAMPLES = 1000
_MIN_TURNS = 4  # minimum number of turns for an interval


@dataclass(frozen=True)
class Ratio:
    """The time of one row as a multiple of another's, with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "faster" or "slower" if 1 is outside the interval; otherwise ""."""
        return "faster" if self.high < 1 else "slower" if self.low > 1 else ""

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def factor(self) -> str:
        """Speed-up of the row, with its interval."""
        return f"{1 / self.value:.2f}x ({1 / self.high:.2f} to {1 / self.low:.2f})"

    def speedup(self) -> str:
        """The same as `factor`, in words."""
        return f"{1 / self.value:.2f}x as fast ({1 / self.high:.2f} to {1 / self.low:.2f})"


def paired_ratio(
    times: np.ndarray, turns: np.ndarray, reference: np.ndarray, reference_turns: np.ndarray
) -> Ratio | None:
    """The median over turns of the ratio of the rows' medians, with the 2.5 % and 97.5 % quantiles over turns drawn
    with replacement (percentile bootstrap). None if the rows share fewer than four turns.

    Args:
        times, reference: (n,), (m,) float: milliseconds of the two rows.
        turns, reference_turns: (n,), (m,) integer: the turn that each was measured in.
    """
    shared = np.intersect1d(turns, reference_turns)
    if len(shared) < _MIN_TURNS:
        return None
    ratios = np.array(
        [np.median(times[turns == turn]) / np.median(reference[reference_turns == turn]) for turn in shared]
    )
    drawn = np.random.default_rng(0).integers(0, len(ratios), (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), (2.5, 97.5))
    return Ratio(float(np.median(ratios)), float(low), float(high))
