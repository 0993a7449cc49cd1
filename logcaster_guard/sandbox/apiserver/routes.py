"""From an HTTP method and path to a verb on a resource, in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from logcaster_guard.sandbox.apiserver.errors import method_not_allowed, no_such_path
from logcaster_guard.sandbox.apiserver.resources import BY_PATH, NAMESPACES, Resource

_ON_OBJECT = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_SUBRESOURCE_VERBS = {
    "status": {"get", "update", "patch"},
    "scale": {"get", "update", "patch"},
    "binding": {"create"},
}


@dataclass(frozen=True, slots=True)
class Route:
    """What a request is about; the empty string stands for none."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def is_true(text: str | None) -> bool:
    """A boolean query parameter."""
    return (text or "").lower() in {"1", "true"}


def _split(parts: list[str]) -> tuple[str, list[str]]:
    """The namespace and what follows it."""
    inside = len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in {"status", "finalize"}
    return (parts[1], parts[2:]) if inside else ("", parts)


def parse(method: str, path: str, query: Mapping[str, str]) -> Route:
    """The route of a resource request; raises `ApiError` 404 or 405 for what this server does not have."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise no_such_path()
    namespace, rest = _split(rest)
    resource = BY_PATH.get((group, version, rest[0]))
    if resource is None or len(rest) > 3 or "" in rest:
        raise no_such_path()
    name, subresource = ([*rest[1:], "", ""])[:2]
    if (resource is NAMESPACES and namespace) or (resource.namespaced and name and not namespace):
        raise no_such_path()
    if subresource and subresource not in resource.subresources:
        raise no_such_path()
    verb = (_ON_OBJECT if name else _ON_COLLECTION).get(method, "")
    if verb in {"get", "list"} and is_true(query.get("watch")):
        verb = "watch"
    _check(verb, method, resource, name, subresource)
    if verb == "create" and not name and resource.namespaced and not namespace:
        raise method_not_allowed(f"{resource.qualified} are created in a namespace")
    return Route(verb, resource, namespace, name, subresource)


def _check(verb: str, method: str, resource: Resource, name: str, subresource: str) -> None:
    allowed = _SUBRESOURCE_VERBS.get(subresource)
    refused = verb not in allowed if allowed is not None else verb == "create" and bool(name)
    if not verb or refused or verb == "deletecollection":
        where = "/".join(p for p in (resource.qualified, name and "{name}", subresource) if p)
        raise method_not_allowed(f"the server does not allow this method on the requested resource: {method} {where}")
