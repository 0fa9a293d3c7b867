"""A row of the table of `benchmark`: the case and its figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from yolort.tools.evaluate.paired import Ratio, paired_ratio

__all__ = ["Case", "Row"]


@dataclass(frozen=True)
class Case:
    """The case of a row; "" and None leave the choice to the engine."""

    model: str
    engine: str
    device: str = ""
    precision: str = ""
    threads: int | None = None
    imgsz: tuple[int, int] | None = None
    augment: bool = False
    scales: tuple[int, ...] = ()  # of the augmentation
    rect: bool | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Of `Detector`."""
        options = asdict(self)
        del options["model"]
        return {key: value for key, value in options.items() if value not in (None, "", ())} | {"tuned": False}

    def __str__(self) -> str:
        parts = (Path(self.model).name, self.engine, self.device, self.precision)
        return " ".join(part for part in parts if part) + (f" x{self.threads}" if self.threads else "")


@dataclass
class Row:
    """Figures of one case; `error` is the reason if there are none. Times are milliseconds per image at batch 1."""

    case: Case
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # engine, device, precision, head, imgsz, parameters, gflops
    samples: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))  # (n, 4): total, pre, inference, post
    turns: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,): turn in which each was measured
    size_mb: float = float("nan")
    images_per_second: dict[str, float] = field(default_factory=dict)  # "batch 8", "4 workers"
    memory: dict[str, float | None] = field(default_factory=dict)  # MiB, see Worker
    install: tuple[str, float] | None = None  # what must be installed to run it, and its size in MB
    accuracy: dict[str, Any] = field(default_factory=dict)  # the metrics of yolort.tools.evaluate.validate
    others: float | None = None  # cores used by other processes during timing; None: unknown

    @property
    def name(self) -> str:
        """The model with its engine and precision."""
        parts = [Path(self.case.model).name, self.facts.get("engine") or self.case.engine]
        parts.append(self.facts.get("precision") or self.case.precision)
        return " ".join(part for part in parts if part) + (f" x{self.case.threads}" if self.case.threads else "")

    @property
    def p50(self) -> float:
        """Median milliseconds per image, end to end; infinite if nothing was measured."""
        return self.percentile(50)

    def percentile(self, percent: float, part: int = 0) -> float:
        """Like `p50` for another percentile and part: 1 before the network, 2 the network, 3 after it."""
        return float(np.percentile(self.samples[:, part], percent)) if len(self.samples) else float("inf")

    def add(self, samples: list[list[float]], turn: int) -> None:
        """Adds the samples of a turn."""
        self.samples = np.concatenate([self.samples, np.reshape(samples, (-1, 4))])
        self.turns = np.concatenate([self.turns, np.full(len(samples), turn)])

    def ratio(self, reference: Row) -> Ratio | None:
        """End-to-end time as a multiple of another row's that was measured in the same turns."""
        return paired_ratio(self.samples[:, 0], self.turns, reference.samples[:, 0], reference.turns)

    def to_dict(self) -> dict[str, Any]:
        """A flat dict for JSON and CSV; missing figures are None."""
        out: dict[str, Any] = {"model": self.case.model, "error": self.error or None}
        for key in ("engine", "device", "precision"):
            out[key] = self.facts.get(key) or getattr(self.case, key) or None
        out["threads"] = self.case.threads
        for key in ("head", "imgsz", "parameters", "gflops", "load_s"):
            out[key] = self.facts.get(key)
        out["imgsz"] = "x".join(map(str, out["imgsz"])) if out["imgsz"] else None
        out["size_mb"] = None if np.isnan(self.size_mb) else round(self.size_mb, 3)
        measured = len(self.samples) > 0
        total = self.samples[:, 0] if measured else np.full(1, np.nan)
        figures = {
            "mean_ms": total.mean(),
            "std_ms": total.std(),
            "p50_ms": self.p50,
            "p95_ms": self.percentile(95),
            "p99_ms": self.percentile(99),
        }
        for index, part in enumerate(("pre", "inference", "post"), 1):
            figures[f"{part}_p50_ms"] = self.percentile(50, index)
        out |= {key: round(float(value), 4) if measured else None for key, value in figures.items()}
        out |= {f"images_per_s, {how}": round(value, 2) for how, value in self.images_per_second.items()}
        out |= {key: self.memory.get(key) for key in ("rss_mib", "engine_mib", "gpu_mib")}
        out["install"], out["install_mb"] = self.install or (None, None)
        out["other_processes_cores"] = None if self.others is None else round(self.others, 2)
        for key in ("map50_95", "map50_95_ci", "map50", "top1", "top1_ci", "top5", "metric", "value", "value_ci"):
            out[key] = self.accuracy.get(key)
        out["box_map50_95"] = (self.accuracy.get("box") or {}).get("map50_95")
        return out
