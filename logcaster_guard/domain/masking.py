"""Hides what looks secret in manifests that people are shown.

A plain value stands in the cluster for whoever may read its object there. Terminals, tickets and chats have other
readers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from logcaster_guard.domain.workload import LAST_APPLIED

Json = dict[str, Any]

_WORDS = "PASS|PWD|TOKEN|SECRET|KEY|CREDENTIAL|AUTH|CERT|DSN|SALT|SIGN"
_NAME = re.compile(_WORDS, re.IGNORECASE)
_ASSIGNED = re.compile(rf"(?:{_WORDS})[\w.-]*[\"']?\s*[:=>]", re.IGNORECASE | re.ASCII)
_CREDENTIALS = re.compile(r"://[^/\s]*@|-----BEGIN", re.ASCII)
_RANDOM = re.compile(r"(?=[\w+=-]*\d)(?=[\w+=-]*[A-Za-z])[\w+=-]{20,}", re.ASCII)
"""A long run of letters and digits without a blank or dot in it."""

_TEXTS = frozenset({"annotations", "data"})
_ARGUMENTS = frozenset({"args", "command"})


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable's name or its value looks as if nobody else should see the value."""
    return bool(_NAME.search(name) or _CREDENTIALS.search(value) or _RANDOM.search(value))


class Masker:
    """Replaces each value that looks secret by a number, the same for the same value.

    So a difference is seen without what differs. Hidden are plain values of variables and headers, arguments, lines of
    a ConfigMap and of annotations, and all binary data. References to Secrets stay: they are names.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def hidden(self) -> int:
        """How many values were hidden."""
        return len(self._numbers)

    def masked(self, manifest: Mapping[str, Any]) -> Json:
        """The manifest as it may be shown."""
        return {key: self._part(key, part) for key, part in manifest.items()}

    def secret(self, manifest: Mapping[str, Any]) -> Json:
        """A Secret as it may be shown: its type, and its keys, each with the number of its value."""
        data = manifest.get("data") or {}
        return {
            "kind": "Secret",
            "type": manifest.get("type"),
            "data": {key: self._number(str(value)) for key, value in sorted(data.items())},
        }

    def _part(self, key: str, part: Any) -> Any:  # noqa: ANN401 - raw JSON
        if isinstance(part, dict):
            if key in _TEXTS:
                return {name: self._entry(str(name), value) for name, value in part.items()}
            if key == "binaryData":
                return {name: self._number(str(value)) for name, value in part.items()}
            return self._variable(part) if _is_variable(part) else self.masked(part)
        if isinstance(part, list):
            return self._arguments(part) if key in _ARGUMENTS else [self._part("", item) for item in part]
        return self._number(part) if isinstance(part, str) and _CREDENTIALS.search(part) else part

    def _variable(self, variable: Json) -> Json:
        shown = looks_secret(str(variable["name"]), str(variable["value"]))
        return {**variable, "value": self._number(str(variable["value"]))} if shown else variable

    def _arguments(self, arguments: Sequence[Any]) -> list[str]:
        found, flag = [], ""
        for argument in map(str, arguments):
            found.append(self._number(argument) if flag and _NAME.search(flag) else self._text(argument))
            flag = argument if argument.startswith("-") and "=" not in argument else ""
        return found

    def _entry(self, name: str, value: Any) -> Any:  # noqa: ANN401 - raw JSON
        if not isinstance(value, str):
            return self._part("", value)
        if name == LAST_APPLIED:
            return self._applied(value)
        # A file is read line by line, whatever it is called.
        return self._number(value) if _NAME.search(name) and "\n" not in value.strip() else self._text(value)

    def _applied(self, value: str) -> str:
        try:
            return json.dumps(self.masked(json.loads(value)), sort_keys=True)
        except (ValueError, AttributeError, RecursionError):
            return self._number(value)

    def _text(self, text: str) -> str:
        """A text without the lines that look secret, nor what is indented below them."""
        if "-----BEGIN" in text:
            return self._number(text)
        lines: list[str] = []
        below, continued = -1, False
        for line in text.split("\n"):
            indent = len(line) - len(line.lstrip())
            inside = continued or (below >= 0 and (indent > below or not line.strip()))
            looks = bool(_ASSIGNED.search(line) or _CREDENTIALS.search(line) or _RANDOM.search(line))
            if not inside:
                below = indent if looks else -1
            continued = (inside or looks) and line.endswith("\\")
            lines.append(self._number(line) if (inside or looks) and line.strip() else line)
        return "\n".join(lines)

    def _number(self, value: str) -> str:
        return f"(hidden {self._numbers.setdefault(value, len(self._numbers) + 1)})"


def _is_variable(part: Json) -> bool:
    """Whether it is a name with its plain value: a variable, or a header of a probe."""
    return isinstance(part.get("name"), str) and isinstance(part.get("value"), str)
