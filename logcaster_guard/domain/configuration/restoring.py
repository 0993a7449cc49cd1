"""What it takes to give a ConfigMap or Secret back what it held: the writes, and what is somebody else's edit.

Pure. A field that was applied on the server's side goes back to the manager that had it, with its value: one forced
apply of the set that was saved, so that nobody else owns it afterwards. What is left then, or was never applied so, is
written as one JSON Patch for each manager that had it, with last-applied as it was: the next `kubectl apply` carries
nothing over and, on whichever side, meets no field of the guard's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from logcaster_guard.domain.configuration.content import DigestKey
from logcaster_guard.domain.field_owners import MANAGER, entries_of, owners_of
from logcaster_guard.domain.releases import annotation_patch, bound_to, owned, pointer
from logcaster_guard.domain.workload import LAST_APPLIED

Json = dict[str, Any]

DATA, BINARY = "data", "binaryData"

_DIGITS = 16
"""Of a digest that only tells one value of a key from another."""

_CLIENT_SIDE = "kubectl-client-side-apply"
_OWN = "guard.logcaster.io/"
_NEVER = "1"
"""A resourceVersion that no object has: an apply that names it creates, or is a conflict."""

Entries: TypeAlias = Mapping[tuple[str, str], str]
"""What an object holds, by field and key."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key that holds something else. `seen` is a digest of what it held when it was looked at, empty: nothing.

    `before` and `after` are bytes: what it holds, and what it is to hold; None where it is not there. Of a Secret they
    are 0, and the digest is made with the guard's key.
    """

    key: str
    binary: bool
    seen: str
    before: int | None
    after: int | None

    @property
    def mark(self) -> str:
        """The key with how it changes: `+` it comes, `-` it goes, `~` it holds something else."""
        return f"{'+' if self.before is None else '-' if self.after is None else '~'}{self.key}"


@dataclass(frozen=True, slots=True)
class Apply:
    """A server-side apply of `body` under the name of `manager`."""

    manager: str
    body: Json


@dataclass(frozen=True, slots=True)
class Patch:
    """A JSON Patch under the name of `manager`, valid at one resourceVersion only."""

    manager: str
    operations: Sequence[Json]


ConfigWrite: TypeAlias = Apply | Patch


def entries(raw: Mapping[str, Any] | None) -> Entries:
    """What an object holds, `binaryData` and a Secret's `data` as base64; nothing where it is not there."""
    return {
        (field, key): value or "" for field in (DATA, BINARY) for key, value in ((raw or {}).get(field) or {}).items()
    }


def changes(
    live: Mapping[str, Any] | None, saved: Mapping[str, Any], key: DigestKey | None
) -> tuple[KeyChange, ...]:  # fmt: skip
    """The keys that hold something else than what was saved, in order; of a Secret with the `key` of its digests."""
    now, then = entries(live), entries(saved)
    size = _size if key is None else _present
    differing = [place for place in sorted(now.keys() | then.keys()) if now.get(place) != then.get(place)]
    return tuple(
        KeyChange(name, field == BINARY, _digest(before, key), size(field, before), size(field, after))
        for field, name in differing
        for before, after in ((now.get((field, name)), then.get((field, name))),)
    )


def edited(
    live: Mapping[str, Any], saved: Mapping[str, Any], planned: Sequence[KeyChange], key: DigestKey | None
) -> tuple[str, ...]:
    """The keys that hold neither what was seen when it was planned nor what was saved: somebody else has set them."""
    now, then = entries(live), entries(saved)
    seen = {(BINARY if c.binary else DATA, c.key): c.seen for c in planned}
    others = (p for p in now.keys() | then.keys() if now.get(p) != then.get(p))
    return tuple(sorted(place[1] for place in others if _digest(now.get(place), key) != seen.get(place)))


def made_from(live: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether an object that holds a part of what was saved can be what a restore has begun to make."""
    makers = {str(entry.get("manager")) for entry in entries_of(saved)} | {_maker(saved)}
    return all(entry.get("manager") in {*makers, MANAGER} for entry in entries_of(live))


def writes_at_most(saved: Mapping[str, Any]) -> int:
    """How many writes bring an object back, at most."""
    return len(entries_of(saved)) + 1


def next_write(live: Json, saved: Json) -> ConfigWrite | None:
    """The next write that brings `live` to what was saved; None where it holds that.

    No key that was saved is ever gone in between: pods may start at any time.
    """
    if entries(live) == entries(saved):
        return None
    for manager, fields in _applied(saved):
        applied = owned(saved, fields)
        held = _held_by(live, manager)
        if entries(applied) != held and not _dropped(live, manager, applied) & entries(saved).keys():
            kept = [str(r.get("uid")) for r in live["metadata"].get("ownerReferences") or []]
            return Apply(manager, bound_to(live, _writable(applied, kept), "v1", str(saved["kind"])))
    return _patch(live, saved)


def _patch(live: Json, saved: Json) -> Patch:
    """What one manager had of what differs. Whoever had last-applied comes first, and takes away what is to go."""
    now, then = entries(live), entries(saved)
    first = _owner(saved, "metadata", "annotations", LAST_APPLIED)
    differing = {place for place in now.keys() | then.keys() if now.get(place) != then.get(place)}
    whose = {place: _owner(saved, *place) if place in then else first for place in differing}
    noted = annotation_patch(live, LAST_APPLIED, (saved["metadata"].get("annotations") or {}).get(LAST_APPLIED))
    manager = first if noted or first in whose.values() else min(whose.values())
    mine = [place for place in sorted(differing) if whose[place] == manager]
    fields = [_field_patch(live, saved, field, [key for f, key in mine if f == field]) for field in (DATA, BINARY)]
    bound = {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}
    return Patch(manager, [bound, *fields[0], *fields[1], *(noted if manager == first else [])])


def _owner(saved: Json, *path: str) -> str:
    """Who had this field, and is to have it again."""
    owners = [owner.manager for owner in owners_of(saved, path)]
    return owners[0] if owners else _maker(saved)


def _held_by(live: Json, manager: str) -> Entries:
    """What the manager has applied of what the object holds."""
    fields = dict(_applied(live)).get(manager)
    return {} if fields is None else entries(owned(live, fields))


def _dropped(live: Json, manager: str, applied: Json) -> Set[tuple[str, str]]:
    """The keys that go when the manager no longer applies them: nobody else owns them."""
    others = [
        entries(owned(live, e.get("fieldsV1") or {"f:metadata": {}}))
        for e in entries_of(live)
        if not _is_apply_of(e, manager)
    ]
    return _held_by(live, manager).keys() - entries(applied).keys() - set().union(*others)


def creation(saved: Json, owners: Collection[str]) -> Apply:
    """The apply that makes the object again, and is a conflict where somebody else has; `owners` are uids that live.

    A reference to an owner that is gone would have it collected at once.
    """
    manager, fields = next(iter(_applied(saved)), ("", {}))
    kept = owned(saved, fields) if manager else _whole(saved)
    made = {"name": saved["metadata"]["name"], "namespace": saved["metadata"]["namespace"], "resourceVersion": _NEVER}
    body = _writable(kept, owners)
    body |= {"apiVersion": "v1", "kind": saved["kind"], "metadata": {**body.get("metadata", {}), **made}}
    if "type" in saved:
        # That of a Secret can never be set again.
        body["type"] = saved["type"]
    return Apply(manager or _maker(saved), body)


def _applied(raw: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Who applied a part of what the object holds on the server's side, and the fields that are theirs."""
    return [
        (str(entry.get("manager")), entry.get("fieldsV1") or {})
        for entry in entries_of(raw)
        if entry.get("operation") == "Apply" and {f"f:{DATA}", f"f:{BINARY}"} & (entry.get("fieldsV1") or {}).keys()
    ]


def _is_apply_of(entry: Mapping[str, Any], manager: str) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (manager, "Apply")


def _maker(saved: Mapping[str, Any]) -> str:
    """The manager that is to own an object which nobody applied on the server's side."""
    own = [e for e in entries_of(saved) if f"f:{DATA}" in (e.get("fieldsV1") or {}) and e.get("manager") != MANAGER]
    if own:
        return str(max(own, key=lambda e: str(e.get("time") or "")).get("manager"))
    return _CLIENT_SIDE if LAST_APPLIED in (saved["metadata"].get("annotations") or {}) else MANAGER


def _whole(saved: Json) -> Json:
    """All of it but what the API server and the guard keep for themselves."""
    metadata = saved["metadata"]
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if not k.startswith(_OWN)}
    kept = {"labels": metadata.get("labels"), "annotations": notes, "ownerReferences": metadata.get("ownerReferences")}
    held = {k: saved[k] for k in (DATA, BINARY) if saved.get(k)}
    return {**held, "metadata": {k: v for k, v in kept.items() if v}}


def _writable(fields: Json, owners: Collection[str]) -> Json:
    """The fields of a set as they are applied, with no other references than those to `owners`."""
    metadata = {k: v for k, v in (fields.get("metadata") or {}).items() if k != "ownerReferences"}
    references = [r for r in (fields.get("metadata") or {}).get("ownerReferences") or [] if r.get("uid") in owners]
    return {**fields, "metadata": {**metadata, **({"ownerReferences": references} if references else {})}}


def _field_patch(live: Json, saved: Json, field: str, keys: Sequence[str]) -> list[Json]:
    """The operations that give these keys of a field what was saved."""
    now, then = live.get(field) or {}, saved.get(field) or {}
    back = {key: then[key] for key in keys if key in then}
    if back and not now:
        return [{"op": "add", "path": f"/{field}", "value": back}]
    gone: list[Json] = [{"op": "remove", "path": f"/{field}/{pointer(key)}"} for key in keys if key not in then]
    return [*gone, *({"op": "add", "path": f"/{field}/{pointer(key)}", "value": value} for key, value in back.items())]


def kept_by_string_data(*objects: Mapping[str, Any] | None) -> bool:
    """Whether somebody wrote a Secret by its `stringData` on the client's side.

    Then keys that are left out next time stay: kubectl looks for them in `data`. Nobody can mend that.
    """
    notes = [(raw or {}).get("metadata", {}).get("annotations") or {} for raw in objects]
    return any('"stringData"' in str(note.get(LAST_APPLIED, "")) for note in notes)


def _digest(value: str | None, key: DigestKey | None) -> str:
    if value is None:
        return ""
    made = hashlib.sha256(value.encode()).hexdigest() if key is None else key.digest(value.encode())
    return made[:_DIGITS]


def _present(_: str, value: str | None) -> int | None:
    return None if value is None else 0


def _size(field: str, value: str | None) -> int | None:
    if value is None or field == DATA:
        return None if value is None else len(value.encode())
    try:
        return len(base64.b64decode(value))
    except binascii.Error:
        return len(value)
