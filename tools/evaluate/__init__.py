"""Accuracy and speed of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.evaluate.benchmark import Benchmark as Benchmark
    from yolort.tools.evaluate.benchmark import Case as Case
    from yolort.tools.evaluate.benchmark import Row as Row
    from yolort.tools.evaluate.benchmark import benchmark as benchmark
    from yolort.tools.evaluate.evaluator import Evaluator as Evaluator
    from yolort.tools.evaluate.profile import Profile as Profile
    from yolort.tools.evaluate.profile import profile as profile
    from yolort.tools.evaluate.tune import BusyError as BusyError
    from yolort.tools.evaluate.tune import Tuning as Tuning
    from yolort.tools.evaluate.tune import tune as tune
    from yolort.tools.evaluate.validate import Validation as Validation
    from yolort.tools.evaluate.validate import validate as validate

export_lazily(
    __name__,
    {
        "Benchmark": "benchmark",
        "BusyError": "tune",
        "Case": "benchmark",
        "Evaluator": "evaluator",
        "Profile": "profile",
        "Row": "benchmark",
        "Tuning": "tune",
        "Validation": "validate",
        "benchmark": "benchmark",
        "profile": "profile",
        "tune": "tune",
        "validate": "validate",
    },
)
