"""SVG charts for reports, each in a wide and a narrow version; the page's style shows one of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

__all__ = ["Point", "Timed", "front", "intervals", "latencies", "pareto", "split"]

_MAX_NAMED = 12  # more points cannot be distinguished by color
_PARTS = (("pre", "#e69f00"), ("inference", "#0072b2"), ("post", "#009e73"))  # the palette of Okabe and Ito
_BLUE, _RED, _GRAY = "#0072b2", "#d55e00", "#999999"
_WIDE, _NARROW = 11.0, 4.6  # inches
_NARROW_TEXT = 9  # points


Item = TypeVar("Item")


@dataclass(frozen=True)
class Timed:
    """A row of a chart of times."""

    name: str
    milliseconds: np.ndarray  # (n, 4): total, pre, inference, post

    @property
    def medians(self) -> np.ndarray:
        """(4,) of the columns."""
        return np.asarray(np.median(self.milliseconds, axis=0))


@dataclass(frozen=True)
class Point:
    """A model on a chart of accuracy against latency."""

    name: str
    ms: float
    map50_95: float  # mAP in points, or another accuracy metric
    ms_interval: tuple[float, float] | None = None  # 95 %
    map_interval: tuple[float, float] | None = None  # 95 %
    mark: str = ""  # "best" and "reference" are highlighted


def latencies(rows: Sequence[Timed]) -> str:
    """All samples and the median of each row; samples above twice the slowest median are not shown."""
    return _both(partial(_latencies, rows=rows), rows)


def split(rows: Sequence[Timed]) -> str:
    """Bars of the medians of preprocessing, inference and postprocessing."""
    return _both(partial(_split, rows=rows), rows)


def pareto(points: Sequence[Point], metric: str = "mAP50-95") -> str:
    """Accuracy against latency.

    A line joins the Pareto-optimal points; bars are 95 % intervals. If there are many points, only those on the line,
    the best and the reference are labeled.
    """
    best = front(points, lambda point: (point.ms, point.map50_95))
    named = [
        point for at, point in enumerate(points) if len(points) <= _MAX_NAMED or point.mark or at == 0 or point in best
    ]
    return _both(partial(_pareto, points=points, named=named, best=best, metric=metric), named)


def intervals(rows: Sequence[tuple[str, float, float, float]], unit: str) -> str:
    """Mean, low and high of each name, with a line at 0."""
    return _both(partial(_intervals, rows=rows, unit=unit), rows)


def _both(draw: Callable[..., None], rows: Sequence[Any]) -> str:
    wide, narrow = (_svg(partial(draw, narrow=thin), len(rows), thin) for thin in (False, True))
    return f'<div class="on-wide">{wide}</div><div class="on-narrow">{narrow}</div>'


def _svg(draw: Callable[[Any], None], lines: int, narrow: bool) -> str:
    """The SVG of `draw` on a figure whose height fits this many lines of text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    size = (_NARROW, 1.6 + 0.34 * max(lines, 6)) if narrow else (_WIDE, 1.4 + 0.3 * max(lines, 6))
    style: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": f"yolort {narrow}", "font.family": "sans-serif"}
    with rc_context({**style, **({"font.size": _NARROW_TEXT} if narrow else {})}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # else mathematics


def _named_rows(axes: Any, names: Sequence[str], narrow: bool) -> None:
    """One row per name, from the top; on a narrow chart, the name is above its row."""
    if narrow:
        axes.set_yticks([])
        for at, name in enumerate(names):
            axes.text(0.01, at - 0.32, _plain(name), transform=axes.get_yaxis_transform(), va="bottom", zorder=3)
    else:
        axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.9 if narrow else -0.6)
    axes.grid(axis="x", alpha=0.3)


def _latencies(figure: Any, rows: Sequence[Timed], narrow: bool) -> None:
    axes = figure.add_subplot()
    rng = np.random.default_rng(0)
    half = 0.2 if narrow else 0.28
    for at, row in enumerate(rows):
        total, median = row.milliseconds[:, 0], row.medians[0]
        axes.scatter(total, at + rng.uniform(-half, half, len(total)), s=5, alpha=0.35, linewidths=0, color=_BLUE)
        axes.plot([median, median], [at - half - 0.08, at + half + 0.08], color=_RED, linewidth=2)
    axes.set_xlim(0, 2 * max(row.medians[0] for row in rows))
    axes.set_xlabel("ms of one image, end to end; red: median")
    _named_rows(axes, [f"{row.name}  {row.medians[0]:.1f} ms" for row in rows], narrow)


def _split(figure: Any, rows: Sequence[Timed], narrow: bool) -> None:
    axes = figure.add_subplot()
    medians = np.array([row.medians for row in rows])
    left = np.zeros(len(rows))
    for index, (part, color) in enumerate(_PARTS, 1):
        axes.barh(
            range(len(rows)), medians[:, index], left=left, color=color, label=part, height=0.35 if narrow else 0.6
        )
        left += medians[:, index]
    axes.set_xlabel("ms, medians")
    _named_rows(axes, [row.name for row in rows], narrow)
    figure.legend(loc="outside upper left", ncols=len(_PARTS), frameon=False)


def front(items: Iterable[Item], figures: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """The Pareto-optimal items in time and accuracy, fastest first."""
    best: list[Item] = []
    for item in sorted(items, key=lambda one: (figures(one)[0], -figures(one)[1])):
        if not best or figures(item)[1] > figures(best[-1])[1]:
            best.append(item)
    return best


def _pareto(
    figure: Any, points: Sequence[Point], named: Sequence[Point], best: Sequence[Point], metric: str, narrow: bool
) -> None:
    axes = figure.add_subplot()
    axes.plot(
        [one.ms for one in best], [one.map50_95 for one in best], color=_GRAY, linewidth=1.5, zorder=1, label="front"
    )
    others = [(point.ms, point.map50_95) for point in points if point not in named]
    if others:
        axes.scatter(*zip(*others, strict=True), s=25, color="#bbbbbb", linewidths=0, zorder=1, label="others")
    for at, point in enumerate(named):
        color = f"C{at % 10}"
        _cross(axes, point, color)
        ring = {"best": _RED, "reference": "#000000"}.get(point.mark)
        if ring:
            axes.scatter(
                [point.ms], [point.map50_95], s=170, facecolors="none", edgecolors=ring, linewidths=2, zorder=3
            )
        label = f"{point.name} ({point.mark})" if point.mark else point.name
        marker = "osD^vP*X<>"[at // 10 % 10]
        axes.scatter(
            [point.ms], [point.map50_95], s=45, label=_plain(label), color=color, marker=marker, edgecolors="white",
            linewidths=0.5, zorder=2,
        )  # fmt: skip
    axes.set_xlabel("ms, median")
    axes.set_ylabel(f"{metric} (of 100)")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower left" if narrow else "outside right center", frameon=False)


def _cross(axes: Any, point: Point, color: str) -> None:
    """Draws the intervals of a point as bars."""
    if point.ms_interval:
        axes.plot(point.ms_interval, [point.map50_95] * 2, color=color, linewidth=1.2, alpha=0.6, zorder=1)
    if point.map_interval:
        axes.plot([point.ms] * 2, point.map_interval, color=color, linewidth=1.2, alpha=0.6, zorder=1)


def _intervals(figure: Any, rows: Sequence[tuple[str, float, float, float]], unit: str, narrow: bool) -> None:
    axes = figure.add_subplot()
    for at, (_, mean, low, high) in enumerate(rows):
        axes.plot([low, high], [at, at], color=_BLUE, linewidth=3, solid_capstyle="butt")
        axes.scatter([mean], [at], s=40, color=_RED, zorder=2)
    axes.axvline(0, color="#666666", linewidth=1)
    axes.set_xlabel(unit)
    _named_rows(axes, [name for name, *_ in rows], narrow)
