"""Reads study files, which define what `ablate` compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yolort
from yolort.tools._yaml import read_yaml
from yolort.tools.search.recipe import Recipe

__all__ = ["Study", "StudyError", "read_study"]

_SETS = ("each", "all", "leave-one-out")


class StudyError(yolort.Error):
    """A study file is invalid."""


@dataclass(frozen=True)
class Study:
    """The checked contents of a study."""

    data: Path
    seeds: tuple[int, ...]
    baseline: Recipe
    steps: dict[str, dict[str, Any]]
    sets: tuple[tuple[str, ...], ...]  # sets of steps, without the baseline (the empty set)
    left_out: tuple[str, ...] = ()  # steps that are omitted from all, one at a time

    def recipe(self, steps: Sequence[str]) -> Recipe:
        """The baseline with these steps, in the order of the study."""
        made = self.baseline
        for name, changes in self.steps.items():
            if name in steps:
                made = made.but(changes)
        return made

    def without(self, step: str) -> tuple[str, ...]:
        """All steps but one."""
        return tuple(name for name in self.steps if name != step)


def read_study(path: str | Path) -> Study:
    """Reads a study; paths in it are relative to its folder. Raises FileNotFoundError, StudyError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such study: {path}")
    try:
        said = read_yaml(path)
    except ValueError as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(said, dict):
        raise StudyError(f"{path} is not a study: it has no keys")
    own = {"data", "seeds", "baseline", "steps", "sets"}
    recipe_keys = {one.name for one in fields(Recipe)}
    unknown = sorted(str(key) for key in said if key not in own | recipe_keys)
    if unknown:
        raise StudyError(
            f"{path} has unknown keys: {', '.join(unknown)}; known are {', '.join(sorted(own | recipe_keys))}"
        )
    missing = [key for key in ("model", "data", "steps") if key not in said]
    if missing:
        raise StudyError(f"{path} lacks {', '.join(missing)}")
    if not isinstance(said["steps"], dict) or not said["steps"]:
        raise StudyError(f"{path}: steps must map names to changes of the recipe")
    steps = {str(name): _found(path, changes, f"step {name}") for name, changes in said["steps"].items()}
    seeds = said.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise StudyError(f"{path}: seeds must be a list of whole numbers, not {seeds!r}")
    try:
        shared = _found(path, {key: said[key] for key in recipe_keys & set(said)}, "the study")
        baseline = Recipe(**shared).but(_found(path, said.get("baseline") or {}, "baseline"))
        sets, left_out = _sets(path, said.get("sets"), steps)
        study = Study(_beside(path, said["data"]), tuple(seeds), baseline, steps, sets, left_out)
        for one in (*study.sets, *(study.without(step) for step in left_out)):
            study.recipe(one)
    except (TypeError, ValueError) as error:
        raise StudyError(f"{path}: {error}") from error
    return study


def _beside(path: Path, name: Any) -> Path:
    beside = path.parent / str(name)
    return beside if beside.exists() else Path(str(name))


def _found(path: Path, changes: Any, where: str) -> dict[str, Any]:
    if not isinstance(changes, dict):
        raise StudyError(f"{path}: {where} must be a mapping of changes to the recipe, not {changes!r}")
    return {
        key: str(_beside(path, value)) if key in ("model", "teacher") and value else value
        for key, value in changes.items()
    }


def _sets(path: Path, said: Any, steps: Mapping[str, Any]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The sets of steps, and the steps that are omitted from all."""
    names = tuple(steps)
    made: list[tuple[str, ...]] = []
    left_out: tuple[str, ...] = ()
    for one in said if said is not None else ["each", "all"]:
        if one == "each":
            made += [(name,) for name in names]
        elif one == "all":
            made.append(names)
        elif one == "leave-one-out":
            if len(names) < 2:
                raise StudyError(f"{path}: leave-one-out needs at least two steps")
            made.append(names)
            left_out = names
        elif isinstance(one, list) and one and all(name in steps for name in one):
            made.append(tuple(name for name in names if name in one))
        else:
            raise StudyError(f"{path}: sets are {', '.join(_SETS)} or lists of steps ({', '.join(names)}), not {one!r}")
    return tuple(one for one in dict.fromkeys(made) if one), left_out
