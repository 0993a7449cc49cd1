"""What the server says of itself: versions, groups, resources."""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import GROUPS, Resource

_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-sandbox",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "",
    "goVersion": "",
    "compiler": "",
    "platform": "",
}


def _group(name: str) -> Json:
    versions = [{"groupVersion": f"{g}/{v}", "version": v} for g, v in GROUPS if g == name]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _entries(resource: Resource) -> list[Json]:
    main = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
        "shortNames": list(resource.short),
    }
    found = [main]
    for name in sorted(resource.subresources):
        entry = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": {"scale": "Scale", "binding": "Binding"}.get(name, resource.kind),
            "verbs": ["create"] if name == "binding" else ["get", "patch", "update"],
        }
        if name == "scale":
            entry |= {"group": "autoscaling", "version": "v1"}
        found.append(entry)
    return found


def document(path: str) -> Json | None:
    """The discovery document at a path; None where there is none."""
    parts = path.strip("/").split("/")
    groups = list(dict.fromkeys(g for g, _ in GROUPS if g))
    match parts:
        case ["version"]:
            return dict(_VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in groups]}
        case ["apis", name] if name in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}
        case ["api", version] if ("", version) in GROUPS:
            key = ("", version)
        case ["apis", name, version] if (name, version) in GROUPS:
            key = (name, version)
        case _:
            return None
    listed = [entry for resource in GROUPS[key] for entry in _entries(resource)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "/".join(p for p in key if p),
        "resources": listed,
    }
