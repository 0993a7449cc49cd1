"""What the request to delete an object asks for, and how that is written on the object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.sandbox.apiserver.clock import instant, stamp
from logcaster_guard.sandbox.apiserver.errors import ApiError, conflict
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.resources import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a deletion asks for: grace in seconds, propagation (Foreground, Background, Orphan), preconditions."""

    grace: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None


def check_preconditions(resource: Resource, old: Json, options: DeleteOptions) -> None:
    """Raise `ApiError` 409 unless the object is still the one that was meant."""
    metadata = old["metadata"]
    if options.uid is not None and options.uid != metadata["uid"]:
        cause = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        cause = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have been modified"
        )
    else:
        return
    raise conflict(resource, metadata["name"], cause)


def set_propagation(metadata: Json, propagation: str | None) -> None:
    """Put the finalizer of this propagation policy in the place of any other; raises `ApiError` 422 for no policy."""
    if propagation is None:
        return
    wanted = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN], "Background": []}.get(propagation)
    if wanted is None:
        raise ApiError(
            422,
            "Invalid",
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "{propagation}": '
            "must be one of Foreground, Background, Orphan",
        )
    kept = [f for f in metadata.get("finalizers") or [] if f not in {FOREGROUND, ORPHAN}]
    metadata["finalizers"] = kept + wanted
    if not metadata["finalizers"]:
        del metadata["finalizers"]


def grace_of(resource: Resource, old: Json, asked: int | None) -> int:
    """Seconds that the object still has: only a pod on a node has any, and a second deletion never lengthens them."""
    if resource.kind != "Pod" or not old["spec"].get("nodeName"):
        return 0
    if old.get("status", {}).get("phase") in {"Failed", "Succeeded"}:
        return 0
    grace = int(old["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked
    grace = grace if grace >= 0 else 1
    if "deletionTimestamp" in old["metadata"]:
        present = int(old["metadata"].get("deletionGracePeriodSeconds", 0))
        return present if asked is None else min(grace, present)
    return grace


def mark(metadata: Json, grace: int, now: datetime) -> None:
    """Set when the object is to be gone, or bring that forward."""
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = stamp(now + timedelta(seconds=grace))
        if "generation" in metadata:
            metadata["generation"] += 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        ends = instant(metadata["deletionTimestamp"]) or now
        ends += timedelta(seconds=grace - metadata["deletionGracePeriodSeconds"])
        metadata["deletionTimestamp"] = stamp(ends)
    metadata["deletionGracePeriodSeconds"] = grace
