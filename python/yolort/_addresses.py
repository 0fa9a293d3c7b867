"""Formats addresses of streams and images for messages, without secrets."""

from __future__ import annotations

import re

_MAX_SHOWN = 300  # maximum length of a path in a message


def shown_path(path: str) -> str:
    """A path for a message: quoted, shortened if long, and without the secrets of a URL."""
    path = without_secrets(path)
    return repr(path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}...")


#: Matches what cannot be a file name: scheme:/..., or a name and a password before a host.
_ADDRESS = (  # a string, compiled on first use, so that importing yolort stays quick
    r"(?i)\s*(?:(?:[a-z][a-z0-9+.-]+)?:[/\\]+"
    r"|(?=[^@]*:[^@]*@)(?:[a-z][a-z0-9+.-]+:(?=[^@]*:))?[/\\]*)"
)
#: Query parameters that are not secret and distinguish cameras.
_HARMLESS = r"(?i)(?:camera|channel|fps|profile|stream|subtype)=(?:\d{1,4}|main|sub)"


def is_address(text: str) -> bool:
    """Whether text looks like a URL, well-formed or not."""
    return re.match(_ADDRESS, text) is not None


def without_secrets(address: str) -> str:
    """An address for a message, log or result; text that does not look like a URL is unchanged.

    User and password are removed, as are the values in query, fragment and `name=value` path segments, except for a few
    harmless parameters.
    """
    found = re.match(_ADDRESS, address)
    if not found:
        return address
    start, rest = address[: found.end()], address[found.end() :]
    if "@" in rest:  # a password may contain any character, so everything up to the last @ is removed
        before, _, rest = rest.rpartition("@")
        if re.search(r"[?&;#=]", before):  # or the @ is part of a secret in the query
            return f"{start}***"
        rest = f"***@{rest}"
    parts = re.split(r"((?:[?&;#/]|%3[bf]|%2[36])+)", rest, flags=re.IGNORECASE)
    inside = False  # whether within a query or fragment
    for index, part in enumerate(parts):
        if index % 2:
            inside = inside or part.strip("/") != ""
        elif part and (inside or "=" in part) and not re.fullmatch(_HARMLESS, part):
            parts[index] = f"{part.partition('=')[0]}=***" if "=" in part else "***"
    return start + "".join(parts)
