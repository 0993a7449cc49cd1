"""Strategic merge patch: lists of objects merge by the key that their field has in the Kubernetes API.

Which lists merge and by what is read from the `patchStrategy` and `patchMergeKey` tags of the API's types; every
other list is replaced whole.
"""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.errors import bad_request
from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value, cloned

_KEYS = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "hostIPs": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_PRIMITIVE_LISTS = frozenset({"finalizers"})
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"
_PATCH = "$patch"


def merge_key(kind: str, path: tuple[str, ...]) -> str | None:
    """The key by which the list at `path` of a `kind` merges; None if it is replaced whole.

    `path` holds the field names from the root; list items add nothing to it.
    """
    if path[-1] == "ports":
        if kind == "Service" and path == ("spec", "ports"):
            return "port"
        return "containerPort" if any("ontainers" in name for name in path[-2:-1]) else None
    return _KEYS.get(path[-1])


def strategic_merge(kind: str, document: Json, patch: Value) -> Json:
    """The document after a strategic merge patch; raises `ApiError` 400 where the patch is malformed."""
    if not isinstance(patch, dict):
        raise bad_request("strategic merge patch: the patch must be an object")
    return _merge_object(kind, (), document, patch)


def _merge_object(kind: str, path: tuple[str, ...], document: Json, patch: Json) -> Json:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _clean(kind, path, {k: v for k, v in patch.items() if k != _PATCH})
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise bad_request(f"strategic merge patch: unknown directive {directive!r}")
    retained = patch.get(_RETAIN)
    merged = {k: v for k, v in document.items() if retained is None or k in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_PRIMITIVES):
            name = key.removeprefix(_DELETE_PRIMITIVES)
            merged[name] = [v for v in merged.get(name) or [] if v not in value]
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(kind, (*path, key), merged, value)
    for key, value in patch.items():
        if key.startswith(_ORDER):
            name = key.removeprefix(_ORDER)
            merged[name] = _ordered(kind, (*path, name), merged.get(name) or [], value)
    return merged


def _merge_field(kind: str, path: tuple[str, ...], merged: Json, value: Value) -> None:
    name = path[-1]
    present = merged.get(name)
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, dict):
        merged[name] = _merge_object(kind, path, present if isinstance(present, dict) else {}, value)
    elif isinstance(value, list):
        merged[name] = _merge_list(kind, path, present if isinstance(present, list) else [], value)
    else:
        merged[name] = value


def _merge_list(kind: str, path: tuple[str, ...], present: list[Value], patch: list[Value]) -> list[Value]:
    if path[-1] in _PRIMITIVE_LISTS:
        return [*present, *(v for v in patch if v not in present)]
    key = merge_key(kind, path)
    if key is None:
        copied: list[Value] = cloned(patch)
        return copied
    if any(not isinstance(p, dict) for p in patch):
        raise bad_request(f"strategic merge patch: {'.'.join(path)} must be a list of objects")
    if any(p.get(_PATCH) == "replace" for p in patch):
        return [_clean(kind, path, p) for p in patch if p.get(_PATCH) != "replace" or set(p) != {_PATCH}]
    merged = list(present)
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item!r} does not contain declared merge key: {key}")
        at = next((i for i, v in enumerate(merged) if v.get(key) == item[key]), None)
        if item.get(_PATCH) == "delete":
            merged = [v for v in merged if v.get(key) != item[key]]
        elif at is None:
            merged.append(_clean(kind, path, item))
        else:
            merged[at] = _merge_object(kind, path, merged[at], item)
    return merged


def _ordered(kind: str, path: tuple[str, ...], items: list[Value], order: list[Value]) -> list[Value]:
    """Items in the patch's order; one that the order does not name keeps its place after its predecessor."""
    key = merge_key(kind, path)

    def place(item: Value) -> Value:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [place(o) for o in order]
    named = sorted((i for i in items if place(i) in wanted), key=lambda i: wanted.index(place(i)))
    result = list(named)
    for at, item in enumerate(items):
        if place(item) in wanted:
            continue
        before = items[at - 1] if at else None
        result.insert(result.index(before) + 1 if before in result else 0, item)
    return result


def _clean(kind: str, path: tuple[str, ...], value: Json) -> Json:
    """A new object out of a patch: its directives and nulls taken out."""
    return _merge_object(kind, path, {}, {k: v for k, v in value.items() if k not in {_PATCH, _RETAIN}})
