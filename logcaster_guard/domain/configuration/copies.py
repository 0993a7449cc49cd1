"""Immutable copies of ConfigMaps and Secrets, for pods that must not read what stands under the shared names.

Pure. A copy has a name of its own for each run and content, no owner, and nothing that a tool which deploys knows its
objects by. What refers to it and what leaves is told by raw objects of its namespace.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final, TypeAlias

from logcaster_guard.domain.configuration.references import ConfigKind
from logcaster_guard.domain.configuration.restoring import BINARY, DATA, entries

Json = dict[str, Any]

Copies: TypeAlias = Mapping[tuple[ConfigKind, str], str]
"""What copies are called, by the kind and name of what they were made of."""

COPY_LABEL: Final = "guard.logcaster.io/config-copy"
"""Carried by copies alone."""

_LONGEST = 253
_DIGITS = 16


def copy_name(name: str, manifest: str, seed: str) -> str:
    """What the copy of the object `name` is called, made as what is kept in the place `manifest` shows it.

    `seed` is another one for each run, so that nobody takes away what somebody else's pods start with.
    """
    ending = f"-{hashlib.sha256(f'{seed}/{name}/{manifest}'.encode()).hexdigest()[:_DIGITS]}"
    return name[: _LONGEST - len(ending)].rstrip("-.") + ending


def held(saved: Mapping[str, Any]) -> Json:
    """What a copy of it holds, a Secret with its type."""
    kept = {field: dict(saved[field]) for field in (DATA, BINARY) if saved.get(field)}
    return {**kept, **({"type": saved["type"]} if "type" in saved else {}), "immutable": True}


def is_copy(raw: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether an object holds what was saved, for good."""
    return bool(raw.get("immutable")) and entries(raw) == entries(saved) and raw.get("type") == saved.get("type")


def referring(template: Mapping[str, Any], copies: Copies) -> Json:
    """The pod template with each reference to what is in `copies` changed to the name that stands there."""
    found = copy.deepcopy(dict(template))
    for kind, reference, field in _references(found.get("spec") or {}):
        reference[field] = copies.get((kind, reference[field]), reference[field])
    return found


_Reference: TypeAlias = tuple[ConfigKind, Json, str]
"""The kind that is referred to, the part that does, and the field of it that holds the name."""


def _references(spec: Mapping[str, Any]) -> Iterator[_Reference]:
    """Each part of a pod's spec that names a ConfigMap or Secret which its containers read."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            for variable in container.get("env") or []:
                yield from _parts(variable.get("valueFrom"), "configMapKeyRef", "secretKeyRef")
            for source in container.get("envFrom") or []:
                yield from _parts(source, "configMapRef", "secretRef")
    for volume in spec.get("volumes") or []:
        yield from _parts(volume, "configMap", "secret", named="secretName")
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from _parts(source, "configMap", "secret")


def _parts(place: Json | None, config_map: str, secret: str, named: str = "name") -> Iterator[_Reference]:
    for kind, field, name in ((ConfigKind.CONFIG_MAP, config_map, "name"), (ConfigKind.SECRET, secret, named)):
        part = (place or {}).get(field)
        if part and part.get(name):
            yield kind, part, name


def users(copied: tuple[ConfigKind, str], objects: Mapping[str, Sequence[Json]]) -> Sequence[tuple[str, bool]]:
    """What of these raw objects, by kind, refers to the object `copied`, and whether it is on its way out by itself.

    It is where it is being deleted, and where what controls it is that, or is of these kinds and not there any more.
    """
    listed = {str(raw["metadata"].get("uid")): raw for items in objects.values() for raw in items}
    return [
        (f"{kind} {raw['metadata']['name']}", _leaves(raw, listed, objects.keys()))
        for kind, items in objects.items()
        for raw in items
        if _refers(raw, copied)
    ]


def _refers(raw: Json, copied: tuple[ConfigKind, str]) -> bool:
    spec = raw.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {} if "template" in spec else spec
    return any((kind, part[name]) == copied for kind, part, name in _references(pod))


def _leaves(raw: Json, listed: Mapping[str, Json], kinds: Set[str]) -> bool:
    metadata = raw["metadata"]
    if "deletionTimestamp" in metadata:
        return True
    references = metadata.get("ownerReferences") or []
    controllers = [str(o.get("uid")) for o in references if o.get("controller") and o.get("kind") in kinds]
    return any(uid not in listed or _leaves(listed[uid], listed, kinds) for uid in controllers)
