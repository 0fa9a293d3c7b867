"""Addresses of streams and images in messages: nothing secret is shown."""

from __future__ import annotations

import re

_MAX_SHOWN = 300  # characters of a path in a message


def shown_path(path: str) -> str:
    """A path in a message, quoted: a long one shortened, and of a URL no secrets."""
    path = without_secrets(path)
    return repr(path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}...")


#: What no file is named like: scheme:/..., or a name and a password in front of a host.
_ADDRESS = (  # a string: compiled at its first use, so that importing yolort stays quick
    r"(?i)\s*(?:(?:[a-z][a-z0-9+.-]+)?:[/\\]+"
    r"|(?=[^@]*:[^@]*@)(?:[a-z][a-z0-9+.-]+:(?=[^@]*:))?[/\\]*)"
)
#: Parameters of a query that let nobody in, and tell cameras apart.
_HARMLESS = r"(?i)(?:camera|channel|fps|profile|stream|subtype)=(?:\d{1,4}|main|sub)"


def is_address(text: str) -> bool:
    """Whether text is of the form of a URL, well-formed or not."""
    return re.match(_ADDRESS, text) is not None


def without_secrets(address: str) -> str:
    """An address as it may stand in a message, a log or a result; what is of no URL's form stays as it is.

    User and password go, and so do what a query or a fragment says and what `name=value` in the path gives, except for
    a few parameters that are harmless.
    """
    found = re.match(_ADDRESS, address)
    if not found:
        return address
    start, rest = address[: found.end()], address[found.end() :]
    if "@" in rest:  # a password may hold any character: all up to the last @ goes
        before, _, rest = rest.rpartition("@")
        if re.search(r"[?&;#=]", before):  # or the @ is in a secret of the query
            return f"{start}***"
        rest = f"***@{rest}"
    parts = re.split(r"((?:[?&;#/]|%3[bf]|%2[36])+)", rest, flags=re.IGNORECASE)
    inside = False  # of a query or a fragment
    for index, part in enumerate(parts):
        if index % 2:
            inside = inside or part.strip("/") != ""
        elif part and (inside or "=" in part) and not re.fullmatch(_HARMLESS, part):
            parts[index] = f"{part.partition('=')[0]}=***" if "=" in part else "***"
    return start + "".join(parts)
