"""The operations of the API on stored objects, with the metadata that the server alone decides.

Every operation is synchronous, so each is atomic towards every other request and controller.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from logcaster_guard.sandbox.apiserver import deletion
from logcaster_guard.sandbox.apiserver.clock import Clock, instant, stamp
from logcaster_guard.sandbox.apiserver.config_data import Undecodable
from logcaster_guard.sandbox.apiserver.defaults import normalised
from logcaster_guard.sandbox.apiserver.deletion import DeleteOptions
from logcaster_guard.sandbox.apiserver.errors import (
    ApiError,
    Cause,
    UndecodableBody,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    stale,
    undecodable_apply,
    undecodable_patch,
)
from logcaster_guard.sandbox.apiserver.jsontypes import Json, cloned, without_nulls
from logcaster_guard.sandbox.apiserver.ownership import Ownership
from logcaster_guard.sandbox.apiserver.resources import EVENTS, NAMESPACES, SERVICES, Resource
from logcaster_guard.sandbox.apiserver.store import Store
from logcaster_guard.sandbox.apiserver.transitions import (
    advances,
    all_but_status,
    check_place,
    check_uid,
    status_only,
    undated,
)
from logcaster_guard.sandbox.apiserver.validation import check

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_STEM = 58
"""Characters of `generateName` that are kept: with the suffix the name is a DNS label (names/generate.go)."""
_EVENT_LIFETIME = timedelta(hours=1)
_EVENTS_BETWEEN_SWEEPS = 256
_SERVER_FIELDS = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
_INITIAL_STATUS: dict[str, Json] = {
    "Deployment": {},
    "ReplicaSet": {"replicas": 0},
    "Pod": {"phase": "Pending", "qosClass": "BestEffort"},
    "Service": {"loadBalancer": {}},
    "HorizontalPodAutoscaler": {"desiredReplicas": 0},
    "PodDisruptionBudget": {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0},
    "PersistentVolumeClaim": {"phase": "Pending"},
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who writes: the field manager; with `dry_run` the answer is computed and nothing kept.

    With `applies` the object that it writes says itself who owns what.
    """

    manager: str
    dry_run: bool = False
    applies: bool = False


def random_suffix(length: int = 5) -> str:
    """Letters and digits that cannot spell words, as Kubernetes appends to generated names."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _fit(resource: Resource, item: Json, old: Json | None) -> Json:
    """The item with its defaults, validated; a body of the wrong shape is a 400."""
    try:
        fitted = normalised(item, old)
        check(resource, fitted, old)
    except Undecodable as e:
        raise UndecodableBody(resource, str(e)) from e
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {e!r}'
        ) from e
    return fitted


class Objects:
    """Create, update, patch and delete, as `caller` of the API or of a controller."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._events_since_sweep = 0
        self._next_address = 1
        self._ownership = Ownership()

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """The stored object, not to be changed; raises `ApiError` 404."""
        found = self._store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def create(
        self, resource: Resource, namespace: str, body: Json, caller: Caller, *, owners: list[Json] | None = None
    ) -> Json:
        """The new object; raises `ApiError` 409 when the name is taken, 404 or 403 when the namespace is not open.

        `owners` are its managedFields; without them everything is the caller's.
        """
        item = self._typed(resource, body)
        metadata = item["metadata"]
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        for field in _SERVER_FIELDS:
            metadata.pop(field, None)
        self._place(resource, namespace, metadata)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName'][:_LONGEST_STEM]}{random_suffix()}"
        if resource.has_status:
            item.pop("status", None)
        item = _fit(resource, item, None)
        metadata = item["metadata"]
        taken = self._store.get(resource, namespace, metadata["name"])
        if taken is not None:
            raise already_exists(resource, metadata["name"], deleting="deletionTimestamp" in taken["metadata"])
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._now()}
        if resource.counts_generation:
            metadata["generation"] = 1
        if resource.kind in _INITIAL_STATUS:
            item["status"] = cloned(_INITIAL_STATUS[resource.kind])
        if resource is SERVICES:
            self._allocate_address(item["spec"])
        if owners is None:
            manager, now = caller.manager, self._now()
            owners = self._ownership.record(None, item, manager=manager, subresource="", time=now)
        metadata["managedFields"] = owners
        if caller.dry_run:
            return item
        if resource is EVENTS:
            self._sweep_events()
        return self._store.put(resource, item)

    def update(
        self, resource: Resource, namespace: str, name: str, body: Json, caller: Caller, *, subresource: str = ""
    ) -> tuple[Json, bool]:
        """Replace the object, or with `subresource` status only that; returns it and whether it was created.

        Raises `ApiError` 409 on a stale resourceVersion or another uid.
        """
        item = self._typed(resource, body)
        old = self._store.get(resource, namespace, name)
        if old is None and resource.create_on_update and not subresource:
            item["metadata"].setdefault("name", name)
            return self.create(resource, namespace, item, caller), True
        if old is None:
            raise not_found(resource, name)
        if not resource.unconditional and not item["metadata"].get("resourceVersion"):
            message = "Invalid value: 0: must be specified for an update"
            raise invalid(resource, name, [Cause("metadata.resourceVersion", "FieldValueInvalid", message)])
        return self._replace(resource, old, item, caller, subresource), False

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Json], Json],
        caller: Caller,
        *,
        subresource: str = "",
    ) -> Json:
        """Replace the object by what `change` makes of it; raises `ApiError` as `update` does."""
        old = self.get(resource, namespace, name)
        changed = change(old)
        if changed == old:
            return old
        item = self._typed(resource, changed)
        check_uid(resource, old, item)
        try:
            return self._replace(resource, old, item, caller, subresource)
        except UndecodableBody as e:
            raise undecodable_patch(changed, e.cause) from e

    def apply(
        self, resource: Resource, namespace: str, name: str, config: Json, caller: Caller, *, force: bool
    ) -> tuple[Json, bool]:
        """The object once `caller` has applied `config`, and whether it was created by that.

        Raises `ApiError` 409 where others own what it would change (without `force`), where the version that it names
        is stale, and where it names a UID and there is no object.
        """
        config = without_nulls(self._typed(resource, config))
        if resource.has_status:
            config.pop("status", None)
        config["metadata"].setdefault("name", name)
        old = self._store.get(resource, namespace, name)
        uid = config["metadata"].get("uid")
        if old is None and uid:
            cause = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(resource, name, cause)
        applied, owners = self._ownership.applied(old, config, manager=caller.manager, time=self._now(), force=force)
        try:
            if old is None:
                applied["metadata"].pop("resourceVersion", None)
                check_place(config["metadata"], {"name": name, "namespace": namespace})
                return self.create(resource, namespace, applied, caller, owners=owners), True
            check_uid(resource, old, applied)
            applied["metadata"] = {**applied["metadata"], "managedFields": owners}
            return self._replace(resource, old, applied, replace(caller, applies=True), ""), False
        except UndecodableBody as e:
            raise undecodable_apply(resource, name, e.cause) from e

    def bind(self, resource: Resource, namespace: str, name: str, body: Json, caller: Caller) -> None:
        """Give a pod its node; raises `ApiError` 409 if it has one or is being deleted."""
        old = self.get(resource, namespace, name)
        node = (body.get("target") or {}).get("name")
        if not node:
            raise invalid(resource, name, [Cause("target.name", "FieldValueRequired", "Required value")])
        if "deletionTimestamp" in old["metadata"]:
            raise conflict(resource, name, f"pod {name} is being deleted, cannot be assigned to a host")
        if old["spec"].get("nodeName"):
            raise conflict(resource, name, f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"')
        item = cloned(old)
        item["spec"]["nodeName"] = node
        conditions = [c for c in item["status"].get("conditions") or [] if c["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self._now()}
        item["status"]["conditions"] = [*conditions, scheduled]
        self._keep(resource, old, item, caller, "binding")

    def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions, *, dry_run: bool = False
    ) -> tuple[Json, bool]:
        """Delete or mark for deletion; returns the object and whether it is gone at once.

        Raises `ApiError` 409 where a precondition does not hold.
        """
        old = self.get(resource, namespace, name)
        deletion.check_preconditions(resource, old, options)
        item = cloned(old)
        metadata = item["metadata"]
        deletion.set_propagation(metadata, options.propagation)
        grace = deletion.grace_of(resource, old, options.grace)
        waits = bool(metadata.get("finalizers")) or resource is NAMESPACES
        if grace == 0 and not waits:
            return old if dry_run else self._store.remove(resource, namespace, name), True
        deletion.mark(metadata, grace, self._clock.now())
        if resource is NAMESPACES:
            item["status"]["phase"] = "Terminating"
        if item == old or dry_run:
            return item, False
        return self._store.put(resource, item), False

    def strip(self, resource: Resource, item: Json, change: Callable[[Json], None]) -> None:
        """Change an object's metadata as the garbage collector does, and let go of it if nothing holds it any more."""
        new = cloned(item)
        change(new["metadata"])
        self._keep(resource, item, new, Caller("kube-controller-manager"), "")

    def _now(self) -> str:
        return stamp(self._clock.now())

    def _typed(self, resource: Resource, body: Json) -> Json:
        """The body, of the right kind, with metadata: what lies deeper is the body's own until it is normalised."""
        for field in ("metadata", "spec", "status"):
            if body.get(field) is not None and not isinstance(body[field], dict):
                raise bad_request(f"the body cannot be handled as a {resource.kind}: its {field} is no object")
        for field, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if body.get(field, wanted) not in {wanted, ""}:
                raise bad_request(
                    f"the {field} in the data ({body[field]}) does not match the expected {field} ({wanted})"
                )
        rest = {k: v for k, v in body.items() if k not in {"apiVersion", "kind", "metadata"}}
        metadata = dict(body.get("metadata") or {})
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}

    def _place(self, resource: Resource, namespace: str, metadata: Json) -> None:
        if not resource.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({metadata['namespace']} and {namespace})"
            )
        home = self._store.get(NAMESPACES, "", namespace)
        if home is None:
            raise not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in home["metadata"]:
            cause = f"unable to create new content in namespace {namespace} because it is being terminated"
            told = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            raise forbidden(resource, str(metadata.get("name", "")), cause, {"causes": [told]})

    def _replace(self, resource: Resource, old: Json, item: Json, caller: Caller, subresource: str) -> Json:
        name, metadata = old["metadata"]["name"], item["metadata"]
        check_place(metadata, old["metadata"])
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and uid != old["metadata"]["uid"]:
            cause = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(resource, name, cause)
        if version and version != old["metadata"]["resourceVersion"]:
            raise stale(resource, name)
        known, told = old["metadata"].get("managedFields") or [], metadata.get("managedFields")
        owners = told if caller.applies or (told and told != known) else known
        # One empty entry says that nobody owns anything.
        owners = [] if owners == [{}] else owners
        for field in ("name", "namespace", *_SERVER_FIELDS):
            metadata.pop(field, None)
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
        # Whoever writes may say who owns what; what the same request changes is its writer's all the same.
        metadata["managedFields"] = owners
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if resource.has_status:
            item = status_only(resource, old, item) if subresource == "status" else all_but_status(old, item)
        if resource is SERVICES:
            given = {field: old["spec"][field] for field in ("clusterIP", "clusterIPs") if field in old["spec"]}
            item = {**item, "spec": {**given, **(item.get("spec") or {})}}
        return self._keep(resource, old, _fit(resource, item, old), caller, subresource)

    def _keep(self, resource: Resource, old: Json, item: Json, caller: Caller, subresource: str) -> Json:
        metadata = item["metadata"]
        if item == old or (caller.applies and undated(item) == undated(old)):
            return old
        owners = metadata.get("managedFields") or []
        if resource.counts_generation and subresource not in {"status", "binding"} and advances(resource, old, item):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        if not caller.applies:
            metadata["managedFields"] = self._ownership.record(
                old, item, manager=caller.manager, subresource=subresource, time=self._now(), owners=owners
            )
        if caller.dry_run:
            return item
        kept = self._store.put(resource, item)
        released = not metadata.get("finalizers") and metadata.get("deletionGracePeriodSeconds") == 0
        if "deletionTimestamp" in metadata and released and resource is not NAMESPACES:
            return self._store.remove(resource, str(metadata.get("namespace", "")), metadata["name"])
        return kept

    def _allocate_address(self, spec: Json) -> None:
        if spec["type"] == "ExternalName":
            return
        taken = {s["spec"].get("clusterIP") for s in self._store.items(SERVICES)}
        while not spec.get("clusterIP"):
            high, low = divmod(self._next_address, 256)
            self._next_address += 1
            address = f"10.96.{high % 256}.{low}"
            if address not in taken and low not in {0, 255}:
                spec["clusterIP"] = address
        spec["clusterIPs"] = [spec["clusterIP"]]

    def _sweep_events(self) -> None:
        """Forget events past their lifetime, now and then, as the real server's time-to-live does."""
        self._events_since_sweep += 1
        if self._events_since_sweep < _EVENTS_BETWEEN_SWEEPS:
            return
        self._events_since_sweep = 0
        limit = self._clock.now() - _EVENT_LIFETIME
        for event in self._store.items(EVENTS):
            created = instant(event["metadata"]["creationTimestamp"])
            if created is not None and created < limit:
                self._store.remove(EVENTS, event["metadata"]["namespace"], event["metadata"]["name"])
