"""Self-contained HTML pages of results."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from yolort import _atomic, images
from yolort.tools.evaluate import charts

if TYPE_CHECKING:
    from yolort.tools.evaluate.benchmark import Benchmark, Row

__all__ = ["PictureRow", "Pictures", "markdown", "page", "render", "save"]

_TEMPLATE = Path(__file__).with_name("report.html")
_LOWER_IS_BETTER = (
    *("p50 ms", "mean ms", "std ms", "p95 ms", "p99 ms", "pre ms", "inference ms", "post ms"),
    *("peak MiB", "model MiB", "GPU MiB", "file MB", "needs MB"),
)
_HIGHER_IS_BETTER = ("mAP50", "mask mAP50", "keypoint mAP50", "box mAP50", "top-", "images/s")


@dataclass(frozen=True)
class PictureRow:
    """The same image with the results of several models."""

    caption: str
    images: Sequence[tuple[np.ndarray, str]]  # (height, width, 3) BGR uint8, with its caption


@dataclass(frozen=True)
class Pictures:
    """Images side by side, one column per model."""

    headings: Sequence[str]
    rows: Sequence[PictureRow]


def save(report: Any, path: str | Path, writers: Mapping[str, Callable[[Any], str]]) -> None:
    """Writes a report in the format of the file ending, atomically; replaces only files of yolort."""
    ending = Path(path).suffix
    _atomic.write(path, _marked(ending, writers[ending](report)))


def _marked(ending: str, text: str) -> str:
    """Adds yolort's mark, which the HTML template already contains."""
    if ending == ".md":
        return f"{text}\n<!-- {_atomic.MARK} -->\n"
    if ending == ".json":
        return json.dumps({"writer": _atomic.MARK, **json.loads(text)}, indent=1)
    if ending == ".csv":  # CSV has no comments, so the mark is a column
        headings, *rows = csv.reader(io.StringIO(text))
        out = io.StringIO()
        csv.writer(out).writerows([[*headings, "writer"], *([*row, _atomic.MARK] for row in rows)])
        return out.getvalue()
    return text


def render(benchmark: Benchmark) -> str:
    """HTML with the table, the charts as SVG, and the setup; text from models and errors is escaped."""
    headings, cells = benchmark.table()
    measured = [row for row in benchmark.by_speed() if len(row.samples)]
    timed = [charts.Timed(row.name, row.samples) for row in measured]
    shown = []
    if timed:
        shown.append(("Latency of one image", charts.latencies(timed)))
        shown.append(("Time of each part", charts.split(timed)))
    if any(row.accuracy for row in measured):
        points = [_point(row) for row in measured if row.accuracy]
        shown.append(("Accuracy against latency", charts.pareto(points, benchmark.metric)))
    settings = {key: value for key, value in benchmark.settings.items() if value is not None}
    return page(
        "yolort benchmark",
        headings,
        cells,
        shown,
        {**benchmark.setup, **settings},
        answer=benchmark.answer(),
        warnings=benchmark.doubts(),
        best=_best(headings, cells),
        failures=benchmark.notes(),
        remarks=[
            *benchmark.remarks(),
            "Milliseconds of one image, end to end unless a part is named. Each row ran in its own process, in turns "
            "with the others; speed-ups compare times of the same turn, with a 95 % interval. Peak memory is that of a "
            "separate process that imports the runtime, loads the model and detects in one image at a time (of a "
            "checkpoint: of the row's own process, with PyTorch); model MiB is what loading the model added.",
        ],
    )


def _point(row: Row) -> charts.Point:
    interval = row.accuracy.get("value_ci")
    low_high = (100 * interval[0], 100 * interval[1]) if interval else None
    return charts.Point(row.name, row.p50, 100 * (row.accuracy["value"] or 0), map_interval=low_high)


def _best(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> set[tuple[int, int]]:
    """Row and column of the best figure of each column that has one."""
    out = set()
    for column, heading in enumerate(headings):
        sign = 1 if heading in _LOWER_IS_BETTER else -1 if heading.startswith(_HIGHER_IS_BETTER) else 0
        figures = [
            (sign * float(row[column].strip("~")), at) for at, row in enumerate(cells) if _is_number(row[column])
        ]
        if sign and len(figures) > 1:
            least = min(figures)[0]
            out |= {(at, column) for figure, at in figures if figure == least}
    return out


def _texts(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> set[int]:
    """Columns that contain text rather than figures."""
    columns = range(len(headings))
    return {i for i in columns if not any(row[i].lstrip("~+-")[:1].isdigit() for row in cells)}


def _is_number(text: str) -> bool:
    return text.strip("~").replace(".", "", 1).isdecimal()


def page(
    title: str,
    headings: Sequence[str],
    cells: Sequence[Sequence[str]],
    figures: Sequence[tuple[str, str]],
    setup: Mapping[str, Any],
    *,
    answer: str = "",
    warnings: Sequence[str] = (),
    best: Collection[tuple[int, int]] = (),
    failures: Sequence[str] = (),
    remarks: Sequence[str] = (),
    commands: Sequence[str] = (),
    pictures: Pictures | None = None,
) -> str:
    """A self-contained HTML page.

    Args:
        title: title of the page.
        headings: table headings, with units.
        cells: table cells.
        figures: title and SVG of each chart.
        setup: the machine and settings of the measurement.
        answer: the result in a sentence, shown first.
        warnings: reasons why figures may be unreliable, shown at the top.
        best: row and column of cells in bold.
        failures: what could not be measured.
        remarks: sentences below the answer.
        commands: shell commands to copy.
        pictures: images before and after.

    Text is escaped.
    """
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        mark=_atomic.MARK,
        headings=headings,
        cells=cells,
        texts=_texts(headings, cells),
        failures=failures,
        remarks=remarks,
        commands=commands,
        charts=figures,
        pictures=pictures
        and [(row.caption, [(_jpeg(one), text) for one, text in row.images]) for row in pictures.rows],
        columns=pictures and pictures.headings,
        answer=answer,
        warnings=warnings,
        best=best,
        setup=setup,
    )


def _jpeg(image: np.ndarray) -> str:
    """The image as a data URI, its longer side at most 640 pixels."""
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
