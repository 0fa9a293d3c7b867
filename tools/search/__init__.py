"""From a budget or a study to a measured model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolort.tools._lazy import export_lazily

if TYPE_CHECKING:
    from yolort.tools.search.ablate import Ablation as Ablation
    from yolort.tools.search.ablate import Study as Study
    from yolort.tools.search.ablate import StudyError as StudyError
    from yolort.tools.search.ablate import ablate as ablate
    from yolort.tools.search.advise import Advice as Advice
    from yolort.tools.search.advise import Device as Device
    from yolort.tools.search.advise import advise as advise
    from yolort.tools.search.optimize import Budget as Budget
    from yolort.tools.search.optimize import Optimized as Optimized
    from yolort.tools.search.optimize import optimize as optimize
    from yolort.tools.search.pipeline import Lab as Lab
    from yolort.tools.search.pipeline import Recipe as Recipe

export_lazily(
    __name__,
    {
        "Ablation": "ablate",
        "Advice": "advise",
        "Budget": "optimize",
        "Device": "advise",
        "Lab": "pipeline",
        "Optimized": "optimize",
        "Recipe": "pipeline",
        "Study": "ablate",
        "StudyError": "ablate",
        "ablate": "ablate",
        "advise": "advise",
        "optimize": "optimize",
    },
)
