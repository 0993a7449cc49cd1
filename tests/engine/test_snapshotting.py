"""What a snapshot holds, what it names as left out, and what is kept of two that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from logcaster_guard import saved_snapshots
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.events import RevisionGood, RunOpened
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.snapshots import NEVER_READ, Omission, Snapshot
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.snapshotting import Snapshotter
from logcaster_guard.kept_manifests import KeptManifests
from logcaster_guard.ports import Kind
from tests import canary
from tests.canary import ONE, TWO, encoded
from tests.engine.bench import FIRES, PROD
from tests.engine.configured import configured
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import NAMESPACE, FakeCluster
from tests.fakes.saved_secrets import MemorySavedSecrets

WEB = Target("web", NAMESPACE, "web", service="web")
GREEN = Target("shop", NAMESPACE, "shop", service="shop", environments={"blue": "blue", "green": "green"})


class Scene:
    """A Deployment that reads a ConfigMap by a variable, one by envFrom, one as a volume, and a Secret."""

    def __init__(self, target: Target = WEB, secrets: MemorySavedSecrets | None = None) -> None:
        self.clock, self.blobs, self.target = FakeClock(), MemoryBlobs(), target
        self.cluster = FakeCluster(self.clock)
        for name in target.environments.values() or [target.deployment]:
            self.cluster.add_deployment(name, "v1")
            self.cluster.change(Kind.DEPLOYMENT, name, refer)
        self.cluster.add(Kind.SERVICE, str(target.service), spec={"selector": {}})
        for name in ("by-env", "by-env-from", "by-volume", "of-nobody"):
            self.cluster.add(Kind.CONFIG_MAP, name, data={"level": name})
        self.cluster.add(Kind.SECRET, "password", data={"password": encoded(ONE)})
        self.cluster.fault = self._fault
        self.asked: list[tuple[Kind, str]] = []
        self.refused: Callable[[Kind, str], ClusterError | None] = lambda *_: None
        self.snapshotter = Snapshotter(target, self.cluster, KeptManifests(self.blobs, secrets), self.clock)

    def _fault(self, _: str, kind: Kind, name: str) -> ClusterError | None:
        self.asked.append((kind, name))
        return self.refused(kind, name)

    async def take(self, name: str = "web") -> Snapshot:
        workload = Workload(self.cluster.object(Kind.DEPLOYMENT, name))
        return await saved_snapshots.load(self.blobs, await self.snapshotter.take(workload))


def refer(deployment: dict[str, Any]) -> None:
    spec = deployment["spec"]["template"]["spec"]
    spec["volumes"] = [
        {"name": "files", "configMap": {"name": "by-volume"}},
        {"name": "more", "configMap": {"name": "absent", "optional": True}},
    ]
    secret = {"secretKeyRef": {"name": "password", "key": "password"}}
    spec["containers"][0] |= {
        "env": [
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "by-env", "key": "level"}}},
            {"name": "PASSWORD", "valueFrom": secret},
        ],
        "envFrom": [{"configMapRef": {"name": "by-env-from"}}],
        "volumeMounts": [{"name": name, "mountPath": f"/etc/{name}"} for name in ("files", "more")],
    }


def refusing(name: str, error: ClusterError) -> Callable[[Kind, str], ClusterError | None]:
    return lambda _, called: error if called == name else None


def configuration(snapshot: Snapshot) -> dict[str, str]:
    return {m["metadata"]["name"]: m["data"]["level"] for m in snapshot.manifests if m["kind"] == "ConfigMap"}


LEFT_OUT = [
    Omission("ConfigMap", NAMESPACE, "absent", NoContent.ABSENT),
    Omission("Secret", NAMESPACE, "password", NoContent.UNREADABLE, NEVER_READ),
]


async def test_the_config_maps_of_the_pod_template_are_saved_and_of_secrets_the_name() -> None:
    scene = Scene()
    snapshot = await scene.take()
    assert configuration(snapshot) == {name: name for name in ("by-env", "by-env-from", "by-volume")}
    assert list(snapshot.omissions) == LEFT_OUT
    assert snapshot.find("ConfigMap", "by-env") == scene.cluster.object(Kind.CONFIG_MAP, "by-env")
    assert Kind.SECRET not in {kind for kind, _ in scene.asked}
    assert not any(canary.is_in(content) for content in scene.blobs.contents)


async def test_what_a_secret_holds_is_kept_in_its_own_store_and_named_by_its_place() -> None:
    secrets = MemorySavedSecrets()
    scene = Scene(secrets=secrets)
    snapshot = await scene.take()
    assert snapshot.omissions == (Omission("ConfigMap", NAMESPACE, "absent", NoContent.ABSENT),)
    [saved] = snapshot.secrets
    assert (saved.namespace, saved.name) == (NAMESPACE, "password")
    assert encoded(ONE).encode() in (await secrets.get(saved.place)).reveal()
    assert not any(canary.is_in(content) for content in scene.blobs.contents)
    before = len(scene.blobs.contents)
    scene.cluster.change(Kind.SECRET, "password", lambda s: s["data"].update({"password": encoded(TWO)}))
    [other] = (await scene.take()).secrets
    # The index alone is new.
    assert (other.place != saved.place, len(scene.blobs.contents)) == (True, before + 1)


def no_right(scene: Scene, _: MemorySavedSecrets) -> None:
    scene.refused = refusing("password", Rejected("forbidden", status=403))


def no_room(_: Scene, secrets: MemorySavedSecrets) -> None:
    secrets.full = True


def token(scene: Scene, _: MemorySavedSecrets) -> None:
    scene.cluster.change(Kind.SECRET, "password", lambda s: s.update(type="kubernetes.io/service-account-token"))


@pytest.mark.parametrize(
    ("mishap", "why"),
    [(no_right, "as deploy/components/secrets does."), (no_room, "exceeded quota"), (token, "the cluster issues")],
)
async def test_a_secret_that_cannot_be_kept_is_named_with_why(
    mishap: Callable[[Scene, MemorySavedSecrets], None], why: str
) -> None:
    secrets = MemorySavedSecrets()
    scene = Scene(secrets=secrets)
    mishap(scene, secrets)
    snapshot = await scene.take()
    assert (snapshot.secrets, secrets.kept) == ((), {})
    [left_out] = [o for o in snapshot.omissions if o.kind == "Secret"]
    assert (left_out.reason, why in left_out.detail) == (NoContent.UNREADABLE, True)
    assert left_out in snapshot.unread


async def test_those_of_the_other_environment_are_saved_too() -> None:
    scene = Scene(GREEN)
    scene.cluster.add(Kind.CONFIG_MAP, "of-blue", data={"level": "of-blue"})
    scene.cluster.change(
        Kind.DEPLOYMENT,
        "blue",
        lambda d: d["spec"]["template"]["spec"]["containers"][0].update(
            envFrom=[{"configMapRef": {"name": "of-blue"}}]
        ),
    )
    snapshot = await scene.take("green")
    assert snapshot.manifests[0]["metadata"]["name"] == "green"
    assert set(configuration(snapshot)) == {"by-env", "by-env-from", "by-volume", "of-blue"}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Rejected("forbidden", status=403), "as deploy/components/config does."),
        (Unavailable("the API server gave no answer"), "the API server gave no answer"),
    ],
)
async def test_a_config_map_that_cannot_be_read_is_named_and_told_once(error: ClusterError, why: str) -> None:
    scene = Scene()
    scene.refused = refusing("by-env", error)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            snapshot = await scene.take()
        told = [line for line in lines if line["event"] == "snapshot.incomplete"]
        scene.refused = lambda *_: None
        assert "by-env" in configuration(await scene.take())
        scene.refused = refusing("by-env", error)
        await scene.take()
    assert set(configuration(snapshot)) == {"by-env-from", "by-volume"}
    [left_out] = [o for o in snapshot.omissions if o.name == "by-env"]
    assert (left_out.reason, left_out.detail.endswith(why)) == (NoContent.UNREADABLE, True)
    assert [(line["left_out"], line["log_level"]) for line in told] == [("ConfigMap default/by-env", "warning")]
    assert len([line for line in lines if line["event"] == "snapshot.incomplete"]) == 2


@pytest.mark.parametrize("kind", [Kind.AUTOSCALER, Kind.DISRUPTION_BUDGET, Kind.SERVICE])
async def test_nothing_that_may_not_be_read_holds_a_snapshot_up(kind: Kind) -> None:
    scene = Scene()
    scene.refused = lambda asked, _: Rejected("forbidden", status=403) if asked is kind else None
    snapshot = await scene.take()
    assert [o.kind for o in snapshot.omissions if o.detail == "forbidden"] == [kind]
    assert set(configuration(snapshot)) == {"by-env", "by-env-from", "by-volume"}


async def test_an_api_server_that_is_away_is_no_snapshot() -> None:
    scene = Scene()
    scene.refused = lambda kind, _: Unavailable("no answer") if kind is Kind.SERVICE else None
    with pytest.raises(Unavailable):
        await scene.take()


async def test_of_two_that_differ_in_the_time_alone_one_index_more_is_kept() -> None:
    scene = Scene()
    await scene.take()
    before = len(scene.blobs.contents)
    await scene.clock.advance(60.0)
    # What the status of a workload counts is no state to go back to.
    scene.cluster.change(Kind.DEPLOYMENT, "web", lambda d: d["status"].update(unavailableReplicas=1))
    await scene.take()
    assert len(scene.blobs.contents) == before + 1
    scene.cluster.change(Kind.CONFIG_MAP, "by-env", lambda c: c["data"].update(level="debug"))
    assert configuration(await scene.take())["by-env"] == "debug"
    assert len(scene.blobs.contents) == before + 3


@pytest.mark.parametrize("error", [None, Rejected("forbidden", status=403), Unavailable("no answer")])
async def test_a_good_release_and_a_run_each_have_theirs_and_no_run_waits_for_it(error: ClusterError | None) -> None:
    async with configured() as made:
        made.cluster.change(Kind.DEPLOYMENT, PROD, refer)
        made.pods("a")
        for name in ("by-env", "by-env-from", "by-volume"):
            made.cluster.add(Kind.CONFIG_MAP, name, data={"level": "good"})
        made.cluster.fault = lambda _, kind, name: error if (kind, name) == (Kind.CONFIG_MAP, "by-env") else None
        await made.bad_v2()
        made.cluster.change(Kind.CONFIG_MAP, "by-volume", lambda c: c["data"].update(level="bad"))
        await made.pass_(2 * FIRES)
        [opened], [earned, *_] = made.told(RunOpened), made.told(RevisionGood)
        before, good = [await saved_snapshots.load(made.blobs, s) for s in (opened.snapshot, earned.snapshot)]
        assert (configuration(good)["by-volume"], configuration(before)["by-volume"]) == ("good", "bad")
        assert {"by-env" in configuration(s) for s in (before, good)} == {error is None}
