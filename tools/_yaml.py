"""Reads untrusted YAML: its size is checked before anything is built, counting every use of an alias."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["parse_yaml", "read_yaml"]

_MAX_BYTES = 1 << 20
_MAX_NODES = 400_000  # more than 65,536 classes need
_MAX_DEPTH = 50
_MAX_SCALAR = 100  # characters of a number or date; PyYAML takes minutes for a number of 1 MiB in base 60
_TAG = "tag:yaml.org,2002:"
_TAGS = frozenset(_TAG + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge"))
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = object()  # the key `<<`
#: Exceptions of PyYAML's constructors for values like `!!bool x`.
_MISFITS = (RecursionError, TypeError, AttributeError, LookupError, ArithmeticError)


def read_yaml(path: Path) -> Any:
    """The contents of a YAML file. Raises OSError, and ValueError like `parse_yaml`."""
    with path.open("rb") as file:
        read = file.read(_MAX_BYTES + 1)
    if len(read) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB")
    return parse_yaml(read.decode("utf-8-sig"))


def parse_yaml(text: str) -> Any:
    """The contents of a YAML document: mappings, lists and scalars of YAML's own types.

    Raises ValueError with what is wrong, in one line.
    """
    try:
        loader = _LOADER(text)
        try:
            node = loader.get_single_node()  # aliases share nodes: nothing is expanded yet
            if node is None:
                return None
            _count(node, loader, {}, 0)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    except _MISFITS as error:
        raise ValueError(f"a value does not fit its tag ({error})") from error


def _count(node: yaml.Node, loader: Any, known: dict[int, tuple[int, int] | None], depth: int) -> tuple[int, int]:
    """Number of nodes and levels below a node, counting every use of an alias. ValueError for unsupported or too large
    documents.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    where = f"in line {node.start_mark.line + 1}"
    if node.tag not in _TAGS:
        raise ValueError(f"the tag '{node.tag.replace(_TAG, '!!')}' is not supported, {where}")
    if isinstance(node, yaml.ScalarNode):
        if node.tag != f"{_TAG}str" and len(node.value) > _MAX_SCALAR:
            raise ValueError(f"a number of {len(node.value)} characters, {where}")
        return 1, 0
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError(f"an alias contains itself, {where}")
        if depth + found[1] > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        return found
    known[id(node)] = None
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    total, levels = 1, 0
    for child in children:
        nodes, below = _count(child, loader, known, depth + 1)
        total, levels = total + nodes, max(levels, below + 1)
        if total > _MAX_NODES:
            raise ValueError(f"more than {_MAX_NODES} values, with aliases expanded")
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, loader)
    known[id(node)] = total, levels
    return total, levels


def _check_keys(node: yaml.MappingNode, loader: Any) -> None:
    """Raises ValueError for duplicate keys: 0, 00, 0x0 and false are the same key.

    Only scalar keys are checked; other keys are refused when the document is constructed.
    """
    keys: dict[Any, str] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        value = _MERGE if key.tag == f"{_TAG}merge" else loader.construct_object(key)
        if value in keys:
            other = "" if keys[value] == key.value else f", as '{keys[value][:80]}' too"
            raise ValueError(f"the key '{key.value[:80]}' occurs twice{other}, in line {key.start_mark.line + 1}")
        keys[value] = key.value
