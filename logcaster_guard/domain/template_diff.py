"""What differs between two pod templates, as people are shown it before a rollback.

Every place is told. Of values only images and environment variables are shown: a variable's source as the reference
that it is, its plain value unless its name or the value itself looks secret. Anything else may hold a secret too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from logcaster_guard.domain.workload import release_of

HIDDEN = "(hidden)"
"""Stands for a value that looks secret."""

_LONGEST = 200
_SECRET_NAME = re.compile(r"PASS|PWD|TOKEN|SECRET|KEY|CREDENTIAL|AUTH|CERT|DSN|SALT|SIGN", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{20,}|-----BEGIN", re.ASCII)
"""An address with credentials, a long run of letters and digits without a blank or dot in it, a PEM block."""


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each place: `-` it goes, `+` it comes, `~` it becomes another."""
    old, new = ({path: (value, words) for path, value, words in _leaves(release_of(t), "")} for t in (before, after))
    found = []
    for path in sorted(old.keys() | new.keys()):
        then, now = old.get(path), new.get(path)
        if now is None and then is not None:
            found.append(_line("-", path, then[1]))
        elif then is None and now is not None:
            found.append(_line("+", path, now[1]))
        elif then is not None and now is not None and then[0] != now[0]:
            shown = "" if {then[1], now[1]} & {""} else f"{then[1]} → {now[1]}"
            found.append(_line("~", path, HIDDEN if then[1] == now[1] == HIDDEN else shown))
    return [*found, *_reordered(release_of(before), release_of(after))]


def shown_value(name: str, value: str) -> str:
    """A plain value of the variable `name`, bounded; `HIDDEN` where one of the two looks secret."""
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return HIDDEN
    return f'"{value}"' if len(value) <= _LONGEST else f'"{value[:_LONGEST]}…" ({len(value)} characters)'


def _line(mark: str, path: str, words: str) -> str:
    return f"{mark} {path}: {words}" if words else f"{mark} {path}"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any, str]]:  # noqa: ANN401 - raw JSON
    """Each place with its value, and how that is shown: empty where it is not."""
    if path.endswith("]") and ".env[" in path:
        yield path, value, _variable(value)
    elif isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{_name(part, index)}]")
    else:
        yield path, value, str(value) if path.endswith(".image") or ".envFrom[" in path else ""


def _name(part: Any, index: int) -> str:  # noqa: ANN401 - raw JSON
    return str(part.get("name", index) if isinstance(part, dict) else index)


def _variable(variable: Mapping[str, Any]) -> str:
    source = variable.get("valueFrom")
    if not source:
        return shown_value(str(variable.get("name")), str(variable.get("value") or ""))
    kind, reference = next(iter(source.items()))
    return f"from {kind} {' '.join(f'{key}={part}' for key, part in sorted(reference.items()))}"


def _reordered(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Containers whose variables come in another order, which decides what `$(NAME)` finds."""
    old, new = _orders(before), _orders(after)
    for path in sorted(old.keys() & new.keys()):
        then, now = ([n for n in o[path] if n in old[path] and n in new[path]] for o in (old, new))
        if then != now:
            yield f"~ {path}: in another order"


def _orders(template: Mapping[str, Any]) -> Mapping[str, list[str]]:
    spec = template.get("spec") or {}
    return {
        f"spec.{field}[{c.get('name')}].env": [str(v.get("name")) for v in c.get("env") or []]
        for field in ("initContainers", "containers")
        for c in spec.get(field) or []
    }
