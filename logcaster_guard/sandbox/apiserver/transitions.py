"""From one state of an object to the next: what a write may not change, and what it counts for."""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.errors import Cause, bad_request, invalid
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource


def check_place(metadata: Json, place: Json) -> None:
    """Raise `ApiError` 400 where the object says that it is another one than that at `place`."""
    for field in ("name", "namespace"):
        if metadata.get(field, place.get(field)) != place.get(field):
            raise bad_request(
                f"the {field} of the object ({metadata[field]}) does not match the {field} on the URL "
                f"({place.get(field)})"
            )


def check_uid(resource: Resource, old: Json, item: Json) -> None:
    """Raise `ApiError` 422 where a patch or an apply names another UID."""
    uid = item["metadata"].get("uid", old["metadata"]["uid"])
    if uid != old["metadata"]["uid"]:
        message = f'Invalid value: "{uid}": field is immutable'
        raise invalid(resource, old["metadata"]["name"], [Cause("metadata.uid", "FieldValueInvalid", message)])


def undated(item: Json) -> Json:
    """The object without the instants at which its owners wrote."""
    owners = item["metadata"].get("managedFields") or []
    undated = [{k: v for k, v in entry.items() if k != "time"} for entry in owners]
    by_owner = sorted(undated, key=lambda e: (e["operation"], e["manager"], e.get("subresource", "")))
    return {**item, "metadata": {**item["metadata"], "managedFields": by_owner}}


def status_only(resource: Resource, old: Json, item: Json) -> Json:
    """The old object with the new status, and the metadata that the resource lets a status write change."""
    metadata = item["metadata"]
    frozen = {"Deployment": "labels", "Pod": "ownerReferences"}.get(resource.kind)
    if frozen is not None:
        metadata.pop(frozen, None)
        if frozen in old["metadata"]:
            metadata[frozen] = old["metadata"][frozen]
    kept = {k: v for k, v in old.items() if k not in {"metadata", "status"}}
    return {**kept, "metadata": metadata, "status": item.get("status") or {}}


def all_but_status(old: Json, item: Json) -> Json:
    """The new object with the old status."""
    kept = {k: v for k, v in item.items() if k != "status"}
    return {**kept, "status": old["status"]} if "status" in old else kept


def advances(resource: Resource, old: Json, item: Json) -> bool:
    """Whether the write is a new generation: a change of the spec, or of a Deployment's annotations."""
    if resource.kind == "EndpointSlice":
        return any(old.get(k) != item.get(k) for k in ("endpoints", "ports", "addressType"))
    annotations = resource.kind == "Deployment" and old["metadata"].get("annotations") != item["metadata"].get(
        "annotations"
    )
    return annotations or old.get("spec") != item.get("spec")
