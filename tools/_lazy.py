"""Packages whose names are imported on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["export_lazily"]


class _LazyPackage(ModuleType):
    """A package whose exported names take precedence over modules of the same name.

    The import system binds a module to its name in the package, so without this class, `yolort.tools.export` would be
    the function or the package, depending on earlier imports.
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
    """Adds the names in `exported` to the package with this `__name__`; values are the modules that define them.

    ".models.heads" is a module of the parent package.
    """
    module = sys.modules[package]
    vars(module)["_exported"] = exported
    module.__class__ = _LazyPackage
