"""Objects as sets of fields, in the way that server-side apply and `managedFields` see them (structured-merge-diff).

A path names a field by the elements of `fieldsV1`: `f:<name>` in an object, `k:{…}` an item of a list by its keys,
`v:…` a member of a set. A last `.` stands for the map, list or item itself, without what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from logcaster_guard.sandbox.apiserver.jsontypes import Json, Value, cloned

Path = tuple[str, ...]
Fields = Mapping[Path, Value]

_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "hostIPs": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""What tells the items of a list apart: `x-kubernetes-list-map-keys` of the API's schema. Other lists are one field."""

_CONTAINER_PORTS, _SERVICE_PORTS = ("containerPort", "protocol"), ("port", "protocol")
_KEY_DEFAULTS = {"protocol": "TCP"}
_SETS = frozenset({"finalizers"})
_ATOMIC_MAPS = frozenset(
    {
        "configMapKeyRef",
        "fieldRef",
        "labelSelector",
        "matchLabels",
        "nodeSelector",
        "resourceFieldRef",
        "secretKeyRef",
        "selector",
    }
)
_ATOMIC_ITEMS = frozenset({"imagePullSecrets", "ownerReferences"})
"""Lists with keys whose items are one field each."""


def _keys_of(kind: str, names: Path) -> tuple[str, ...]:
    """The keys of the list at `names`, field names from the root; empty where it is one field."""
    if names[-1] != "ports":
        return _KEYS.get(names[-1], ())
    if kind == "Service":
        return _SERVICE_PORTS if names == ("spec", "ports") else ()
    return _CONTAINER_PORTS if any("ontainers" in name for name in names[-2:-1]) else ()


@lru_cache(maxsize=4096)
def _element(keys: tuple[str, ...], values: tuple[Value, ...], _: tuple[type, ...]) -> str:
    return "k:" + json.dumps(dict(zip(keys, values, strict=True)), separators=(",", ":"))


def _elements(keys: tuple[str, ...], items: list[Value]) -> list[str] | None:
    """The path elements of a list's items; None where one lacks a key or two are told apart by nothing."""
    found: list[str] = []
    for item in items:
        if not isinstance(item, dict):
            return None
        values = tuple(item.get(key, _KEY_DEFAULTS.get(key)) for key in keys)
        if not all(isinstance(value, str | int) for value in values):
            return None
        # Equal values of different types, such as 1 and True, are different keys.
        found.append(_element(keys, values, tuple(map(type, values))))
    return found if len(set(found)) == len(found) else None


def _member(value: Value) -> str:
    return "v:" + json.dumps(value, separators=(",", ":"))


def leaves(kind: str, value: Value, names: Path, path: Path) -> Iterator[tuple[Path, Value]]:
    """Every field of the `value` that stands at `names` in an object of that kind, with what it holds."""
    if isinstance(value, dict) and value and not (names and names[-1] in _ATOMIC_MAPS):
        if path:
            yield (*path, "."), None
        for key, inner in value.items():
            yield from leaves(kind, inner, (*names, key), (*path, f"f:{key}"))
        return
    if isinstance(value, list) and value and names[-1] in _SETS:
        yield (*path, "."), None
        yield from (((*path, _member(v)), None) for v in value)
        return
    keys = _keys_of(kind, names) if isinstance(value, list) and value else ()
    elements = _elements(keys, value) if keys else None
    if elements is None:
        yield path, value
        return
    yield (*path, "."), None
    for element, item in zip(elements, value, strict=True):
        if names[-1] in _ATOMIC_ITEMS:
            yield (*path, element), item
        else:
            yield from leaves(kind, item, names, (*path, element))


def applied_paths(fields: Iterable[Path]) -> frozenset[Path]:
    """Those of an object's fields that whoever applies the object owns: of maps and lists only what is in them."""
    return frozenset(p for p in fields if p[-1] != "." or p[-2].startswith("k:"))


def members(paths: Iterable[Path]) -> frozenset[Path]:
    """What a set of fields holds on to: the fields, and each named field that they are in."""
    found: set[Path] = set()
    for path in paths:
        node = path[:-1] if path[-1] == "." else path
        found.add(node)
        found.update(node[:end] for end in range(1, len(node)) if node[end - 1].startswith("f:"))
    return frozenset(found)


def paths_of(tree: Json, path: Path = ()) -> Iterator[Path]:
    """The paths of a `fieldsV1` tree."""
    for key, inner in tree.items():
        if key != "." and inner:
            yield from paths_of(inner, (*path, key))
        else:
            yield (*path, key)


def tree_of(paths: Iterable[Path]) -> Json:
    """The `fieldsV1` tree of these paths."""
    root: Json = {}
    for path in sorted(paths):
        node = root
        for key in path:
            node = node.setdefault(key, {})
    return root


def told(path: Path) -> str:
    """A path as conflicts name it: `.spec.template.spec.containers[name="app"].image`."""
    parts: list[str] = []
    for element in path:
        what, _, rest = element.partition(":")
        if what == "k":
            keys = ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(rest).items())
            parts.append(f"[{keys}]")
        elif what == "v":
            parts.append(f"[={rest}]")
        elif element != ".":
            parts.append(f".{rest}")
    return "".join(parts)


def merged(kind: str, live: Value, config: Value, names: Path = ()) -> Value:
    """What is there with the configuration laid over it."""
    if isinstance(config, dict) and isinstance(live, dict) and not (names and names[-1] in _ATOMIC_MAPS):
        changed = {k: merged(kind, live[k], v, (*names, k)) if k in live else cloned(v) for k, v in config.items()}
        return {**live, **changed}
    if isinstance(config, list) and isinstance(live, list):
        if names[-1] in _SETS:
            return [*live, *(v for v in config if v not in live)]
        keys = _keys_of(kind, names)
        before, wanted = (_elements(keys, items) if keys else None for items in (live, config))
        if before is not None and wanted is not None:
            known = dict(zip(before, live, strict=True))
            atomic = names[-1] in _ATOMIC_ITEMS
            made = {
                element: item if atomic or element not in known else merged(kind, known[element], item, names)
                for element, item in zip(wanted, config, strict=True)
            }
            return [(known | made)[element] for element in _interleaved(before, wanted)]
    return cloned(config)


def _interleaved(before: list[str], wanted: list[str]) -> list[str]:
    """The items in the order of the configuration; one that it does not name stays behind its predecessor."""
    found = list(wanted)
    for at, element in enumerate(before):
        if element not in found:
            found.insert(found.index(before[at - 1]) + 1 if at else 0, element)
    return found


def without(kind: str, value: Value, gone: Collection[Path], names: Path = (), path: Path = ()) -> Value:
    """`value` without the fields in `gone`; None where nothing is left."""
    inside = [p for p in gone if p[: len(path)] == path]
    if not inside:
        return value
    if isinstance(value, dict):
        rest = {}
        for key, inner in value.items():
            at = (*path, f"f:{key}")
            if at not in inside:
                rest[key] = without(kind, inner, inside, (*names, key), at)
        return {k: v for k, v in rest.items() if v is not None} or None
    if not isinstance(value, list):
        return value
    if names[-1] in _SETS:
        return [v for v in value if (*path, _member(v)) not in inside] or None
    keys = _keys_of(kind, names)
    elements = (_elements(keys, value) if keys else None) or []
    left = [
        without(kind, item, inside, names, (*path, element))
        for element, item in zip(elements, value, strict=True)
        if (*path, element) not in inside
    ]
    return [item for item in left if item is not None] or None
