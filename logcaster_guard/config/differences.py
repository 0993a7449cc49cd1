"""Which settings are different, by the keys that operators write; never their values, some of which are secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from logcaster_guard.config.settings import Settings
from logcaster_guard.fields.secrets import Secret

_WRITTEN = {"sidecar": "mode"}
_WITHOUT_A_KEY = "policy"
_SIGNALS = "signals."


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The changed keys; of a list, such as `targets`, the list's own, and last the signals, which rest on others."""
    old, new = (dict(_leaves("", settings)) for settings in (before, after))
    changed = {_signal(key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return sorted(changed, key=lambda key: (key.startswith(_SIGNALS), key))


def _signal(key: str) -> str:
    """A signal's own key in place of the keys below it, many of which follow from its source."""
    return ".".join(key.split(".")[:2]) if key.startswith(_SIGNALS) else key


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    match value:
        case Mapping():
            parts = dict(value)
        case BaseModel():
            parts = {name: getattr(value, name) for name in type(value).model_fields}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, Secret):
            parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        case _:
            yield path, value
            return
    for name, part in parts.items():
        yield from _leaves(_key(path, str(name)), part)


def _key(path: str, name: str) -> str:
    if not path:
        return "" if name == _WITHOUT_A_KEY else _WRITTEN.get(name, name)
    return f"{path}.{name}"
