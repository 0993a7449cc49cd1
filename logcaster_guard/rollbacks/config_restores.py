"""Configuration that comes back with a release: what of it differs, what may be put back, and which pods to replace."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard.domain import configuration_reasons as reasons
from logcaster_guard.domain.configuration import restoring
from logcaster_guard.domain.configuration.content import (
    DigestKey,
    Found,
    NoContent,
    content_of,
    digest,
    fingerprint_of,
    part,
)
from logcaster_guard.domain.configuration.followed import never_followed
from logcaster_guard.domain.configuration.object_writers import written_by_others
from logcaster_guard.domain.configuration.pod_starts import checksums_of
from logcaster_guard.domain.configuration.references import (
    POD,
    ConfigKind,
    ConfigObject,
    ConfigReference,
    named_in_settings,
    references_of,
)
from logcaster_guard.domain.configuration.release_configuration import Known
from logcaster_guard.domain.configuration.restoring import KeyChange
from logcaster_guard.domain.errors import BlobMissing, NotFound, Rejected
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rights import CONFIG_ROLE
from logcaster_guard.domain.rules import Incomplete, Shared
from logcaster_guard.domain.steps import Plan
from logcaster_guard.domain.workload import HASH_LABEL, Workload, annotations_of, revisions_of
from logcaster_guard.ports import Kind
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import PlanningPorts, Request
from logcaster_guard.steps.copy_config_map import CopyConfigMap
from logcaster_guard.steps.copy_object import CopyObject
from logcaster_guard.steps.copy_secret import CopySecret
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_later import RestoreLater
from logcaster_guard.steps.restore_object import RestoreObject
from logcaster_guard.steps.restore_secret import RestoreSecret

Json = Mapping[str, Any]

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_STEPS: Mapping[ConfigKind, type[RestoreConfigMap | RestoreSecret]] = {
    ConfigKind.CONFIG_MAP: RestoreConfigMap,
    ConfigKind.SECRET: RestoreSecret,
}
_COPIES: Mapping[ConfigKind, type[CopyConfigMap | CopySecret]] = {
    ConfigKind.CONFIG_MAP: CopyConfigMap,
    ConfigKind.SECRET: CopySecret,
}
_SHOWN = 5
"""Others that a refusal names."""

_USERS = (Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET, Kind.JOB, Kind.CRON_JOB, Kind.POD)
"""What may refer to a ConfigMap."""


@dataclass(frozen=True, slots=True)
class SavedConfigMap:
    """A ConfigMap or Secret as the good release's pods read it, and as it is now; None where it was absent, or is gone.

    `digest` is the place where that is kept. `references` is what reads it, `key` makes the digests of a Secret.
    """

    object: ConfigObject
    digest: str
    saved: dict[str, Any] | None = field(repr=False)
    live: Json | None = field(repr=False)
    references: tuple[ConfigReference, ...]
    key: DigestKey | None = None

    @property
    def immutable(self) -> bool:
        """Whether it is immutable, or was."""
        return bool((self.saved or {}).get("immutable") or (self.live or {}).get("immutable"))

    @property
    def differs(self) -> bool:
        """Whether some container would find something else in it than was found in what was saved."""
        then, now = (_found(self.object.kind, raw, self.key) for raw in (self.saved, self.live))
        return any(part(r, then) != part(r, now) for r in self.references)


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """What the good release's pods read, and what is there now.

    `unread` are objects of which one or the other is not known. `users` are raw workloads and pods by kind, `unlisted`
    the kinds that may not be listed, and `replica_sets` those of the namespace (None: nobody knows): all of them only
    where something differs.
    """

    objects: tuple[SavedConfigMap, ...] = ()
    unread: tuple[ConfigObject, ...] = ()
    users: Mapping[str, Sequence[Json]] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    replica_sets: Sequence[Json] | None = None

    @property
    def differing(self) -> Sequence[SavedConfigMap]:
        """What holds something else now."""
        return [found for found in self.objects if found.differs]


@dataclass(frozen=True, slots=True)
class Restores:
    """The steps that put configuration back, and what stays as it is; `complete`: nothing that is known to differ."""

    steps: tuple[RestoreObject, ...] = ()
    unrestored: tuple[Message, ...] = ()
    complete: bool = True


async def gather(request: Request, record: Record, template: Json, ports: PlanningPorts) -> ConfigFacts:
    """Look at what `record` was kept with, for pods of this template. Raises `ClusterError`.

    Nothing is looked at for a release whose configuration is not known.
    """
    if not record.contents:
        return ConfigFacts()
    namespace, named = request.target.namespace, request.policy.config.objects.get(request.target.name, ())
    besides = [ConfigObject(ConfigKind.CONFIG_MAP, namespace, name) for name in named]
    references = (*references_of(template, namespace), *map(named_in_settings, besides))
    objects, unread = list[SavedConfigMap](), list[ConfigObject]()
    for one in sorted({r.object for r in references}):
        own = tuple(r for r in references if r.object == one)
        found = await _look(one, own, record, ports)
        if isinstance(found, SavedConfigMap):
            objects.append(found)
        elif found is NoContent.UNREADABLE:
            unread.append(one)
    facts = ConfigFacts(tuple(objects), tuple(unread))
    return await _with_users(facts, namespace, ports) if facts.differing else facts


async def _look(
    one: ConfigObject, references: tuple[ConfigReference, ...], record: Record, ports: PlanningPorts
) -> SavedConfigMap | NoContent | None:
    """What was saved and what is there now, unreadable where one of them is not known; None: it is never followed."""
    if not ports.manifests.keeps(one.kind):
        return NoContent.UNREADABLE
    try:
        live = await ports.found(Kind(one.kind), one.namespace, one.name)
        if live is not None and never_followed(one.kind, live) is not None:
            return None
        saved, key = await _saved(one, record, ports), await ports.manifests.key(one)
        if saved is not None and saved[1] is not None and never_followed(one.kind, saved[1]) is not None:
            return None
    except Rejected as error:
        # A Secret that cannot be kept is as one that may not be read; credentials that have expired are waited for.
        cannot_be_kept = one.kind is ConfigKind.SECRET and error.status != _UNAUTHORIZED
        if error.status != _FORBIDDEN and not cannot_be_kept:
            raise
        return NoContent.UNREADABLE
    return NoContent.UNREADABLE if saved is None else SavedConfigMap(one, *saved, live, references, key)


async def _saved(one: ConfigObject, record: Record, ports: PlanningPorts) -> tuple[str, dict[str, Any] | None] | None:
    """Where what was saved is, and that (None: it was absent); None where nothing was, or it is lost."""
    place = record.contents.get(str(one))
    try:
        return None if place is None else (place, await _manifest(place, ports) if place else None)
    except BlobMissing:
        return None


async def _manifest(place: str, ports: PlanningPorts) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await ports.manifests.get(place)).reveal())
    return found


async def _with_users(facts: ConfigFacts, namespace: str, ports: PlanningPorts) -> ConfigFacts:
    users: dict[str, Sequence[Json]] = {}
    unlisted: list[str] = []
    for kind in _USERS:
        try:
            users[kind] = await ports.cluster.list(kind, namespace)
        except NotFound:
            # An API server that does not serve the kind has none of it.
            users[kind] = ()
        except Rejected as error:
            if error.status != _FORBIDDEN:
                raise
            unlisted.append(kind)
    return ConfigFacts(facts.objects, facts.unread, users, tuple(unlisted), await _replica_sets(namespace, ports))


async def _replica_sets(namespace: str, ports: PlanningPorts) -> Sequence[Json] | None:
    try:
        return await ports.cluster.list(Kind.REPLICA_SET, namespace)
    except Rejected as error:
        if error.status != _FORBIDDEN:
            raise
        return None


def restores(
    request: Request, facts: ConfigFacts, own: Collection[str] = (), *, copying: bool = False
) -> Restores | NotApplicable:
    """What puts the differing objects back, or why that is refused.

    `own` names Deployments that may read them as well, beside the workload. `copying`: those that are immutable need
    not come back under their own names, where nodes may go on giving pods what they know.
    """
    steps, stays, more = list[RestoreObject](), list[Message](), list[Message]()
    for found in facts.differing:
        why = _objection(request, facts, found, own)
        if copying and isinstance(why, reasons.ConfigImmutable):
            why = None
        if why is not None:
            stays.append(why)
        elif found.saved is not None:
            uid = "" if found.live is None else str(found.live["metadata"]["uid"])
            changes = restoring.changes(found.live, found.saved, found.key)
            made_with = "" if found.key is None else found.key.name
            step = _STEPS[found.object.kind](found.object.name, uid, found.digest, changes, made_with=made_with)
            steps.append(step)
            if restoring.kept_by_string_data(found.live, found.saved):
                more.append(reasons.ConfigStringData(str(found.object)))
    if stays and request.policy.config.incomplete is Incomplete.REFUSE:
        return NotApplicable(tuple(stays), Guardrail.CONFIGURATION)
    unread = [reasons.ConfigUnread(str(one)) for one in facts.unread]
    return Restores(tuple(steps), (*map(reasons.ConfigStays, stays), *more, *unread), complete=not stays)


def restarts(workload: Workload, written: Release, facts: ConfigFacts, *, restored: bool) -> bool:
    """Whether pods that may have read the other configuration would go on, unless the template is stamped.

    `written` is what the template becomes, `restored` whether an object is put back before.
    """
    notes = annotations_of(written.template)
    if written.hash == workload.hash:
        return bool(notes == annotations_of(workload.template))
    if not restored:
        return False
    if workload.kind != Kind.DEPLOYMENT or facts.replica_sets is None:
        return not workload.rolled_out
    again = {
        r.uid
        for r in revisions_of(workload, facts.replica_sets)
        if r.hash == written.hash and annotations_of(r.template) == notes
    }
    return any(
        _owners(pod) & again for pod in facts.users.get(Kind.POD, ()) if "deletionTimestamp" not in pod["metadata"]
    )


def configuration_after(template: Json, facts: ConfigFacts, restored: Restores) -> str:
    """The configuration that pods of this template will have read when the steps of `restored` are done."""
    back = {(step.object_kind, step.name) for step in restored.steps}
    found: dict[ConfigObject, Found] = dict.fromkeys(facts.unread, NoContent.UNREADABLE)
    for seen in facts.objects:
        one = seen.object
        found[one] = _found(one.kind, seen.saved if (one.kind, one.name) in back else seen.live, seen.key)
    namespace = next((one.namespace for one in found), "")
    named = [r for seen in facts.objects for r in seen.references]
    read = [r for r in references_of(template, namespace) if r.object in found]
    return Known(digest(dict.fromkeys([*read, *named]), found), checksums_of(template)).configuration


def copying(kind: ConfigKind, name: str, manifest: str, seed: str = "") -> CopyObject:
    """The step that copies what the manifest in that place shows, for pods that start beside those that read the name.

    `seed` is what the copy's name is made from, where the plan has to know it.
    """
    return _COPIES[kind](name, manifest, seed)


def read_by_name(differing: Iterable[SavedConfigMap]) -> NotApplicable | None:
    """Why copies are no help: pods read some of it by themselves, under its own name. None if they are."""
    found = [f for f in differing if any(r.container == POD for r in f.references)]
    return NotApplicable((reasons.ConfigDiffers(tuple(str(f.object) for f in found)),)) if found else None


def differences(plan: Plan) -> Sequence[str]:
    """A line for each key that the plan gives another value: `-` it goes, `+` it comes, `~` it becomes another.

    Of values only their sizes are shown, since a ConfigMap may hold a secret too; of a Secret not even these.
    """
    steps = (step.restore if isinstance(step, RestoreLater) else step for step in plan.steps)
    return [
        f"{change.mark[0]} {step.object(plan)}[{change.key}]{_sizes(step, change)}"
        for step in steps
        if isinstance(step, RestoreObject)
        for change in step.changes
    ]


def _sizes(step: RestoreObject, change: KeyChange) -> str:
    if isinstance(step, RestoreSecret):
        return ""
    known = [f"{size} bytes" for size in (change.before, change.after) if size is not None]
    return f": {' → '.join(known)}"


def _objection(request: Request, facts: ConfigFacts, found: SavedConfigMap, own: Collection[str]) -> Message | None:
    """Why this object is not put back; None if it is."""
    name, policy = str(found.object), request.policy
    wanted = request.target.gitops or policy.gitops
    there = found.live or found.saved or {}
    others = written_by_others(there, request.workload.raw, wanted, policy.argocd_namespace)
    if others is not None:
        return others
    if found.saved is None:
        one = found.object
        command = f"kubectl -n {one.namespace} delete {one.kind.lower()} {one.name}"
        return reasons.ConfigWasAbsent(name, command, tuple(sorted(set(_users(request, facts, one, own)))[:_SHOWN]))
    if found.immutable:
        return reasons.ConfigImmutable(name, gone=found.live is None)
    if found.live is not None and found.live.get("type") != found.saved.get("type"):
        return reasons.ConfigTypeDiffers(name)
    if policy.config.shared is Shared.RESTORE:
        return None
    users = sorted(set(_users(request, facts, found.object, own)))
    if users:
        return reasons.ConfigShared(name, tuple(users[:_SHOWN]), max(0, len(users) - _SHOWN))
    if facts.unlisted:
        return reasons.ConfigUsersUnknown(name, facts.unlisted, found.object.namespace, CONFIG_ROLE)
    return None


def _users(request: Request, facts: ConfigFacts, one: ConfigObject, own: Collection[str]) -> Iterator[str]:
    """Who else refers to it: not the workload itself nor the Deployments in `own`, and none of their pods."""
    workload = request.workload
    for kind, items in facts.users.items():
        for raw in items:
            ours = kind == Kind.DEPLOYMENT and raw["metadata"]["name"] in own
            if ours or workload.uid in {raw["metadata"].get("uid"), *_owners(raw)}:
                continue
            if _is_pod_of({workload.name, *own}, raw):
                continue
            if any(r.object == one for t in _templates(kind, raw) for r in references_of(t, one.namespace)):
                yield f"{kind} {raw['metadata']['name']}"


def _is_pod_of(deployments: Collection[str], raw: Json) -> bool:
    """Whether it is one of these Deployments': its ReplicaSet is called after that and the pod's own hash."""
    of_template = (raw["metadata"].get("labels") or {}).get(HASH_LABEL)
    sets = {(str(Kind.REPLICA_SET), f"{name}-{of_template}") for name in deployments}
    owners = raw["metadata"].get("ownerReferences") or []
    return any((o.get("kind"), o.get("name")) in sets for o in owners if o.get("controller"))


def _templates(kind: str, raw: Json) -> Iterable[Json]:
    spec = raw.get("spec") or {}
    if kind == Kind.POD:
        return [raw]
    job = (spec.get("jobTemplate") or {}).get("spec") or {} if kind == Kind.CRON_JOB else spec
    return [job.get("template") or {}]


def _owners(raw: Json) -> set[str]:
    return {str(o.get("uid")) for o in raw["metadata"].get("ownerReferences") or [] if o.get("controller")}


def _found(kind: ConfigKind, raw: Json | None, key: DigestKey | None) -> Found:
    return NoContent.ABSENT if raw is None else fingerprint_of(kind, content_of(kind, raw), key)
