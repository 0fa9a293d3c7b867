"""YAML that strangers wrote: its size is bounded before any of it is built, aliases counted as often as they stand."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["parse_yaml"]

_MAX_NODES = 400_000  # more than 65,536 classes take
_MAX_DEPTH = 50
#: PyYAML's own, and what its constructors meet in values that their tags do not fit.
_ERRORS = (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


def parse_yaml(text: str) -> Any:
    """What a YAML document says: mappings, lists and scalars of YAML's own types.

    Raises ValueError with what is wrong, in one line.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()  # aliases share nodes: nothing is expanded yet
            if node is None:
                return None
            _count(node, {}, 0)
            return loader.construct_document(node)  # type: ignore[no-untyped-call]
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except _ERRORS as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _count(node: yaml.Node, known: dict[int, int | None], depth: int) -> int:
    """Nodes below one, aliases as often as they stand; ValueError for too many, or an alias within itself."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    if isinstance(node, yaml.ScalarNode):
        return 1
    found = known.get(id(node), 0)
    if found is None:
        raise ValueError("an alias stands for what it is in")
    if found:
        return found
    known[id(node)] = None
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1
    for child in children:
        total += _count(child, known, depth + 1)
        if total > _MAX_NODES:
            raise ValueError(f"more than {_MAX_NODES} values, aliases counted as often as they stand")
    known[id(node)] = total
    return total
