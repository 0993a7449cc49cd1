"""The arithmetic of a Deployment's rollout, pure: sizes, revisions, hashes, status and conditions.

The behaviour is that of Kubernetes' own Deployment controller (pkg/controller/deployment, 1.36).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from logcaster_guard.sandbox.apiserver.clock import instant, stamp
from logcaster_guard.sandbox.apiserver.jsontypes import Json, cloned
from logcaster_guard.sandbox.apiserver.objects import ALPHABET
from logcaster_guard.sandbox.apiserver.validation import amount

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"

_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        REVISION_HISTORY,
        DESIRED,
        MAXIMUM,
        "deprecated.deployment.rollback.to",
    }
)
_NO_LIMIT = 2**31 - 1
_HISTORY_CHARACTERS = 2000


def replicas(item: Json) -> int:
    """The wanted size of a Deployment or ReplicaSet."""
    return int(item["spec"]["replicas"])


def counted(item: Json, field: str) -> int:
    """A count of the status; absent is 0."""
    return int((item.get("status") or {}).get(field, 0))


def is_rolling(deployment: Json) -> bool:
    """Whether it replaces pods little by little."""
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def max_surge(deployment: Json) -> int:
    """Pods allowed above the wanted size; percentages are rounded up."""
    if not is_rolling(deployment):
        return 0
    return amount(deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"], replicas(deployment), up=True)


def max_unavailable(deployment: Json) -> int:
    """Pods allowed to be missing; percentages are rounded down, and 0 with no surge becomes 1."""
    wanted = replicas(deployment)
    if not is_rolling(deployment) or wanted == 0:
        return 0
    allowed = amount(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, up=False)
    if allowed == 0 and max_surge(deployment) == 0:
        allowed = 1
    return min(allowed, wanted)


def created(item: Json) -> tuple[str, str]:
    """Sort key: by creation, then name."""
    return (str(item["metadata"]["creationTimestamp"]), str(item["metadata"]["name"]))


def revision_of(item: Json) -> int:
    """The revision number; 0 where there is none that can be read."""
    text = str((item["metadata"].get("annotations") or {}).get(REVISION, ""))
    return int(text) if text.isdigit() else 0


def bare_template(template: Json) -> Json:
    """A pod template without its hash label."""
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.pop("labels", None) or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def template_hash(template: Json, collisions: int) -> str:
    """A name for the template out of letters that cannot spell words (FNV-1a, 32 bits)."""
    text = json.dumps(bare_template(template), sort_keys=True, separators=(",", ":"))
    value = 2166136261
    for byte in f"{text}{collisions or ''}".encode():
        value = ((value ^ byte) * 16777619) % 2**32
    return "".join(ALPHABET[ord(c) % len(ALPHABET)] for c in str(value))


def split(deployment: Json, sets: Sequence[Json]) -> tuple[Json | None, list[Json]]:
    """The ReplicaSet of the present template (the oldest, if several) and all others, oldest first."""
    wanted = bare_template(deployment["spec"]["template"])
    ordered = sorted(sets, key=created)
    new = next((s for s in ordered if bare_template(s["spec"]["template"]) == wanted), None)
    return new, [s for s in ordered if s is not new]


def active(sets: Iterable[Json | None]) -> list[Json]:
    """The ReplicaSets that want pods."""
    return [s for s in sets if s is not None and replicas(s) > 0]


def synced_annotations(deployment: Json, present: Json, revision: int) -> Json:
    """What the current ReplicaSet's annotations become: the Deployment's copied in, none taken out, its revision."""
    copied = {k: v for k, v in (deployment["metadata"].get("annotations") or {}).items() if k not in _NOT_COPIED}
    notes: Json = {**present, **copied}
    earlier = str(notes.get(REVISION, ""))
    if earlier and not earlier.isdigit():
        return notes
    if int(earlier or 0) < revision:
        notes[REVISION] = str(revision)
        if earlier:
            past = [n for n in str(notes.get(REVISION_HISTORY, "")).split(",") if n] + [earlier]
            while len(",".join(past)) > _HISTORY_CHARACTERS:
                past.pop(0)
            notes[REVISION_HISTORY] = ",".join(past)
    return notes


def size_annotations(deployment: Json) -> Json:
    """The sizes that a ReplicaSet remembers of its Deployment, to tell scaling from rolling out."""
    wanted = replicas(deployment)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + max_surge(deployment))}


def noted(item: Json, name: str) -> int | None:
    """A whole number of the annotations."""
    text = str((item["metadata"].get("annotations") or {}).get(name, ""))
    return int(text) if text.isdigit() else None


def is_scaling(deployment: Json, sets: Iterable[Json | None]) -> bool:
    """Whether the Deployment was scaled since its ReplicaSets were last sized."""
    known = [noted(s, DESIRED) for s in active(sets)]
    return any(n is not None and n != replicas(deployment) for n in known)


def new_size(deployment: Json, sets: Iterable[Json | None], present: int) -> int:
    """The size that the new ReplicaSet, now `present`, may grow to; `sets` are all, the new one included."""
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    room = wanted + max_surge(deployment) - sum(replicas(s) for s in sets if s is not None)
    return present if room <= 0 else present + min(room, wanted - present)


def is_saturated(deployment: Json, new: Json | None) -> bool:
    """Whether the new ReplicaSet holds every wanted pod, available."""
    wanted = replicas(deployment)
    return (
        new is not None
        and noted(new, DESIRED) == wanted
        and replicas(new) == wanted
        and counted(new, "availableReplicas") == wanted
    )


def proportions(deployment: Json, sets: Sequence[Json]) -> list[tuple[Json, int]]:
    """Sizes when a Deployment is scaled in mid-rollout: the change shared by size, what is left to the first."""
    wanted = replicas(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    change = allowed - sum(replicas(s) for s in sets)
    newest_first = sorted(sets, key=created, reverse=change > 0)
    ordered = sorted(newest_first, key=replicas, reverse=True) if change else list(sets)
    sizes, done = [], 0
    for item in ordered:
        share = _share(deployment, item, change - done) if change != done else 0
        done += share
        sizes.append(replicas(item) + share)
    if sizes and change:
        sizes[0] = max(0, sizes[0] + change - done)
    return list(zip(ordered, sizes, strict=True))


def _share(deployment: Json, item: Json, left: int) -> int:
    size, wanted = replicas(item), replicas(deployment)
    if wanted == 0:
        return max(-size, left)
    before = noted(item, MAXIMUM) or counted(deployment, "replicas")
    if not before:
        return 0
    fraction = int(size * (wanted + max_surge(deployment)) / before + 0.5) - size
    return min(fraction, left) if left > 0 else max(fraction, left)


def condition(status: Json, kind: str) -> Json | None:
    """The status condition of that type."""
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), None)


def set_condition(status: Json, kind: str, value: str, *, reason: str, message: str, now: datetime) -> None:
    """Put a condition in place, unless status and reason are as they were; the transition time marks status changes."""
    present = condition(status, kind)
    if present is not None and (present["status"], present["reason"]) == (value, reason):
        return
    same = present is not None and present["status"] == value
    drop_condition(status, kind)
    new = {
        "type": kind,
        "status": value,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": present["lastTransitionTime"] if present is not None and same else stamp(now),
        "reason": reason,
        "message": message,
    }
    status["conditions"] = [*(status.get("conditions") or []), new]


def drop_condition(status: Json, kind: str) -> None:
    """Take a condition out."""
    status["conditions"] = [c for c in status.get("conditions") or [] if c["type"] != kind]


def calculated_status(deployment: Json, new: Json | None, sets: Iterable[Json | None], now: datetime) -> Json:
    """The Deployment's status as its ReplicaSets' statuses add up, with the Available condition."""
    known = [s for s in sets if s is not None]
    available = sum(counted(s, "availableReplicas") for s in known)
    counts = {
        "observedGeneration": int(deployment["metadata"]["generation"]),
        "replicas": sum(counted(s, "replicas") for s in known),
        "updatedReplicas": counted(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(counted(s, "readyReplicas") for s in known),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(map(replicas, known)) - available),
        "collisionCount": counted(deployment, "collisionCount"),
    }
    status: Json = {k: v for k, v in counts.items() if v}
    status["terminatingReplicas"] = sum(counted(s, "terminatingReplicas") for s in known)
    status["conditions"] = cloned((deployment.get("status") or {}).get("conditions") or [])
    if available >= replicas(deployment) - max_unavailable(deployment):
        message = "Deployment has minimum availability."
        set_condition(status, "Available", "True", reason="MinimumReplicasAvailable", message=message, now=now)
    else:
        message = "Deployment does not have minimum availability."
        set_condition(status, "Available", "False", reason="MinimumReplicasUnavailable", message=message, now=now)
    return status


def is_complete(deployment: Json, status: Json) -> bool:
    """Whether every wanted pod is updated and available and no other is left."""
    wanted = replicas(deployment)
    counts = [status.get(f, 0) for f in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [wanted] * 3 and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]


def has_deadline(deployment: Json) -> bool:
    """Whether the Deployment is told to give a rollout up."""
    return bool(deployment["spec"].get("progressDeadlineSeconds", _NO_LIMIT) != _NO_LIMIT)


def deadline(deployment: Json, status: Json) -> datetime | None:
    """When the present rollout times out unless something moves; None where nothing is to be awaited."""
    progressing = condition(status, "Progressing")
    if not has_deadline(deployment) or progressing is None or is_complete(deployment, status):
        return None
    if progressing["reason"] in {"NewReplicaSetAvailable", "ProgressDeadlineExceeded"}:
        return None
    updated = instant(progressing["lastUpdateTime"])
    return None if updated is None else updated + timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])


def _moved(old: Json, new: Json) -> bool:
    def outdated(status: Json) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grown = any(new.get(f, 0) > old.get(f, 0) for f in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return grown or outdated(new) < outdated(old)


def rollout_status(deployment: Json, new: Json | None, sets: Sequence[Json | None], now: datetime) -> Json:
    """The status during a rollout: counts, Available, Progressing, ReplicaFailure."""
    status = calculated_status(deployment, new, sets, now)
    if not has_deadline(deployment):
        drop_condition(status, "Progressing")
    else:
        _set_progress(deployment, new, status, now)
    failures = [c for s in [new, *sets] if s is not None for c in s["status"].get("conditions") or []]
    failure = next((c for c in failures if c["type"] == "ReplicaFailure"), None)
    if failure is None:
        drop_condition(status, "ReplicaFailure")
    else:
        set_condition(
            status, "ReplicaFailure", failure["status"], reason=failure["reason"], message=failure["message"], now=now
        )
    return status


def _set_progress(deployment: Json, new: Json | None, status: Json, now: datetime) -> None:
    old = deployment.get("status") or {}
    present = condition(old, "Progressing")
    done_before = present is not None and present["reason"] == "NewReplicaSetAvailable"
    if done_before and status.get("replicas", 0) == status.get("updatedReplicas", 0):
        return
    subject = f'Deployment "{deployment["metadata"]["name"]}"'
    if new is not None:
        subject = f'ReplicaSet "{new["metadata"]["name"]}"'
    ends = deadline(deployment, status)
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        set_condition(status, "Progressing", "True", reason="NewReplicaSetAvailable", message=message, now=now)
    elif _moved(old, status):
        drop_condition(status, "Progressing")
        message = f"{subject} is progressing."
        set_condition(status, "Progressing", "True", reason="ReplicaSetUpdated", message=message, now=now)
        if present is not None and present["status"] == "True":
            status["conditions"][-1]["lastTransitionTime"] = present["lastTransitionTime"]
    elif ends is not None and ends < now:
        message = f"{subject} has timed out progressing."
        set_condition(status, "Progressing", "False", reason="ProgressDeadlineExceeded", message=message, now=now)


def history_limit(deployment: Json) -> int | None:
    """How many old ReplicaSets are kept; None for all."""
    limit = deployment["spec"].get("revisionHistoryLimit", _NO_LIMIT)
    return None if limit == _NO_LIMIT else int(limit)
