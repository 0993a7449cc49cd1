"""managedFields: which manager last set which field.

An approximation of the field manager of the real server for `Update` operations: lists that merge by a key are
tracked by item, other lists and selectors as one field. A manager's `time` is that of its last write that changed
any field, as on the real server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value
from logcaster_guard.sandbox.apiserver.merging import merge_key

Path = tuple[str, ...]

_UNTRACKED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    }
)
_ATOMIC = frozenset({"selector", "nodeSelector", "matchLabels", "resourceFieldRef", "fieldRef"})


def _named(key: str, value: Value) -> str:
    """How an item of a list that merges by `key` is named."""
    return "k:" + json.dumps({key: value}, separators=(",", ":"))


_named_by_text = lru_cache(maxsize=4096)(_named)


def _leaves(kind: str, value: Value, names: Path, path: Path) -> Iterator[tuple[Path, Value]]:
    if isinstance(value, dict) and value and not (names and names[-1] in _ATOMIC):
        if path:
            yield (*path, "."), None
        for key, inner in value.items():
            yield from _leaves(kind, inner, (*names, key), (*path, f"f:{key}"))
        return
    key = merge_key(kind, names) if isinstance(value, list) and value else None
    if key is None or any(not isinstance(v, dict) or key not in v for v in value):
        yield path, value
        return
    yield (*path, "."), None
    for item in value:
        name = item[key]
        inside = (*path, _named_by_text(key, name) if isinstance(name, str) else _named(key, name))
        yield from _leaves(kind, item, names, inside)


def _fields(item: Json) -> dict[Path, Value]:
    metadata = {k: v for k, v in item.get("metadata", {}).items() if k not in _UNTRACKED}
    tracked = {k: v for k, v in item.items() if k not in {"apiVersion", "kind", "metadata"}}
    return dict(_leaves(str(item.get("kind", "")), {**tracked, "metadata": metadata}, (), ()))


def _paths(tree: Json, path: Path = ()) -> Iterator[Path]:
    for key, inner in tree.items():
        if key != "." and inner:
            yield from _paths(inner, (*path, key))
        else:
            yield (*path, key)


def _tree(paths: set[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        node = root
        for key in path:
            node = node.setdefault(key, {})
    return root


def _entry_key(entry: Json) -> tuple[str, str, str]:
    return (str(entry["manager"]), str(entry.get("subresource", "")), str(entry["operation"]))


def record(old: Json | None, new: Json, *, manager: str, subresource: str, time: str) -> list[Json]:
    """The managedFields of `new`, written over `old` by `manager` at RFC 3339 `time`."""
    before, after = _fields(old or {}), _fields(new)
    changed = {p for p, v in after.items() if p not in before or before[p] != v}
    entries = (old or {}).get("metadata", {}).get("managedFields") or []
    me = (manager, subresource, "Update")
    kept: list[Json] = []
    mine: set[Path] = set()
    for entry in entries:
        owned = {p for p in _paths(entry["fieldsV1"]) if p in after}
        if _entry_key(entry) == me:
            mine = owned
            if not changed and owned:
                kept.append({**entry, "fieldsV1": _tree(owned)})
            continue
        rest = {p for p in owned if p not in changed}
        if any(p[-1] != "." for p in rest):
            kept.append({**entry, "fieldsV1": _tree(rest)})
    if changed:
        entry = {
            "manager": manager,
            "operation": "Update",
            "apiVersion": new["apiVersion"],
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(mine | changed),
        }
        kept.append({**entry, "subresource": subresource} if subresource else entry)
    return kept
