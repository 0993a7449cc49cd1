"""managedFields: which manager last set which field, and what follows for whoever applies an object.

A manager's `time` is that of its last write that changed any field, as on the real server; a write to `/scale` is not
dated there either. Of an `Update` each map and list that is new counts as a field itself, also where the real server
counts only what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from logcaster_guard.sandbox.apiserver.errors import FieldConflict, apply_conflict
from logcaster_guard.sandbox.apiserver.fieldsets import (
    Fields,
    Path,
    applied_paths,
    leaves,
    members,
    merged,
    paths_of,
    told,
    tree_of,
    without,
)
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value
from logcaster_guard.sandbox.apiserver.recent import Recent

Parts = Mapping[str, Fields]
"""The fields of an object by the parts at its top: spec, status, metadata."""

APPLY = "Apply"
BEFORE_FIRST_APPLY = "before-first-apply"
_NOBODY = "apiVersion", "kind", "metadata"
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


def _entry_key(entry: Json) -> tuple[str, str, str]:
    return (str(entry["manager"]), str(entry.get("subresource", "")), str(entry["operation"]))


def _entry_paths(entry: Json) -> frozenset[Path]:
    return frozenset(paths_of(entry["fieldsV1"]))


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

    def applied(
        self, old: Json | None, config: Json, *, manager: str, time: str, force: bool
    ) -> tuple[Json, list[Json]]:
        """What becomes of `old` where `manager` applies `config` at RFC 3339 `time`, and its managedFields then.

        What the manager applied before and does not any more is gone, unless another manager owns it. Raises
        `ApiError` 409 where another one owns what would change, unless with `force`.
        """
        live: Json = old or {k: v for k, v in config.items() if k in _NOBODY}
        kind, me = str(config["kind"]), (manager, "", APPLY)
        mine = applied_paths(_all(self._parts_of(config)))
        entries = self._owners_before(live, time)
        others = {n: self._owned.of(e) for n, e in enumerate(entries) if _entry_key(e) != me}
        last = [self._owned.of(e) for e in entries if _entry_key(e) == me]
        held = members(mine).union(*(members(owned) for owned in others.values()))
        laid_over = merged(kind, live, config)
        gone = members(last[0]) - held - {("f:metadata",)} if last else frozenset()
        new = {**{k: live[k] for k in _NOBODY}, **(without(kind, laid_over, gone) or {})}
        changed, removed = _differences(self._parts.of(live), self._parts_of(new))
        conflicts = {n: owned & changed for n, owned in others.items() if owned & changed}
        if conflicts and not force:
            found = [FieldConflict(entries[n], told(p)) for n, paths in conflicts.items() for p in sorted(paths)]
            raise apply_conflict(found)
        kept = [self._without(entries[n], changed | removed) for n in others]
        owners = [entry for entry in kept if entry is not None]
        if mine:
            # Whoever only comes to own what is there already is not dated.
            before = next((e for e in entries if _entry_key(e) == me), None)
            at = time if changed or removed or old is None else (before or {}).get("time")
            owners.append(self._entry(_applier(manager, str(config["apiVersion"]), at, mine), mine))
        return new, sorted(owners, key=lambda e: (e["operation"] != APPLY, e.get("time", ""), e["manager"]))

    def _owners_before(self, live: Json, time: str) -> list[Json]:
        """Whoever owns the object's fields; where nobody ever did, they are those of one manager of that name."""
        known: list[Json] = live["metadata"].get("managedFields") or []
        if known or "uid" not in live["metadata"]:
            return known
        return self.record(None, live, manager=BEFORE_FIRST_APPLY, subresource="", time=time)

    def _parts_of(self, item: Json) -> Parts:
        kind = str(item.get("kind", ""))
        parts = {k: v for k, v in item.items() if k not in _NOBODY}
        metadata = {k: v for k, v in item.get("metadata", {}).items() if k not in _UNTRACKED}
        found = {name: self._part(kind, name, part) for name, part in parts.items()}
        return {**found, "metadata": _leaves_of(kind, "metadata", metadata) if metadata else {}}

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
        return self._entry({**entry, "fieldsV1": tree_of(rest)}, rest)

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
            "fieldsV1": tree_of(claimed) if mine is None or claimed != owned else mine["fieldsV1"],
        }
        return self._entry({**entry, "subresource": subresource} if subresource else entry, claimed)

    def _entry(self, entry: Json, owned: frozenset[Path]) -> Json:
        self._owned.keep(entry, owned)
        return entry


def _applier(manager: str, api_version: str, time: str | None, paths: frozenset[Path]) -> Json:
    """The entry of whoever has applied these fields."""
    dated = {} if time is None else {"time": time}
    entry = {"manager": manager, "operation": APPLY, "apiVersion": api_version, **dated}
    return {**entry, "fieldsType": "FieldsV1", "fieldsV1": tree_of(paths)}


def _all(parts: Parts) -> list[Path]:
    return [path for fields in parts.values() for path in fields]


def _leaves_of(kind: str, name: str, part: Value) -> Fields:
    return dict(leaves(kind, part, (name,), (f"f:{name}",)))


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
