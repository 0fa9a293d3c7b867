"""Searches and studies: from a budget or a study file to a measured model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.search.ablate import Ablation as Ablation
    from yolort.tools.search.ablate import ablate as ablate
    from yolort.tools.search.advise import Advice as Advice
    from yolort.tools.search.advise import Device as Device
    from yolort.tools.search.advise import advise as advise
    from yolort.tools.search.advise import device as device
    from yolort.tools.search.optimize import optimize as optimize
    from yolort.tools.search.outcome import Budget as Budget
    from yolort.tools.search.outcome import Optimized as Optimized
    from yolort.tools.search.pipeline import Pipeline as Pipeline
    from yolort.tools.search.recipe import Recipe as Recipe
    from yolort.tools.search.study import Study as Study
    from yolort.tools.search.study import StudyError as StudyError
    from yolort.tools.search.versions import Timings as Timings
    from yolort.tools.search.versions import measure as measure

export_lazily(
    __name__,
    {
        "Ablation": "ablate",
        "Advice": "advise",
        "Budget": "outcome",
        "Device": "advise",
        "Optimized": "outcome",
        "Pipeline": "pipeline",
        "Recipe": "recipe",
        "Study": "study",
        "StudyError": "study",
        "Timings": "versions",
        "ablate": "ablate",
        "advise": "advise",
        "device": "advise",
        "measure": "versions",
        "optimize": "optimize",
    },
)
