"""`yolort benchmark`: rows, figures, failures, reports."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yolort

pytest.importorskip("torch")
pytest.importorskip("ultralytics")
pytest.importorskip("pycocotools")

from yolort.tools import _system
from yolort.tools._processes import ChildError
from yolort.tools.demo.dataset import write_dataset
from yolort.tools.evaluate.benchmark import Benchmark, Case, Row, benchmark, cases, interleaved
from yolort.tools.evaluate.worker import Worker

ONNX, NCNN = yolort.demo_model("onnx"), yolort.demo_model("ncnn")


@pytest.fixture
def image() -> np.ndarray:
    return np.asarray(yolort.images.read(yolort.demo_image()))


def test_a_worker_of_an_artifact_does_without_torch(image: np.ndarray) -> None:
    with Worker(NCNN, image=image, engine="ncnn", tuned=False) as worker:
        assert worker.call(eval, "'torch' in __import__('sys').modules") is False


def row(name: str, milliseconds: list[float], **facts: Any) -> Row:
    out = Row(
        Case(name, "ncnn", precision="fp32"), facts={"engine": "ncnn", "device": "cpu", "precision": "fp32", **facts}
    )
    total = np.array(milliseconds)
    out.add(np.column_stack([total, 0.1 * total, 0.7 * total, 0.2 * total]).tolist(), 0)
    out.size_mb = 2.5
    return out


def made() -> Benchmark:
    first = row("a<b>$x$.onnx", [1.0, 2, 3, 4, 100], parameters=1_500_000, gflops=4.25)
    first.accuracy = {"metric": "mAP50-95", "value": 0.5, "map50": 0.75, "value_ci": [0.45, 0.55]}
    second = row("folder/c_ncnn_model", [10.0] * 5)
    second.accuracy = {"metric": "mAP50-95", "value": 0.4, "map50": 0.6, "value_ci": None}
    second.images_per_second = {"batch 8": 123.456}
    broken = Row(Case("d.onnx", "openvino"), error="<script>it|broke</script>")
    return Benchmark([first, second, broken], {"processor": "<b>CPU</b>"}, {"runs": 5, "data": None})


def test_every_combination_is_a_case() -> None:
    made = cases([ONNX, NCNN], threads=[1, 2])
    engines = {(Path(case.model).name, case.engine) for case in made}
    assert {("scenes.onnx", "onnxruntime"), ("scenes_ncnn_model", "ncnn")} <= engines
    assert {case.threads for case in made} == {1, 2}
    assert len(set(made)) == len(made)
    assert all(case.precision == "fp32" for case in cases([NCNN], precisions=["fp32"]))
    assert [case.device for case in cases([NCNN], precisions=["fp32"], devices=["cpu", "vulkan"])] == ["cpu", "vulkan"]
    with pytest.raises(ValueError, match="no engine here can run"):
        cases([NCNN], engines=["onnxruntime"])
    with pytest.raises(FileNotFoundError):
        cases(["none.onnx"])
    with pytest.raises(FileNotFoundError):
        cases(["none.pt"])


def test_turns_are_interleaved() -> None:
    turns = list(interleaved(2, 5, 50))
    order = [row for row, _, _ in turns]
    assert all(set(order[i : i + 2]) == {0, 1} for i in range(0, len(order), 2))
    assert sum(count for row, count, counts in turns if row == 1 and counts) == 50
    assert sum(count for row, count, counts in turns if row == 1 and not counts) == 5
    assert max(count for _, count, _ in turns) <= 5


@pytest.mark.slow
def test_rows_have_figures_and_failures_have_reasons(image: np.ndarray, tmp_path: Path, checkpoint: Any) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    write_dataset(tmp_path / "scenes", train=0, val=3, progress=False)
    chosen = [
        Case(str(NCNN), "ncnn", precision="fp32", threads=1),
        Case(str(ONNX), "onnxruntime"),
        Case(str(tmp_path / "bad.onnx"), "onnxruntime"),
        Case(str(ONNX), "onnxruntime", device="abacus"),
        Case(str(checkpoint("yolov8n")), "torch", precision="fp32"),
    ]
    done = benchmark(
        chosen=chosen, image=image, data=tmp_path / "scenes" / "data.yaml", runs=6, warmup=2, batch=2, workers=2
    )
    ncnn, ort, bad, abacus, torch = done.rows
    for one in (ncnn, ort):
        assert not one.error
        assert one.samples.shape == (6, 4)
        assert (one.samples > 0).all()
        assert (one.samples[:, 0] >= one.samples[:, 1:].sum(axis=1)).all()
        assert set(one.images_per_second) == {"batch 1", "batch 2", "2 workers"}
        assert (one.memory["rss_mib"] or 0) > (one.memory["engine_mib"] or 0) > 5
        assert one.install is not None
        assert one.install[0].startswith("yolort") and one.install[1] > 1
        assert 0.3 < one.accuracy["map50_95"] < 1
        assert one.size_mb > 1
    assert ort.facts["parameters"] > 10_000
    assert ncnn.facts["precision"] == "fp32"
    assert "bad.onnx" in bad.error
    assert "abacus" in abacus.error
    assert len(bad.samples) == 0
    assert torch.samples.shape == (6, 4)
    assert torch.facts["gflops"] > 0
    assert "classes" in torch.error  # its 3 classes are not those of the data
    assert len(done.notes()) == 3
    assert done.notes()[2].startswith("yolov8n.pt torch fp32: ")
    lines = done.to_markdown().splitlines()
    assert sum("bad.onnx" in line and "failed: " in line for line in lines) == 1
    assert any(line.startswith("- failed: yolov8n.pt") for line in lines)
    assert "failed: yolov8n.pt" in done.to_html()


def test_counts_out_of_range(image: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        benchmark([NCNN], image=image, data="none.json")
    counts: list[dict[str, Any]] = [{"runs": 0}, {"warmup": -1}, {"batch": 0}, {"workers": 0}]
    for wrong in counts:
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
            benchmark([NCNN], image=image, **wrong)


def test_a_worker_that_dies_is_a_failed_row(image: np.ndarray) -> None:
    with Worker(NCNN, image=image, engine="ncnn") as worker:
        assert len(worker.ask("run", count=2)) == 2
        os.kill(worker.pid, signal.SIGSEGV)
        with pytest.raises(ChildError, match="signal 11"):
            worker.ask("run", count=1)


def test_figures() -> None:
    flat = made().rows[0].to_dict()
    assert (flat["p50_ms"], flat["mean_ms"]) == (3, 22)
    assert flat["p99_ms"] == pytest.approx(np.percentile([1, 2, 3, 4, 100], 99))
    assert flat["inference_p50_ms"] == pytest.approx(2.1)
    assert made().rows[2].to_dict()["p50_ms"] is None


def test_table_leaves_out_empty_columns() -> None:
    headings, rows = made().table()
    assert "GPU MiB" not in headings
    assert rows[0][headings.index("p50 ms")] == "3.00"
    assert rows[0][headings.index("mAP50-95")] == "50.00"
    assert rows[0][headings.index("M params")] == "1.50"
    assert rows[1][headings.index("images/s, batch 8")] == "123.5"
    assert rows[1][headings.index("GFLOPs")] == "-"
    assert all(len(one) == len(headings) for one in rows)


def test_csv_and_json() -> None:
    rows = list(csv.DictReader(io.StringIO(made().to_csv())))
    assert [one["p50_ms"] for one in rows] == ["3.0", "10.0", ""]
    assert rows[2]["error"] == "<script>it|broke</script>"
    read = json.loads(made().to_json())
    assert read["rows"][0]["samples_ms"][4][0] == 100
    assert read["setup"] == {"processor": "<b>CPU</b>"}


def test_markdown_is_a_table() -> None:
    lines = made().to_markdown().splitlines()
    assert lines[0].startswith("Fastest: ")
    assert lines[3].count("|") == lines[2].count("|") == lines[6].count("|")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_html_is_one_page_and_escapes() -> None:
    page = made().to_html()
    tags = Tags()
    tags.feed(page)
    assert tags.tags.count("svg") == 6  # three charts, for wide and for narrow screens
    assert page.index("Fastest: ") < page.index("<table")
    assert "<strong>3.00</strong>" in page
    assert "script" not in tags.tags
    assert "b" not in tags.tags
    assert all(link.startswith("#") for link in tags.links)  # nothing is fetched
    assert "a&lt;b&gt;$x$.onnx" in page
    assert "mAP50-95" in page


def test_html_without_any_figures() -> None:
    page = Benchmark([Row(Case("d.onnx", "openvino"), error="why")], {}, {}).to_html()
    assert "failed: d.onnx openvino: why" in page
    assert "<svg" not in page


def test_reports_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("r.html", "r.md", "r.csv", "r.json"):
        made().save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    monkeypatch.setattr(Path, "write_bytes", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    before = (tmp_path / "r.md").read_bytes()
    with pytest.raises(OSError, match="No space left"):
        made().save(tmp_path / "r.md")
    assert (tmp_path / "r.md").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolort", "benchmark", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_command(tmp_path: Path) -> None:
    few = ("--runs", 2, "--warmup", 0, "--precision", "fp32", "--threads", 1)
    done = run(NCNN, *few, "--report", tmp_path / "r.html", "--report", tmp_path / "r.json")
    assert "ncnn" in done.stdout
    assert "processor: " in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["settings"]["runs"] == 2
    assert (tmp_path / "r.html").is_file()
    (tmp_path / "bad.onnx").write_bytes(b"")
    for arguments, says in (
        ((tmp_path / "bad.onnx",), "empty"),
        ((NCNN, "--report", tmp_path / "r.pdf"), "expected a file ending"),
        ((NCNN, "--report", tmp_path / "a" / "r.md"), "no such folder"),
        ((NCNN, "--threads", "two"), "--threads"),
        ((NCNN, "--engine", "warp"), "no engine here"),
        ((NCNN, "--runs", 0), "runs is 0"),
    ):
        assert says in run(*arguments, code=2).stderr
    assert "failed: " in run(NCNN, *few, "--device", "vulkan:99", code=1).stdout


def test_precisions_are_those_of_the_device() -> None:
    """For Vulkan, the driver's precisions; a missing device has a row with the reason."""
    here = [name.split()[0] for name in yolort.devices("ncnn")]
    made = cases([NCNN], devices=["vulkan"])
    if "vulkan:0" not in here:
        assert [case.precision for case in made] == [""]
        return
    able = [case.precision for case in made]
    assert "fp16" in able or "fp16-storage" in able
    for case in made:
        yolort.Detector(case.model, **case.options)


def test_a_device_that_is_not_here_has_a_row() -> None:
    assert [case.precision for case in cases([NCNN], devices=["vulkan:99"], engines=["ncnn"])] == [""]
    assert [case.precision for case in cases([NCNN], devices=["abacus"], engines=["ncnn"])] == [""]


def test_rows_are_compared_in_turns() -> None:
    """If the machine gets slower, both rows do; the ratio stays, with a narrow interval."""
    rng = np.random.default_rng(0)
    first, second, third = (Row(Case(f"{name}.onnx", "ncnn")) for name in "abc")
    for turn in range(40):
        slow = 10 + turn + rng.normal(0, 0.2)
        first.add([[slow, 0, slow, 0]] * 5, turn)
        second.add([[0.5 * slow, 0, 0.5 * slow, 0]] * 5, turn)
        third.add([[slow + rng.normal(0, 0.5), 0, slow, 0]] * 5, turn)
    half, same = second.ratio(first), third.ratio(first)
    assert half is not None and same is not None
    assert half.value == pytest.approx(0.5)
    assert half.verdict == "faster"
    assert half.high - half.low < 0.01
    assert half.speedup().startswith("2.00x as fast")
    assert same.verdict == ""
    done = Benchmark([first, second, third], {}, {})
    headings, rows = done.table()
    at = headings.index("speed-up")
    assert rows[0][0] == "b.onnx"  # fastest first
    assert rows[0][at] == "2.00x (2.00 to 2.00)"
    assert sorted(row[at] for row in rows[1:])[1] == "reference"
    assert done.answer().startswith("Fastest: b.onnx ncnn, ")
    assert "2.00x as fast (2.00 to 2.00) as a.onnx ncnn" in done.answer()
    assert Benchmark([third, first], {}, {}).answer().count("Not measurably slower") == 1
    assert json.loads(done.to_json())["rows"][1]["ratio_high"] < 1
    assert Row(Case("d.onnx", "ncnn")).ratio(first) is None


def test_rows_that_differ_in_threads_say_so() -> None:
    rows = [row("a.onnx", [1.0] * 5), row("a.onnx", [2.0] * 5)]
    rows[1].case = replace(rows[1].case, threads=1)
    done = Benchmark(rows, {}, {})
    headings, cells = done.table()
    assert [one[headings.index("threads")] for one in cells] == ["-", "1"]
    assert any("differ in threads" in text for text in done.remarks())
    assert any("differ in threads" in line for line in done.to_markdown().splitlines())


def test_machine() -> None:
    described = _system.describe()
    assert described["processor"].endswith("cores")
    assert f"yolort {yolort.__version__}" in described["libraries"]


_ALONE = """
import json, re, sys
from pathlib import Path
import numpy as np
import yolort
def mib(what): return int(re.search(what + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
detector = yolort.Detector(sys.argv[1], engine=sys.argv[2], tuned=False)
for _ in range(8): detector(np.zeros((720, 1280, 3), np.uint8))
print(json.dumps(mib("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime", "openvino"])
def test_memory_is_that_of_the_runtime_alone(engine: str) -> None:
    """A process that only imports yolort and detects takes the same memory within 10 %."""
    if not next(one.available for one in yolort.engines() if one.name == engine):
        pytest.skip(f"no {engine} here")
    model = NCNN if engine == "ncnn" else ONNX
    with Worker(model, image=np.zeros((720, 1280, 3), np.uint8), engine=engine, tuned=False) as worker:
        worker.ask("run", count=8)
        memory = worker.ask("memory")
    alone = subprocess.run(
        [sys.executable, "-c", _ALONE, str(model), engine], capture_output=True, text=True, check=True, timeout=120
    )
    assert memory["rss_mib"] == pytest.approx(float(alone.stdout), rel=0.1)
    assert 1 < memory["engine_mib"] < memory["rss_mib"]


@pytest.mark.slow
def test_memory_is_that_of_the_process(image: np.ndarray) -> None:
    """Not the parent's memory, which a child inherits in ru_maxrss."""
    hold = np.ones(600 << 17)  # 600 MiB
    with Worker(NCNN, image=image, engine="ncnn") as worker:
        assert 20 < worker.ask("memory")["rss_mib"] < 500
    assert hold.any()
