"""managedFields: which manager last set which field.

An approximation of the field manager of the real server for `Update` operations: lists that merge by a key are
tracked by item, other lists and selectors as one field. A manager's `time` is that of its last write that changed
any field, as on the real server; a write to `/scale` is not dated there either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial

from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value
from logcaster_guard.sandbox.apiserver.merging import merge_key
from logcaster_guard.sandbox.apiserver.recent import Recent

Path = tuple[str, ...]
Fields = Mapping[Path, Value]
Parts = Mapping[str, Fields]
"""The fields of an object by the parts at its top: spec, status, metadata."""

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


def _paths(tree: Json, path: Path = ()) -> Iterator[Path]:
    for key, inner in tree.items():
        if key != "." and inner:
            yield from _paths(inner, (*path, key))
        else:
            yield (*path, key)


def _tree(paths: Iterable[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        node = root
        for key in path:
            node = node.setdefault(key, {})
    return root


def _entry_key(entry: Json) -> tuple[str, str, str]:
    return (str(entry["manager"]), str(entry.get("subresource", "")), str(entry["operation"]))


def _entry_paths(entry: Json) -> frozenset[Path]:
    return frozenset(_paths(entry["fieldsV1"]))


class Ownership:
    """Tells who owns what from one write to the next; what it has worked out of an object it remembers."""

    def __init__(self) -> None:
        self._parts = Recent(self._parts_of)
        self._leaves: dict[tuple[str, str], Recent[Fields]] = {}
        self._owned = Recent(_entry_paths)

    def record(
        self,
        old: Json | None,
        new: Json,
        *,
        manager: str,
        subresource: str,
        time: str,
        owners: list[Json] | None = None,
    ) -> list[Json]:
        """The managedFields of `new`, written over `old` by `manager` at RFC 3339 `time`.

        `owners` are those that the request itself says, None where it says nothing. Neither object is changed any more
        afterwards, but for what nobody owns.
        """
        changed, gone = _differences({} if old is None else self._parts.of(old), self._parts.of(new))
        me = (manager, subresource, "Update")
        kept: list[Json] = []
        mine: Json | None = None
        known = (old or {}).get("metadata", {}).get("managedFields") or []
        for entry in known if owners is None else owners:
            lost = changed | gone
            if _entry_key(entry) == me:
                mine, lost = entry, gone
                if changed:
                    continue
            rest = self._without(entry, lost)
            if rest is not None:
                kept.append(rest)
        if changed:
            kept.append(self._claimed(mine, changed, gone, new, me, time))
        return kept

    def _parts_of(self, item: Json) -> Parts:
        kind = str(item.get("kind", ""))
        parts = {k: v for k, v in item.items() if k not in {"apiVersion", "kind", "metadata"}}
        metadata = {k: v for k, v in item.get("metadata", {}).items() if k not in _UNTRACKED}
        found = {name: self._part(kind, name, part) for name, part in parts.items()}
        return {**found, "metadata": _leaves_of(kind, "metadata", metadata)}

    def _part(self, kind: str, name: str, part: Value) -> Fields:
        if not isinstance(part, dict):
            return _leaves_of(kind, name, part)
        known = self._leaves.get((kind, name))
        if known is None:
            known = self._leaves[kind, name] = Recent(partial(_leaves_of, kind, name))
        return known.of(part)

    def _without(self, entry: Json, lost: frozenset[Path]) -> Json | None:
        """The entry with what is left of its fields; None if nothing is."""
        owned = self._owned.of(entry)
        if not owned & lost:
            return entry
        rest = owned - lost
        if not any(p[-1] != "." for p in rest):
            return None
        return self._entry({**entry, "fieldsV1": _tree(rest)}, rest)

    def _claimed(  # noqa: PLR0917 - what a managedFields entry consists of
        self,
        mine: Json | None,
        changed: frozenset[Path],
        gone: frozenset[Path],
        new: Json,
        me: tuple[str, str, str],
        time: str,
    ) -> Json:
        """The writer's entry: what it owned and what it has changed."""
        owned: frozenset[Path] = frozenset() if mine is None else self._owned.of(mine)
        claimed = (owned - gone) | changed
        manager, subresource, operation = me
        entry = {
            "manager": manager,
            "operation": operation,
            "apiVersion": new["apiVersion"],
            **({} if subresource == "scale" else {"time": time}),
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(claimed) if mine is None or claimed != owned else mine["fieldsV1"],
        }
        return self._entry({**entry, "subresource": subresource} if subresource else entry, claimed)

    def _entry(self, entry: Json, owned: frozenset[Path]) -> Json:
        self._owned.keep(entry, owned)
        return entry


def _leaves_of(kind: str, name: str, part: Value) -> Fields:
    return dict(_leaves(kind, part, (name,), (f"f:{name}",)))


def _differences(before: Parts, after: Parts) -> tuple[frozenset[Path], frozenset[Path]]:
    """The fields that are new or have changed, and those that are gone."""
    changed: set[Path] = set()
    gone: set[Path] = set()
    for name in before.keys() | after.keys():
        old, new = before.get(name, {}), after.get(name, {})
        if old is not new:
            changed.update(p for p, v in new.items() if p not in old or old[p] != v)
            gone.update(old.keys() - new.keys())
    return frozenset(changed), frozenset(gone)
