"""Owner references between controllers and what they control."""

from __future__ import annotations

from logcaster_guard.sandbox.apiserver.jsontypes import Json


def controller_of(item: Json) -> Json | None:
    """The owner reference that is marked as controller."""
    for owner in item["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            found: Json = owner
            return found
    return None


def owner_reference(owner: Json) -> Json:
    """What marks a dependent as controlled by `owner`."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def adopt(metadata: Json, owner: Json) -> None:
    """Make `owner` the controller in a dependent's metadata."""
    metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or []), owner_reference(owner)]


def release(metadata: Json, uid: str) -> None:
    """Take the owner of that UID out of a dependent's metadata."""
    metadata["ownerReferences"] = [o for o in metadata.get("ownerReferences") or [] if o["uid"] != uid]
    if not metadata["ownerReferences"]:
        del metadata["ownerReferences"]
