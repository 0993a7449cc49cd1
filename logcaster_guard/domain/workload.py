"""A Deployment, StatefulSet or DaemonSet and its revisions as the guard sees them: raw JSON in, typed values out.

A *release* is a pod template without what changes when nothing was released: `pod-template-hash`, annotations
(`kubectl rollout restart` writes one), `creationTimestamp` and the guard's own container. Its SHA-256 is the key of the
ledger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from logcaster_guard.domain.field_owners import entries_of, owns_release
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.sidecar import is_guard, without_guard
from logcaster_guard.domain.step_observations import DaemonsUpdated, RolloutProgress

Json = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
CHANGE_CAUSE = "kubernetes.io/change-cause"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
HASH_LABEL = "pod-template-hash"
REVISION_LABEL = "controller-revision-hash"
STATEFUL_SET = "StatefulSet"
DAEMON_SET = "DaemonSet"
LONGEST_REFUSAL = 300


def release_of(template: Mapping[str, Any]) -> Json:
    """The pod template without its hash label, annotations, creation time and the guard in it."""
    template = without_guard(template)
    metadata = {
        k: v for k, v in (template.get("metadata") or {}).items() if k not in {"annotations", "creationTimestamp"}
    }
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    return {**template, "metadata": metadata}


def restorable(template: Mapping[str, Any]) -> Json:
    """The pod template as it is kept: the release, with its annotations."""
    kept = release_of(template)
    annotations = (template.get("metadata") or {}).get("annotations")
    if annotations:
        kept["metadata"]["annotations"] = dict(annotations)
    return kept


def annotations_of(template: Mapping[str, Any]) -> Mapping[str, str]:
    """The pod template's annotations: a change of them replaces all pods, and is no new release."""
    return dict((template.get("metadata") or {}).get("annotations") or {})


def template_hash(template: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the release that this pod template carries."""
    canonical = json.dumps(release_of(template), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def images_of(template: Mapping[str, Any]) -> tuple[str, ...]:
    """The containers' images, whole (a digest or a registry port is part of the name); the guard's own left out."""
    containers = (template.get("spec") or {}).get("containers") or []
    return tuple(str(c.get("image", "")) for c in containers if not is_guard(c))


def instant(text: str | None) -> datetime | None:
    """An RFC 3339 timestamp of the API as a UTC-aware instant."""
    return None if not text else datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet at one resourceVersion."""

    raw: Json

    @property
    def kind(self) -> str:
        """What it is: a Deployment where the object does not say."""
        return str(self.raw.get("kind") or "Deployment")

    @property
    def _metadata(self) -> Json:
        return self.raw["metadata"]  # type: ignore[no-any-return] # raw JSON

    @property
    def _status(self) -> Json:
        return self.raw.get("status") or {}

    @property
    def namespace(self) -> str:
        """The namespace."""
        return str(self._metadata["namespace"])

    @property
    def key(self) -> str:
        """`shop/web`."""
        return f"{self.namespace}/{self.name}"

    @property
    def full_name(self) -> str:
        """`Deployment shop/web`."""
        return f"{self.kind} {self.key}"

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return str(self._metadata["name"])

    @property
    def uid(self) -> str:
        """Tells a Deployment from a later one of the same name."""
        return str(self._metadata["uid"])

    @property
    def resource_version(self) -> str:
        """The version that a write must name."""
        return str(self._metadata["resourceVersion"])

    @property
    def generation(self) -> int:
        """Counts changes of the spec and of the annotations."""
        return int(self._metadata.get("generation", 0))

    @property
    def annotations(self) -> Mapping[str, str]:
        """The Deployment's own annotations."""
        return self._metadata.get("annotations") or {}

    @property
    def template(self) -> Json:
        """The pod template."""
        return self.raw["spec"]["template"]  # type: ignore[no-any-return] # raw JSON

    @property
    def hash(self) -> str:
        """The release's key in the ledger."""
        return template_hash(self.template)

    @property
    def images(self) -> tuple[str, ...]:
        """The containers' images."""
        return images_of(self.template)

    @property
    def spec_digest(self) -> str:
        """SHA-256 (hex) of the whole spec: the same as long as nothing but metadata or status changed."""
        canonical = json.dumps(self.raw["spec"], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def revision(self) -> str:
        """The Deployment controller's revision number as text; empty before it has looked."""
        return str(self.annotations.get(REVISION, ""))

    @property
    def replicas(self) -> int:
        """The wanted number of pods; of a DaemonSet, one on each of its nodes."""
        if self.kind == DAEMON_SET:
            return int(self._status.get("desiredNumberScheduled", 0))
        return int(self.raw["spec"].get("replicas", 1))

    @property
    def paused(self) -> bool:
        """Whether its rollouts are paused."""
        return bool(self.raw["spec"].get("paused", False))

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return "deletionTimestamp" in self._metadata

    @property
    def observed(self) -> bool:
        """Whether the Deployment controller has seen the present spec."""
        return int(self._status.get("observedGeneration", 0)) >= self.generation

    @property
    def rolled_out(self) -> bool:
        """Whether every wanted pod is of the present template and available, and no other is left.

        The rules of `kubectl rollout status`.
        """
        status = self._status
        if self.kind == STATEFUL_SET:
            ready = int(status.get("readyReplicas", 0)) >= self.replicas
            return self.observed and ready and status.get("currentRevision") == status.get("updateRevision")
        if self.kind == DAEMON_SET:
            counts = [int(status.get(key, 0)) for key in ("updatedNumberScheduled", "numberAvailable")]
            return self.observed and min(counts) >= self.replicas
        updated = int(status.get("updatedReplicas", 0))
        return (
            self.observed
            and updated >= self.replicas
            and int(status.get("replicas", 0)) <= updated
            and int(status.get("availableReplicas", 0)) >= updated
        )

    @property
    def progress_deadline_exceeded(self) -> bool:
        """Whether the Deployment controller has given the present rollout up."""
        return self.observed and any(
            c.get("type") == "Progressing" and c.get("reason") == "ProgressDeadlineExceeded"
            for c in self._status.get("conditions") or []
        )

    @property
    def refusal(self) -> str:
        """Why its pods are refused, in the words of what refuses them; empty if none is."""
        found = [c for c in self._status.get("conditions") or [] if c.get("type") == "ReplicaFailure"]
        said = " ".join(str(c.get("message", "")) for c in found if c.get("status") == "True")
        return " ".join(said.split())[:LONGEST_REFUSAL]

    @property
    def progress_deadline(self) -> float:
        """Seconds after which the Deployment controller gives a rollout up that does not progress."""
        return float(self.raw["spec"].get("progressDeadlineSeconds", 600))

    @property
    def update_revision(self) -> str:
        """The name of the revision that a StatefulSet's pods are being brought to; empty where there is none."""
        return str(self._status.get("updateRevision") or "")

    @property
    def progress(self) -> Message:
        """The rollout's state, as `kubectl rollout status` tells it."""
        status = self._status
        if self.kind == DAEMON_SET:
            updated, available = (int(status.get(k, 0)) for k in ("updatedNumberScheduled", "numberAvailable"))
            return DaemonsUpdated(updated, self.replicas, available)
        updated, available, total = (
            int(status.get(k, 0)) for k in ("updatedReplicas", "availableReplicas", "replicas")
        )
        return RolloutProgress(updated, self.replicas, available, total, self.refusal)

    @property
    def last_applied(self) -> str | None:
        """What `kubectl apply` last wrote, as its JSON text; None if it never did on the client's side."""
        return self.annotations.get(LAST_APPLIED)

    @property
    def template_written_at(self) -> datetime | None:
        """The latest instant at which a field manager that owns part of the template wrote; None if nobody is named."""
        times = [
            instant(m.get("time"))
            for m in entries_of(self.raw)
            if "f:template" in ((m.get("fieldsV1") or {}).get("f:spec") or {}) and m.get("subresource") != "status"
        ]
        return max((t for t in times if t is not None), default=None)

    def server_side_manager(self) -> str | None:
        """The field manager that applied the template on the server's side, if nobody else owns a part of it.

        Beside another owner its apply could not bring the whole template back.
        """
        owners = [e for e in entries_of(self.raw) if owns_release(e)]
        sole = len(owners) == 1 and owners[0].get("operation") == "Apply"
        return str(owners[0].get("manager")) if sole else None


@dataclass(frozen=True, slots=True)
class Revision:
    """A ReplicaSet or ControllerRevision: one template and every revision number it is known to have had."""

    uid: str
    name: str
    template: Json
    number: int
    earlier: tuple[int, ...]
    created: datetime
    change_cause: str | None

    @property
    def hash(self) -> str:
        """The release's key in the ledger."""
        return template_hash(self.template)

    @property
    def numbers(self) -> tuple[int, ...]:
        """All revision numbers it had, rising."""
        return (*self.earlier, self.number)


def revisions_of(workload: Workload, items: Iterable[Mapping[str, Any]]) -> Sequence[Revision]:
    """Its revisions, oldest first: the ReplicaSets of a Deployment, the ControllerRevisions of another workload."""
    return _replica_sets(workload, items) if workload.kind == "Deployment" else _controller_revisions(workload, items)


def _owned_by(workload: Workload, metadata: Mapping[str, Any]) -> bool:
    return any(o.get("uid") == workload.uid and o.get("controller") for o in metadata.get("ownerReferences") or [])


def _controller_revisions(workload: Workload, items: Iterable[Mapping[str, Any]]) -> Sequence[Revision]:
    """Convention: `data` is the strategic merge patch `{"spec": {"template": {…, "$patch": "replace"}}}`.

    One that is older than its predecessor by number was re-used by an undo; the number it had before is not kept.
    """
    found: list[Revision] = []
    for item in sorted(items, key=lambda i: int(i.get("revision", 0))):
        metadata = item["metadata"]
        template = ((item.get("data") or {}).get("spec") or {}).get("template")
        created = instant(metadata.get("creationTimestamp"))
        if not _owned_by(workload, metadata) or created is None or not isinstance(template, dict):
            continue
        found.append(
            Revision(
                uid=metadata["uid"],
                name=metadata["name"],
                template={k: v for k, v in template.items() if k != "$patch"},
                number=int(item["revision"]),
                earlier=(0,) if found and created < found[-1].created else (),
                created=created,
                change_cause=(metadata.get("annotations") or {}).get(CHANGE_CAUSE),
            )
        )
    return found


def _replica_sets(workload: Workload, replica_sets: Iterable[Mapping[str, Any]]) -> Sequence[Revision]:
    """The ReplicaSets that `workload` controls, oldest revision first; those without a revision yet are left out."""
    found = []
    for item in replica_sets:
        metadata = item["metadata"]
        notes = metadata.get("annotations") or {}
        created = instant(metadata.get("creationTimestamp"))
        if not _owned_by(workload, metadata) or created is None or not str(notes.get(REVISION, "")).isdigit():
            continue
        earlier = tuple(sorted(int(n) for n in str(notes.get(REVISION_HISTORY, "")).split(",") if n.strip().isdigit()))
        found.append(
            Revision(
                uid=metadata["uid"],
                name=metadata["name"],
                template=item["spec"]["template"],
                number=int(notes[REVISION]),
                earlier=earlier,
                created=created,
                change_cause=notes.get(CHANGE_CAUSE),
            )
        )
    return sorted(found, key=lambda r: r.number)
