"""The Deployment controller: one ReplicaSet per pod template, rolled out, scaled, remembered and cleaned up.

It takes the steps of Kubernetes' own controller in the same order, one step per reconciliation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from logcaster_guard.sandbox.apiserver import rollout
from logcaster_guard.sandbox.apiserver.clock import Clock
from logcaster_guard.sandbox.apiserver.deletion import DeleteOptions
from logcaster_guard.sandbox.apiserver.errors import ApiError
from logcaster_guard.sandbox.apiserver.jsontypes import Json
from logcaster_guard.sandbox.apiserver.objects import Objects
from logcaster_guard.sandbox.apiserver.owners import adopt, controller_of, owner_reference, release
from logcaster_guard.sandbox.apiserver.recorder import CONTROLLER_MANAGER, Recorder
from logcaster_guard.sandbox.apiserver.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from logcaster_guard.sandbox.apiserver.rollout import replicas
from logcaster_guard.sandbox.apiserver.selectors import selects
from logcaster_guard.sandbox.apiserver.store import Change, ChangeType, Key, Store, key_of
from logcaster_guard.sandbox.apiserver.workqueue import WorkQueue

_LONGEST_NAME = 253
_AFTER_DEADLINE = 0.05


class DeploymentController:
    """Reconciles one Deployment at a time."""

    def __init__(self, store: Store, objects: Objects, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._clock = clock
        self._recorder = Recorder(objects, clock, "deployment-controller")
        self.queue: WorkQueue[Key] = WorkQueue("deployment", self.reconcile, clock)

    def observe(self, change: Change) -> None:
        """Wake the Deployments that a change concerns."""
        if change.resource is DEPLOYMENTS and change.type is not ChangeType.DELETED:
            self.queue.add(key_of(change.item))
        elif change.resource is REPLICA_SETS:
            self._wake_owner(change.item)
            if change.previous is not None:
                self._wake_owner(change.previous)
            if controller_of(change.item) is None:
                labels = change.item["metadata"].get("labels") or {}
                for item in self._store.items(DEPLOYMENTS, change.item["metadata"]["namespace"]):
                    if selects(item["spec"].get("selector"), labels):
                        self.queue.add(key_of(item))
        elif change.resource is PODS and change.type is ChangeType.DELETED:
            owner = controller_of(change.item)
            found = self._store.find(owner["uid"]) if owner is not None else None
            if found is not None:
                self._wake_owner(found[1])

    def reconcile(self, key: Key) -> float | None:
        """One step of the rollout; returns seconds until its progress deadline is to be looked at."""
        item = self._store.get(DEPLOYMENTS, *key)
        if item is None or not selects(item["spec"].get("selector"), item["spec"]["template"]["metadata"]["labels"]):
            return None
        sets = self._claimed(item)
        if "deletionTimestamp" in item["metadata"]:
            new, old = self._sync_revision(item, sets)
            self._write_status(item, rollout.calculated_status(self._fresh(item), new, [*old, new], self._clock.now()))
            return None
        self._mark_paused(item)
        item = self._fresh(item)
        new, old = self._sync_revision(item, sets)
        if item["spec"].get("paused") or rollout.is_scaling(item, [*old, new]):
            self._sync_size(item, new, old)
        elif rollout.is_rolling(item):
            self._roll(item, sets)
        else:
            self._recreate(item, sets)
        return self._until_deadline(self._fresh(item))

    def _wake_owner(self, item: Json) -> None:
        owner = controller_of(item)
        if owner is not None and owner["kind"] == "Deployment":
            self.queue.add((item["metadata"]["namespace"], owner["name"]))

    def _fresh(self, item: Json) -> Json:
        return self._objects.get(DEPLOYMENTS if item["kind"] == "Deployment" else REPLICA_SETS, *key_of(item))

    def _claimed(self, item: Json) -> list[Json]:
        """The ReplicaSets that the Deployment controls, after adopting orphans and releasing others."""
        found = []
        uid, deleting = item["metadata"]["uid"], "deletionTimestamp" in item["metadata"]
        for candidate in self._store.items(REPLICA_SETS, item["metadata"]["namespace"]):
            owner = controller_of(candidate)
            matches = selects(item["spec"]["selector"], candidate["metadata"].get("labels") or {})
            if owner is not None and owner["uid"] == uid:
                if matches:
                    found.append(candidate)
                elif not deleting:
                    self._objects.strip(REPLICA_SETS, candidate, partial(release, uid=uid))
            elif owner is None and matches and not deleting and "deletionTimestamp" not in candidate["metadata"]:
                self._objects.strip(REPLICA_SETS, candidate, partial(adopt, owner=item))
                found.append(self._fresh(candidate))
        return found

    def _mark_paused(self, item: Json) -> None:
        if not rollout.has_deadline(item):
            return
        progressing = rollout.condition(item.get("status") or {}, "Progressing")
        reason = progressing["reason"] if progressing is not None else ""
        paused = bool(item["spec"].get("paused"))
        if reason == "ProgressDeadlineExceeded" or paused == (reason == "DeploymentPaused"):
            return
        word, message = ("DeploymentPaused", "is paused") if paused else ("DeploymentResumed", "is resumed")
        status = dict(item.get("status") or {})
        rollout.set_condition(
            status, "Progressing", "Unknown", reason=word, message=f"Deployment {message}", now=self._clock.now()
        )
        self._write_status(item, status)

    def _sync_revision(
        self, item: Json, sets: Sequence[Json], *, create: bool = False
    ) -> tuple[Json | None, list[Json]]:
        """The new ReplicaSet, its annotations and revision brought up to date, and the old ones."""
        new, old = rollout.split(item, sets)
        revision = max((rollout.revision_of(s) for s in old), default=0) + 1
        if new is None:
            return (self._create_set(item, old, revision) if create else None), old
        notes = new["metadata"].get("annotations") or {}
        wanted = rollout.synced_annotations(item, notes, revision)
        least = item["spec"].get("minReadySeconds", 0)
        if wanted != notes or new["spec"].get("minReadySeconds", 0) != least:
            return self._update_set(new, annotations=wanted, spec={"minReadySeconds": least}), old
        number = notes.get(rollout.REVISION)
        status = dict(item.get("status") or {})
        if rollout.has_deadline(item) and rollout.condition(status, "Progressing") is None:
            message = f'Found new replica set "{new["metadata"]["name"]}"'
            now = self._clock.now()
            rollout.set_condition(status, "Progressing", "True", reason="FoundNewReplicaSet", message=message, now=now)
        self._write_status(item, status, revision=number)
        return new, old

    def _create_set(self, item: Json, old: Sequence[Json], revision: int) -> Json:
        namespace = item["metadata"]["namespace"]
        body = self._new_set(item, old, revision)
        name = body["metadata"]["name"]
        try:
            new = self._objects.create(REPLICA_SETS, namespace, body, CONTROLLER_MANAGER)
        except ApiError as e:
            if e.reason != "AlreadyExists":
                self._tell_failure(item, name, e)
                raise
            existing = self._objects.get(REPLICA_SETS, namespace, name)
            owner = controller_of(existing)
            if owner is None or owner["uid"] != item["metadata"]["uid"] or rollout.split(item, [existing])[0] is None:
                collisions = rollout.counted(item, "collisionCount") + 1
                self._write_status(item, {**(item.get("status") or {}), "collisionCount": collisions})
                raise
            new = existing
        else:
            if replicas(new):
                self._recorder.event(
                    item, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {replicas(new)}"
                )
        status = dict(self._fresh(item).get("status") or {})
        if rollout.has_deadline(item):
            message = f'Created new replica set "{name}"'
            now = self._clock.now()
            rollout.set_condition(
                status, "Progressing", "True", reason="NewReplicaSetCreated", message=message, now=now
            )
        self._write_status(item, status, revision=str(revision))
        return new

    def _new_set(self, item: Json, old: Sequence[Json], revision: int) -> Json:
        template = rollout.bare_template(item["spec"]["template"])
        digest = rollout.template_hash(template, rollout.counted(item, "collisionCount"))
        labels = {**template["metadata"]["labels"], rollout.HASH_LABEL: digest}
        selector = dict(item["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), rollout.HASH_LABEL: digest}
        spec: Json = {
            "replicas": rollout.new_size(item, old, 0),
            "minReadySeconds": item["spec"].get("minReadySeconds", 0),
            "selector": selector,
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        }
        room = _LONGEST_NAME - len(digest) - 1
        metadata = {
            "name": f"{item['metadata']['name'][:room]}-{digest}",
            "labels": labels,
            "annotations": {**rollout.synced_annotations(item, {}, revision), **rollout.size_annotations(item)},
            "ownerReferences": [owner_reference(item)],
        }
        return {"metadata": metadata, "spec": spec}

    def _tell_failure(self, item: Json, name: str, cause: ApiError) -> None:
        message = f'Failed to create new replica set "{name}": {cause.message}'
        if rollout.has_deadline(item):
            status = dict(item.get("status") or {})
            now = self._clock.now()
            rollout.set_condition(
                status, "Progressing", "False", reason="ReplicaSetCreateError", message=message, now=now
            )
            self._write_status(item, status)
        self._recorder.event(item, "ReplicaSetCreateError", message, kind="Warning")

    def _sync_size(self, item: Json, new: Json | None, old: list[Json]) -> None:
        """Scale without rolling out: a paused Deployment, or one whose size has changed."""
        living = rollout.active([*old, new])
        newest = new if new is not None else max(old, key=rollout.created, default=None)
        only = living[0] if len(living) == 1 else newest if not living else None
        if only is not None:
            self._scale(item, only, replicas(item))
        elif rollout.is_saturated(item, new):
            for outdated in rollout.active(old):
                self._scale(item, outdated, 0)
        elif living and rollout.is_rolling(item):
            for part, size in rollout.proportions(item, living):
                self._scale(item, part, size, force=True)
        if item["spec"].get("paused"):
            self._clean_up(item, old)
        self._sync_status(item, rollout.calculated_status)

    def _roll(self, item: Json, sets: Sequence[Json]) -> None:
        new, old = self._sync_revision(item, sets, create=True)
        if new is not None and not self._grow(item, new, old) and not self._shrink(item, new, old):
            self._clean_up_when_complete(item, old)
        self._sync_status(item, rollout.rollout_status)

    def _grow(self, item: Json, new: Json, old: list[Json]) -> bool:
        present, wanted = replicas(new), replicas(item)
        if present == wanted:
            return False
        size = wanted if present > wanted else rollout.new_size(item, [*old, new], present)
        return self._scale(item, new, size)

    def _shrink(self, item: Json, new: Json, old: list[Json]) -> bool:
        """Scale old ReplicaSets down, unhealthy pods first, as far as availability allows."""
        living = rollout.active(old)
        least = replicas(item) - rollout.max_unavailable(item)
        total = sum(map(replicas, living)) + replicas(new)
        room = total - least - (replicas(new) - rollout.counted(new, "availableReplicas"))
        if not living or room <= 0:
            return False
        done = 0
        for index, outdated in enumerate(living):
            down = min(room - done, replicas(outdated) - rollout.counted(outdated, "availableReplicas"))
            if down > 0:
                self._scale(item, outdated, replicas(outdated) - down)
                living[index] = self._fresh(outdated)
                done += down
        spare = sum(rollout.counted(s, "availableReplicas") for s in [*living, new]) - least
        for outdated in living:
            down = min(replicas(outdated), spare)
            if down > 0:
                self._scale(item, outdated, replicas(outdated) - down)
                spare -= down
                done += down
        return done > 0

    def _recreate(self, item: Json, sets: Sequence[Json]) -> None:
        new, old = self._sync_revision(item, sets)
        scaled = [self._scale(item, outdated, 0) for outdated in rollout.active(old)]
        if not any(scaled) and not self._pods_left(new, old):
            if new is None:
                new, old = self._sync_revision(item, sets, create=True)
            if new is not None:
                self._scale(item, new, replicas(item))
            self._clean_up_when_complete(item, old)
        self._sync_status(item, rollout.rollout_status)

    def _pods_left(self, new: Json | None, old: Sequence[Json]) -> bool:
        """Whether a pod of an old template still runs or ends."""
        owners = [s["metadata"]["uid"] for s in old if s is not new]
        pods = [p for uid in owners for r, p in self._store.dependents(uid) if r is PODS]
        return any(p.get("status", {}).get("phase") not in {"Failed", "Succeeded"} for p in pods)

    def _scale(self, item: Json, part: Json, size: int, *, force: bool = False) -> bool:
        """Resize a ReplicaSet and note the Deployment's size on it; returns whether its size changed."""
        present = replicas(part)
        if present == size and not force:
            return False
        notes = {**(part["metadata"].get("annotations") or {}), **rollout.size_annotations(item)}
        self._update_set(part, annotations=notes, spec={"replicas": size})
        if present == size:
            return False
        way = "up" if size > present else "down"
        name = part["metadata"]["name"]
        message = f"Scaled {way} replica set {name} from {present} to {size}"
        self._recorder.event(item, "ScalingReplicaSet", message)
        return True

    def _update_set(self, part: Json, *, annotations: Json, spec: Json) -> Json:
        def change(old: Json) -> Json:
            metadata = {**old["metadata"], "annotations": annotations}
            return {**old, "metadata": metadata, "spec": {**old["spec"], **spec}}

        return self._objects.patch(REPLICA_SETS, *key_of(part), change, CONTROLLER_MANAGER)

    def _clean_up_when_complete(self, item: Json, old: Sequence[Json]) -> None:
        if rollout.is_complete(item, self._fresh(item).get("status") or {}):
            self._clean_up(item, old)

    def _clean_up(self, item: Json, old: Sequence[Json]) -> None:
        """Delete the oldest revisions beyond the history limit, those without pods only."""
        limit = rollout.history_limit(item)
        if limit is None:
            return
        kept = sorted(
            (s for s in map(self._fresh, old) if "deletionTimestamp" not in s["metadata"]),
            key=lambda s: (rollout.revision_of(s), rollout.created(s)),
        )
        for part in kept[: max(0, len(kept) - limit)]:
            observed = rollout.counted(part, "observedGeneration") >= part["metadata"]["generation"]
            if observed and not rollout.counted(part, "replicas") and not replicas(part):
                self._objects.delete(REPLICA_SETS, *key_of(part), DeleteOptions(propagation="Background"))

    def _sync_status(self, item: Json, calculate: Callable[..., Json]) -> None:
        item = self._fresh(item)
        new, old = rollout.split(item, self._claimed(item))
        self._write_status(item, calculate(item, new, [*old, new], self._clock.now()))

    def _write_status(self, item: Json, status: Json, revision: str | None = None) -> None:
        def change(old: Json) -> Json:
            metadata = dict(old["metadata"])
            if revision is not None:
                metadata["annotations"] = {**(metadata.get("annotations") or {}), rollout.REVISION: revision}
            return {**old, "metadata": metadata, "status": status}

        self._objects.patch(DEPLOYMENTS, *key_of(item), change, CONTROLLER_MANAGER, subresource="status")

    def _until_deadline(self, item: Json) -> float | None:
        ends = rollout.deadline(item, item.get("status") or {})
        if ends is None or item["spec"].get("paused"):
            return None
        return max(0.0, (ends - self._clock.now()).total_seconds()) + _AFTER_DEADLINE
