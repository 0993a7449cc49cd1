"""A service on a bad release in a namespace of its own, a journal that knows the good one, and guards over both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from logcaster_guard import saved_snapshots
from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.adapters.kubernetes.event_channel import COMPONENT, EventChannel
from logcaster_guard.adapters.kubernetes.saved_secrets import KubernetesSavedSecrets, Where
from logcaster_guard.domain import capacity, releases
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.configuration.manifests import manifest_of
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.events import OwnerResumed, OwnerSuspended, RevisionGood, RevisionLive, SignalSeen
from logcaster_guard.domain.gitops import is_suspended, mark_of
from logcaster_guard.domain.rules import Policy
from logcaster_guard.domain.sidecar import CONTAINER
from logcaster_guard.domain.signals import SourceName, Target
from logcaster_guard.domain.snapshots import Snapshot
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.compaction import state_of
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Channel, Clock, Entry, Journal, Json, Rights, SavedSecrets, Source
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH, STRATEGIC_PATCH
from logcaster_guard.sandbox.configuration import data_digest
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.world import World
from tests import canary
from tests.cluster import environments, owners
from tests.cluster.case import (
    BAD,
    GOOD,
    IMMEDIATE,
    OF_CONFIG_MAP,
    OF_SECRET,
    PACE,
    POLICY,
    REPLICAS,
    RULE,
    SIGNAL,
    SIGNALS,
    WITHIN,
    Case,
    ConfigHeld,
    ImageSource,
    held,
)
from tests.cluster.crashes import Cell, MortalBlobs, MortalCluster, MortalJournal, Tape
from tests.cluster.ending import Facts, refusal_told, told
from tests.cluster.harness import Cluster, drop_namespace, make_namespace
from tests.cluster.roles import CONFIG_ROLE, COPIED_SECRETS_ROLE, COPIES_ROLE, SECRETS_ROLE
from tests.cluster.stores import CountedJournal, Onlooker, Stores, journal_rights
from tests.fakes.services import view_of
from tests.real.waiting import until


@dataclass
class Scene:
    """The service in its namespace.

    `minimum` is its autoscaler's minReplicas, None for no autoscaler; `generation` the Deployment's at the bad release;
    `channels` are told beside Kubernetes Events. `failing` is what a guard's calls go through in place of `api`.
    `account` tells what the guard may do; None: it is not asked. `health` answers checks of health. `started` counts
    the starts of containers that had read something by then.
    """

    cluster: Cluster
    world: World
    api: ClusterPort
    folder: Path
    minimum: int | None
    case: Case = IMMEDIATE
    generation: int = 0
    clock: SystemClock = field(default_factory=SystemClock)
    channels: Sequence[Channel] = ()
    owned: owners.Owned | None = None
    failing: ClusterPort | None = None
    account: Rights | None = None
    policy: Policy = POLICY
    health: Source | None = None
    started: int = 0
    restores_secrets: ClassVar[bool] = False

    @classmethod
    @contextlib.asynccontextmanager
    async def set_up(
        cls,
        cluster: Cluster,
        api: ClusterPort,
        rights: Sequence[Json],
        minimum: int | None,
        *,
        case: Case = IMMEDIATE,
        pace: Pace = PACE,
        replicas: int = REPLICAS,
    ) -> AsyncIterator[Self]:
        """Everything up to the rolled out bad release; `rights` are those of the guard."""
        name = f"{cluster.namespace}-{secrets.token_hex(4)}"
        cluster = replace(cluster, namespace=name)
        folder = cluster.folder / name
        await make_namespace(cluster.admin, name)
        kept = journal_rights() if case.in_cluster else ()
        config = (*CONFIG_ROLE, *COPIES_ROLE) if case.held else ()
        config = (*config, *SECRETS_ROLE, *COPIED_SECRETS_ROLE) if case.secret else config
        await cluster.grant("guard", [*rights, *(owners.RULES if case.owner else ()), *kept, *config])
        world = World(
            cluster.node(), namespace=name, pace=pace, period=0.05
        )  # fmt: skip
        await world.start(traffic=False, network=False)
        try:
            scene = cls(cluster, world, api, folder, minimum, case)
            await (scene._install_environments(replicas) if case.switches else scene._install(replicas))
            present = await cluster.admin.list(scene.deployments)
            scene.started = len(world.node.configuration.reads)
            scene.generation = sum(int(d["metadata"]["generation"]) for d in present)
            yield scene
        finally:
            if cluster.kind == "sandbox":
                # Its own node ends the pods.
                await cluster.admin.delete(f"/api/v1/namespaces/{name}")
                await world.stop()
            else:
                await world.stop()
                await drop_namespace(cluster.admin, name)

    async def _install(self, replicas: int) -> None:
        await self.world.install(GOOD, replicas=replicas)
        saved = await self._read_config(objects.DEPLOYMENT)
        if self.case.sidecar:
            await self.add_guard("0.1")
        good, then = await self.world.rolled_out(WITHIN), datetime.now(UTC)
        if self.minimum is not None:
            await self.cluster.admin.create(self.autoscalers, autoscaler(self.minimum, replicas, objects.DEPLOYMENT))
        path = f"{self.deployments}/{objects.DEPLOYMENT}"
        await self._hold_bad()
        await self.cluster.admin.patch(path, self.case.roll_out(BAD), STRATEGIC_PATCH)
        if self.case.sidecar:
            await self.add_guard("0.2")
        bad = await self.world.rolled_out(WITHIN)
        if self.case.owner is not None:
            self.owned = await owners.Owned.make(self.cluster, self.case.owner, revision=BAD)
        contents = await self.keep(*saved)
        await seed(self.stores, self.target.key, good, bad, then, contents=contents)

    async def _read_config(self, *deployments: str) -> Sequence[Json]:
        """Somebody makes what the pods of these are to read, and lets them read it; as it is then."""
        if not self.case.held:
            return []
        made = [{**await self.make(one), "kind": str(one.kind)} for one in self.case.held]
        sources = [{one.source: {"name": one.name}} for one in self.case.held]
        container = {"name": objects.CONTAINER, "envFrom": sources}
        spec = {"spec": {"template": {"spec": {"containers": [container]}}}}
        for name in deployments:
            await self.cluster.admin.patch(f"{self.deployments}/{name}", spec, STRATEGIC_PATCH)
        return made

    async def make(self, one: ConfigHeld) -> Json:
        """Somebody makes it, with what it holds for the good release."""
        return await self.cluster.admin.create(one.path(self.cluster.namespace), one.manifest(one.versions[GOOD]))

    async def hold(self, one: ConfigHeld, data: Mapping[str, str]) -> None:
        """Somebody lets it hold this and nothing else."""
        path = f"{one.path(self.cluster.namespace)}/{one.name}"
        await self.cluster.admin.patch(path, one.replacing(data), MERGE_PATCH)

    async def _hold_bad(self) -> None:
        for one in self.case.held:
            await self.hold(one, one.versions[BAD])

    async def keep(self, *objects: Json) -> Mapping[str, str]:
        """Keep ConfigMaps and Secrets as they are, as a guard does that sees them; where each of them is then."""
        manifests = KeptManifests(self.stores.blobs, self.secrets(self.api))
        contents = {}
        for raw in objects:
            one = ConfigObject(ConfigKind(raw["kind"]), raw["metadata"]["namespace"], raw["metadata"]["name"])
            contents[str(one)] = await manifests.put(one, manifest_of(one.kind, raw))
        return contents

    @property
    def _reads_secrets(self) -> bool:
        """Whether its guards read Secrets."""
        return self.restores_secrets or self.case.secret

    def secrets(self, api: ClusterPort) -> SavedSecrets | None:
        """Where a guard keeps what Secrets held; None where it reads none."""
        where = Where("logcaster-guard", [self.cluster.namespace])
        return KubernetesSavedSecrets(api, where) if self._reads_secrets else None

    async def add_guard(self, version: str) -> None:
        """Somebody puts this version of the guard into the pods, or in the place of the one that is there."""
        mount = {"name": "logcaster-guard-config", "mountPath": "/etc/logcaster-guard"}
        container = {"name": CONTAINER, "image": f"logcaster/logcaster-guard:{version}", "volumeMounts": [mount]}
        volume = {"name": mount["name"], "emptyDir": {}}
        spec = {"containers": [container], "volumes": [volume]}
        path = f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments/{objects.DEPLOYMENT}"
        await self.cluster.admin.patch(path, {"spec": {"template": {"spec": spec}}}, STRATEGIC_PATCH)

    async def _install_environments(self, replicas: int) -> None:
        both = (environments.BLUE, environments.GREEN)
        reading = environments.Reading(partial(self._read_config, *both), self._hold_bad)
        made = await environments.install(
            self.world,
            GOOD,
            BAD,
            replicas=replicas,
            within=WITHIN,
            missing=self.case.missing,
            reading=reading if self.case.held else None,
        )
        if self.minimum is not None:
            # It keeps the idle environment small until it is told otherwise.
            await self.cluster.admin.create(self.autoscalers, autoscaler(self.minimum, replicas, environments.BLUE))
            await until(self._idles_as_told, WITHIN)
            if not self.case.missing:
                await self.world.rolled_out(WITHIN, name=environments.BLUE)
        contents = await self.keep(*made.read)
        key, then = self.target.key, made.changed
        await seed(self.stores, key, made.good, made.bad, then, snapshot=made.snapshot, contents=contents)

    async def _idles_as_told(self) -> bool:
        """Whether the autoscaler has brought the idle environment to its minimum."""
        if self.case.missing:
            return True
        return int((await self.world.deployment(environments.BLUE))["spec"]["replicas"]) >= (self.minimum or 0)

    @property
    def deployments(self) -> str:
        """The path of the namespace's Deployments."""
        return f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments"

    @property
    def autoscalers(self) -> str:
        """The path of the namespace's autoscalers."""
        return f"/apis/autoscaling/v2/namespaces/{self.cluster.namespace}/horizontalpodautoscalers"

    @property
    def stores(self) -> Stores:
        """What its guards have kept, as it is read from outside."""
        return Stores(self.folder, self.cluster.namespace, self.api if self.case.in_cluster else None)

    @property
    def guard_stores(self) -> Stores:
        """Where its guards keep what they do."""
        return replace(self.stores, api=(self.failing or self.api) if self.case.in_cluster else None)

    async def life(self, cell: Cell | None, *, tape: Tape | None = None) -> Tape:
        """One guard from its start until it dies as `cell` says, or until it has nothing left to do."""
        tape = tape or Tape(cell)
        source = ImageSource(self.world, self.clock, self.case)
        async with self.guard_stores.journal() as kept, self.stores.beside(kept) as seen:
            journal = CountedJournal(kept)
            onlooker = Onlooker(journal, seen)
            guard = self.guard(journal, source, tape)
            task = asyncio.create_task(guard.run())
            try:
                try:
                    await self._ended(task, tape, onlooker, source)
                except TimeoutError as error:
                    raise TimeoutError(f"it stood still after {await _latest(onlooker)}") from error
                if task.done() and not tape.dead.is_set():
                    await task
            finally:
                await _torn_down(task)
                await tape.landed()
        return tape

    def guard(
        self,
        journal: Journal,
        source: ImageSource,
        tape: Tape,
        *,
        clock: Clock | None = None,
        authority: LeaderElector | None = None,
    ) -> Guard:
        """A guard over the scene, whose calls go through the tape."""
        cluster = MortalCluster(self.failing or self.api, tape)
        return Guard(
            self.configuration,
            GuardPorts(
                cluster=cluster,
                view=view_of(cluster, self.clock, shared_for=self.policy.polling.interval / 2),
                sources={SourceName.SCRAPE: source} | ({SourceName.HTTP: self.health} if self.health else {}),
                journal=MortalJournal(journal, tape),
                blobs=MortalBlobs(self.guard_stores.blobs, tape),
                channels=[EventChannel(cluster), *self.channels],
                clock=clock or self.clock,
                rights=self.account,
                # As with blobs, that something is kept is no point of the record.
                saved_secrets=self.secrets(self.failing or self.api),
            ),
            authority=authority,
        )

    @property
    def configuration(self) -> Configuration:
        """What the guard is told to watch, by which rules."""
        return Configuration([self.target], SIGNALS, [replace(RULE, action=self.case.action)], self.policy)

    @property
    def target(self) -> Target:
        """What the guard guards."""
        namespace = self.cluster.namespace
        if not self.case.switches:
            gitops = self.case.gitops if self.case.owner else None
            return Target("logcaster", namespace, objects.DEPLOYMENT, service=objects.SERVICE, gitops=gitops)
        active = objects.ACTIVE_SERVICE
        health = "http://logcaster:9998/health" if self.health else None
        return Target(
            "logcaster", namespace, active, service=active, environments=objects.ENVIRONMENTS, health_url=health
        )

    async def production(self) -> Json:
        """The Deployment that the Service leads to."""
        return await (self.world.live() if self.case.switches else self.world.deployment())

    async def swept(self) -> None:
        """A guard looks after what was left behind, once."""
        async with self.stores.journal() as journal:
            guard = self.guard(journal, ImageSource(self.world, self.clock, self.case), Tape(None))
            await guard.state.load()
            await guard.sweep()
        await self.alone()

    async def alone(self) -> None:
        """Return once no Deployment is there but those that the case leaves."""

        async def is_alone() -> bool:
            return len(await self.cluster.admin.list(self.deployments)) == len(self.case.left)

        await until(is_alone, WITHIN)

    async def _ended(self, task: asyncio.Task[None], tape: Tape, onlooker: Onlooker, source: ImageSource) -> None:
        """Return when the guard is dead, or has nothing left to do."""

        looked_at: Sequence[Entry] = ()

        async def idle() -> bool:
            nonlocal looked_at
            if tape.dead.is_set() or task.done():
                return True
            before, looked_at = looked_at, await onlooker.entries()
            return looked_at is not before and self.over(looked_at)

        async def looked_again() -> bool:
            return tape.dead.is_set() or task.done() or source.reads >= enough

        await until(idle, WITHIN)
        # Whoever would roll back a second time has had every occasion.
        enough = source.reads + 5
        await until(looked_again, WITHIN)

    def over(self, entries: Sequence[Entry]) -> bool:
        """Whether nothing is left to be done or told, as far as the journal tells."""
        facts = told(entries)
        if self.case.refused:
            return refusal_told(entries) and facts[2] <= facts[3]
        if not facts[0] or not all(r.closed for r in facts[0]) or not facts[2] <= facts[3]:
            return False
        # After a destination that was bad the errors go on, and there is nothing left to go back to.
        return not self.case.beside or refusal_told(entries)

    async def facts(self) -> Facts:
        """How it stands; no guard may be alive."""
        async with self.stores.journal() as journal:
            return await self.facts_of(journal)

    async def facts_of(self, journal: Journal) -> Facts:
        """As `facts`, where the journal is open already."""
        entries = await journal.read_all()
        found, known, queued, settled = told(entries)
        bounds = None
        if self.minimum is not None:
            raw = await self.cluster.admin.get(f"{self.autoscalers}/{objects.DEPLOYMENT}")
            bounds = (raw["spec"]["minReplicas"], raw["spec"]["maxReplicas"])
        present = await self.cluster.admin.list(self.deployments)
        events = await self.cluster.admin.list(f"/api/v1/namespaces/{self.cluster.namespace}/events")
        mine = [e for e in events if (e.get("source") or {}).get("component") == COMPONENT]
        deployment = await self.production()
        held_now = await held(self.world) if OF_CONFIG_MAP in self.case.held else None
        return Facts(
            image=self.case.serves_as(deployment, held_now),
            held=held_now,
            secret=await self._secret(),
            leaks=await self.leaks(),
            copies=await self._copies(),
            deferred=_deferred(entries),
            mixed=await self._mixed(),
            changes=sum(int(d["metadata"]["generation"]) for d in present) - self.generation,
            replicas=int(deployment["spec"]["replicas"]),
            sizes={d["metadata"]["name"]: int(d["spec"]["replicas"]) for d in present},
            deployments=sorted(d["metadata"]["name"] for d in present),
            bounds=bounds,
            runs=found,
            ledger=known,
            queued=queued,
            settled=settled,
            reasons=Counter(str(e["reason"]) for e in mine for _ in range(int(e.get("count") or 1))),
            owner=await self._owner(entries),
        )

    async def _copies(self) -> Sequence[str]:
        """The copies of ConfigMaps and Secrets that are there."""
        plurals = ("configmaps", *(["secrets"] if self._reads_secrets else []))
        paths = [f"/api/v1/namespaces/{self.cluster.namespace}/{plural}" for plural in plurals]
        found = [item["metadata"] for path in paths for item in await self.cluster.admin.list(path)]
        return [str(metadata["name"]) for metadata in found if COPY_LABEL in (metadata.get("labels") or {})]

    async def _secret(self) -> str | None:
        """Whose the content of the Secret is, in a word; None where pods read none."""
        if not self.case.secret:
            return None
        found = await self.cluster.admin.list(OF_SECRET.path(self.cluster.namespace))
        data = [s.get("data") or {} for s in found if s["metadata"]["name"] == OF_SECRET.name]
        return OF_SECRET.version(data[0]) if data else "nothing"

    async def leaks(self) -> Sequence[str]:
        """Where something of a Secret stands that guards have written elsewhere."""
        if not self.case.secret:
            return []
        files = [str(file) for file in canary.files_with_it(self.folder)]
        sent = await self.cluster.audit() if self.cluster.kind == "sandbox" else []
        told = [f"{r.resource} {r.name}" for r in sent if r.resource != "secrets" and canary.is_in(json.dumps(r.body))]
        return [*files, *told]

    async def _mixed(self) -> Sequence[str]:
        """The pods of the good release that have started since on what another one's were to read."""
        if not self.case.held or self.case.keeps_template:
            return []
        digests = self.good_digests()
        sets = await self.cluster.admin.list(f"/apis/apps/v1/namespaces/{self.cluster.namespace}/replicasets")
        good = [s["metadata"]["name"] for s in sets if Workload(s).images[0] == objects.image(GOOD)]
        names = (*good, capacity.helper_name(objects.DEPLOYMENT))
        since = self.world.node.configuration.reads[self.started :]
        reads = [r for r in since if r.pod.startswith(tuple(f"{n}-" for n in names))]
        return [r.pod for r in reads if any(seen.digest not in digests for seen in r.seen)]

    def good_digests(self) -> frozenset[str]:
        """Of all that the pods of the good release are to read."""
        return frozenset(data_digest({"data": dict(one.versions[GOOD])}) for one in self.case.held)

    async def _owner(self, entries: Sequence[Entry]) -> tuple[bool, bool, bool] | None:
        if self.owned is None:
            return None
        raw = await self.owned.raw()
        suspended = sum(isinstance(e.event, OwnerSuspended) for e in entries)
        resumed = sum(isinstance(e.event, OwnerResumed) for e in entries)
        return is_suspended(raw), mark_of(raw) is not None, suspended > resumed


def _deferred(entries: Sequence[Entry]) -> Sequence[str]:
    """What the journal tells to be still borrowed after the runs."""
    state = state_of(entries)
    return sorted(event.hold.id for event in state.deferred.values())


async def _latest(onlooker: Onlooker) -> str:
    """The last events of a journal, for whoever has to find out why nothing follows."""
    events = [e.event for e in await onlooker.entries()]
    return "; ".join(f"{getattr(e, 'at', '')} {e}"[11:180] for e in events[-6:])


async def seed(
    stores: Stores,
    key: str,
    good: Json,
    bad: Json,
    changed: datetime,
    *,
    snapshot: Snapshot | None = None,
    contents: Mapping[str, str] | None = None,
) -> None:
    """A journal: the target was good for a day, and at `changed` the bad release came.

    `snapshot` and `contents` are what was saved with the good one.
    """
    blobs = stores.blobs
    live = []
    for deployment, since in ((good, changed - timedelta(days=1)), (bad, changed)):
        workload = Workload(deployment)
        live.append(
            RevisionLive(
                at=since,
                template=workload.hash,
                revision=workload.revision,
                uid=workload.uid,
                blob=await blobs.put(releases.of_workload(workload).to_bytes()),
                images=workload.images,
                earliest=since,
            )
        )
    kept = "" if snapshot is None else await saved_snapshots.save(blobs, snapshot)
    known = "configuration-of-the-good-one" if contents else ""
    live[0] = replace(live[0], configuration=known, contents=dict(contents or {}))
    after = POLICY.ledger.good_after
    earned = RevisionGood(changed, live[0].template, 1.0, after, kept, configuration=known)
    seen = SignalSeen(changed, SIGNAL.name)
    async with stores.journal() as journal:
        await journal.append(f"target/{key}", [live[0], seen, earned, live[1]], 0)


def autoscaler(minimum: int, replicas: int, deployment: str) -> Json:
    """An autoscaler of that Deployment, for twice the replicas at most, that no metric ever moves."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": objects.DEPLOYMENT},
        "spec": {
            "minReplicas": minimum,
            "maxReplicas": replicas * 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        },
    }


async def _torn_down(task: asyncio.Task[None]) -> None:
    """End a guard at once: whoever waits in a `finally` is cut off too."""
    for _ in range(50):
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.2)
        if done:
            # Taken note of, whatever it is: a dead guard's tasks fail in every way.
            _ = task.cancelled() or task.exception()
            return
    raise AssertionError("the guard does not end")
