"""Pages of results: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from yolort import _atomic, images

if TYPE_CHECKING:
    from yolort.tools.evaluate.benchmark import Benchmark, Row

__all__ = ["intervals", "markdown", "page", "pareto_chart", "render", "save"]

_TEMPLATE = Path(__file__).with_name("report.html")
_LABELS = 12  # points of a front that can all be told by colour
_PARTS = (("pre", "#e69f00"), ("inference", "#0072b2"), ("post", "#009e73"))  # Okabe and Ito's colours


def save(report: Any, path: str | Path, writers: Mapping[str, Callable[[Any], str]]) -> None:
    """Writes a report in the form that the ending says, whole or not at all, over nothing that yolort did not write."""
    ending = Path(path).suffix
    _atomic.write(path, _marked(ending, writers[ending](report)))


def _marked(ending: str, text: str) -> str:
    """With the mark of our files; the HTML template has it."""
    if ending == ".md":
        return f"{text}\n<!-- {_atomic.MARK} -->\n"
    if ending == ".json":
        return json.dumps({"writer": _atomic.MARK, **json.loads(text)}, indent=1)
    if ending == ".csv":  # has no comments: a column
        headings, *rows = csv.reader(io.StringIO(text))
        out = io.StringIO()
        csv.writer(out).writerows([[*headings, "writer"], *([*row, _atomic.MARK] for row in rows)])
        return out.getvalue()
    return text


def render(benchmark: Benchmark) -> str:
    """HTML with the table, the charts as SVG, and the set-up; text of models and errors is escaped."""
    headings, cells = benchmark.table()
    measured = [row for row in benchmark.rows if len(row.samples)]
    charts = []
    if measured:
        charts.append(("Latency of one image", _svg(_latency, measured, lines=len(measured))))
        charts.append(("Where it goes (medians)", _svg(_split, measured, lines=len(measured))))
    if any(row.accuracy for row in measured):
        points = [(_label(row), row.p50, 100 * (row.accuracy["map50_95"] or 0)) for row in measured if row.accuracy]
        charts.append(("Accuracy against latency", pareto_chart(points)))
    settings = {key: value for key, value in benchmark.settings.items() if value is not None}
    return page(
        "yolort benchmark",
        headings,
        cells,
        charts,
        {**benchmark.setup, **settings},
        failures=benchmark.notes(),
        remarks=[
            *benchmark.doubts(),
            *benchmark.remarks(),
            "Milliseconds of one image, end to end unless a part is named. Every row ran in a process of its own, in "
            "turns with the others; ratios are of times in the same turn, with a 95 % interval. Memory is the peak of "
            "that process while it detects in one image at a time, and what of it came with loading the model.",
        ],
    )


def page(
    title: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    charts: Sequence[tuple[str, str]],
    setup: Mapping[str, Any],
    *,
    failures: Sequence[str] = (),
    remarks: Sequence[str] = (),
    commands: Sequence[str] = (),
    pictures: Sequence[tuple[str, np.ndarray]] = (),
) -> str:
    """HTML that needs nothing else: table, failures, remarks, commands, charts (title, SVG), pictures, set-up.

    Text is escaped; pictures are (caption, BGR uint8 of (height, width, 3)), shown as JPEG.
    """
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        mark=_atomic.MARK,
        headings=headings,
        cells=cells,
        failures=failures,
        remarks=remarks,
        commands=commands,
        charts=charts,
        pictures=[(caption, _jpeg(image)) for caption, image in pictures],
        setup=setup,
    )


def _jpeg(image: np.ndarray) -> str:
    """As a data URI, at most 640 pixels long."""
    cv2 = images.opencv()
    shrink = min(1.0, 640 / max(image.shape[:2]))
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def markdown(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings))]
    return lines + [f"| {' | '.join(one.replace('|', '/').replace(chr(10), ' ') for one in row)} |" for row in cells]


def pareto_chart(points: Sequence[tuple[str, float, float]]) -> str:
    """SVG of (name, milliseconds, mAP50-95 of 100); what no other beats in both is joined.

    Of more than a few, those and the first have names.
    """
    return _svg(_front, points, lines=min(len(points), _LABELS))


def intervals(rows: Sequence[tuple[str, float, float, float]], unit: str) -> str:
    """SVG of (name, mean, low, high) in a unit, about a line at 0."""
    return _svg(lambda axes, shown: _intervals(axes, shown, unit), rows, lines=len(rows))


def _label(row: Row) -> str:
    parts = (Path(row.case.model).name, row.facts["engine"], row.facts["precision"])
    return " ".join(parts).replace("$", r"\$") + (f" x{row.case.threads}" if row.case.threads else "")


def _svg(draw: Any, rows: Sequence[Any], lines: int) -> str:
    """What `draw` makes of them, as high as so many lines of text."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "yolort", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 1.4 + 0.3 * max(lines, 6)), layout="constrained")
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
    medians = [row.p50 for row in rows]
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
        widths = np.array([row.percentile(50, index) for row in rows])
        axes.barh(range(len(rows)), widths, left=left, color=colour, label=part, height=0.6)
        left += widths
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    _names(axes, rows)


def _front(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    pairs = [(x, y) for _, x, y in points]
    best = [p for p in sorted(pairs) if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in pairs)]
    axes.plot(*zip(*best, strict=True), color="#999999", linewidth=1, zorder=1)
    told = [point for point in points if len(points) <= _LABELS or point[1:] in best or point is points[0]]
    others = [point[1:] for point in points if point not in told]
    if others:
        axes.scatter(*zip(*others, strict=True), s=25, color="#bbbbbb", linewidths=0, zorder=1, label="others")
    for at, (name, x, y) in enumerate(told):
        how = {"color": f"C{at % 10}", "marker": "osD^vP*X<>"[at // 10 % 10]}
        axes.scatter([x], [y], s=45, label=name, edgecolors="white", linewidths=0.5, zorder=2, **how)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    axes.set_xlim(left=0)
    axes.set_xlabel("ms, median")
    axes.set_ylabel("mAP50-95 (of 100)")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)


def _intervals(axes: Any, rows: Sequence[tuple[str, float, float, float]], unit: str) -> None:
    for at, (_, mean, low, high) in enumerate(rows):
        axes.plot([low, high], [at, at], color="#0072b2", linewidth=3, solid_capstyle="butt")
        axes.scatter([mean], [at], s=40, color="#d55e00", zorder=2)
    axes.axvline(0, color="#666666", linewidth=1)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
