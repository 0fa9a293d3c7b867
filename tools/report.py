"""The page of a benchmark: one HTML file that needs nothing else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

if TYPE_CHECKING:
    from yolort.tools.benchmark import Benchmark, Row

__all__ = ["render"]

_TEMPLATE = Path(__file__).with_name("report.html")
_PARTS = (("pre", "#e69f00"), ("inference", "#0072b2"), ("post", "#009e73"))  # Okabe and Ito's colours


def render(benchmark: Benchmark) -> str:
    """HTML with the table, the charts as SVG, and the set-up; text of models and errors is escaped."""
    headings, cells = benchmark.table()
    measured = [row for row in benchmark.rows if len(row.samples)]
    charts = []
    if measured:
        charts.append(("Latency of one image", _svg(_latency, measured)))
        charts.append(("Where it goes (medians)", _svg(_split, measured)))
    if any(row.accuracy for row in measured):
        charts.append(("Accuracy against latency", _svg(_accuracy, [row for row in measured if row.accuracy])))
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        headings=headings,
        cells=cells,
        notes=benchmark.notes(),
        charts=charts,
        setup=benchmark.setup,
        settings=benchmark.settings,
    )


def _label(row: Row) -> str:
    parts = (Path(row.case.model).name, row.facts["engine"], row.facts["precision"])
    return " ".join(parts).replace("$", r"\$") + (f" x{row.case.threads}" if row.case.threads else "")


def _svg(draw: Any, rows: list[Row]) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "yolort", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 1.4 + 0.3 * max(len(rows), 6)), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, rows)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return svg[svg.index("<svg") :]


def _names(axes: Any, rows: list[Row], behind: list[str] | None = None) -> None:
    axes.set_yticks(
        range(len(rows)), [_label(row) + text for row, text in zip(rows, behind or [""] * len(rows), strict=True)]
    )
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.grid(axis="x", alpha=0.3)


def _latency(axes: Any, rows: list[Row]) -> None:
    """Every sample, and the median, of each row; what lies above twice the slowest median is left out."""
    rng = np.random.default_rng(0)
    medians = [float(np.median(row.samples[:, 0])) for row in rows]
    for at, (row, median) in enumerate(zip(rows, medians, strict=True)):
        total = row.samples[:, 0]
        spread = at + rng.uniform(-0.28, 0.28, len(total))
        axes.scatter(total, spread, s=5, alpha=0.35, linewidths=0, color="#0072b2", rasterized=False)
        axes.plot([median, median], [at - 0.36, at + 0.36], color="#d55e00", linewidth=2)
    axes.set_xlim(0, 2 * max(medians))
    _names(axes, rows, [f"  {median:.1f}" for median in medians])


def _split(axes: Any, rows: list[Row]) -> None:
    left = np.zeros(len(rows))
    for index, (part, colour) in enumerate(_PARTS, 1):
        widths = np.array([np.median(row.samples[:, index]) for row in rows])
        axes.barh(range(len(rows)), widths, left=left, color=colour, label=part, height=0.6)
        left += widths
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    _names(axes, rows)


def _accuracy(axes: Any, rows: list[Row]) -> None:
    """Rows that no other beats in both are joined."""
    points = [(float(np.median(row.samples[:, 0])), 100 * (row.accuracy["map50_95"] or 0)) for row in rows]
    best = [p for p in sorted(points) if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)]
    axes.plot(*zip(*best, strict=True), color="#999999", linewidth=1, zorder=1)
    for at, (row, (x, y)) in enumerate(zip(rows, points, strict=True)):
        how = {"color": f"C{at % 10}", "marker": "osD^vP*X<>"[at // 10 % 10]}
        axes.scatter([x], [y], s=45, label=_label(row), edgecolors="white", linewidths=0.5, zorder=2, **how)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms, median")
    axes.set_ylabel("mAP50-95")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
