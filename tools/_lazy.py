"""Packages whose names are imported when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["export_lazily"]


class _LazyPackage(ModuleType):
    """A package whose exported names win over its modules of the same name.

    The import system binds a module to its name in the package, so without this `yolort.tools.export` would be the
    function or the package, by what was imported before.
    """

    _exported: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._exported:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{self._exported[name]}", self.__name__), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in self._exported and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._exported})


def export_lazily(package: str, exported: Mapping[str, str]) -> None:
    """Gives a package, by its `__name__`, the names in `exported`, each with the module in it that holds the name.

    ".models.heads" is a module of the package's parent.
    """
    module = sys.modules[package]
    vars(module)["_exported"] = exported
    module.__class__ = _LazyPackage
