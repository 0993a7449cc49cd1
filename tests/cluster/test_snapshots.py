"""A snapshot of a workload that reads ConfigMaps in every way: what it holds, what it names, and what it needs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from logcaster_guard import snapshot_tools
from logcaster_guard.adapters.kubernetes.cluster import KubernetesCluster
from logcaster_guard.cli.main import app
from logcaster_guard.config.loading import Loaded, load
from logcaster_guard.config.settings import Settings
from logcaster_guard.domain.configuration.content import NoContent
from logcaster_guard.domain.snapshots import NEVER_READ, Snapshot
from logcaster_guard.ports import Cluster as ClusterPort
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from tests import canary
from tests.canary import ONE, TWO
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS, rules_in
from tests.real.waiting import until

pytestmark = pytest.mark.timeout(60)
Json = dict[str, Any]
READ = ("by-env", "by-env-from", "by-volume")
REFUSED, ABSENT, PASSWORD = "not-granted", "absent", "password"
CONFIG_RULE = next(rule for rule in rules_in("components/config/rbac.yaml") if "get" in rule["verbs"])
"""What deploy/components/config grants to read; here for the objects of the test."""


def reading() -> Json:
    """A Deployment whose pods read ConfigMaps by a variable, by envFrom and as volumes, and a Secret."""
    body = objects.deployment(objects.image("1.0"), replicas=0)
    spec = body["spec"]["template"]["spec"]
    names = {"files": "by-volume", "more": ABSENT, "further": REFUSED}
    spec["volumes"] = [{"name": v, "configMap": {"name": name, "optional": True}} for v, name in names.items()]
    spec["containers"][0] |= {
        "env": [
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "by-env", "key": "level"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": PASSWORD, "key": "word"}}},
            {"name": "API_TOKEN", "value": "hunter22"},
        ],
        "envFrom": [{"configMapRef": {"name": "by-env-from"}}],
        "volumeMounts": [{"name": name, "mountPath": f"/etc/{name}"} for name in names],
    }
    return body


class Saved:
    """The workload with what it reads, and the settings of the guard that looks at it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.base = f"/api/v1/namespaces/{cluster.namespace}"
        (cluster.folder / "blobs").mkdir()
        self.file = cluster.folder / "guard.yaml"
        target = {"name": "web", "namespace": cluster.namespace, "deployment": objects.DEPLOYMENT}
        kept = {"path": str(cluster.folder / "journal.db"), "blobs": str(cluster.folder / "blobs")}
        kubernetes = {"kubeconfig": str(cluster.kubeconfig("guard"))}
        text = {"targets": [target], "journal": kept, "sources": {"kubernetes": kubernetes}}
        self.file.write_text(yaml.safe_dump(text))

    @property
    def settings(self) -> Settings:
        loaded = load(self.file)
        assert isinstance(loaded, Loaded)
        return loaded.settings

    async def install(self) -> None:
        rule = {**CONFIG_RULE, "resourceNames": [*READ, ABSENT]}
        await self.cluster.grant("guard", [*OF_TARGETS, rule])
        for name in (*READ, REFUSED):
            body = {"metadata": {"name": name}, "data": {"level": name}, "binaryData": {"key": "AAEC"}}
            await self.cluster.admin.create(f"{self.base}/configmaps", body)
        secret = {"metadata": {"name": PASSWORD}, "stringData": {"word": ONE}}
        await self.cluster.admin.create(f"{self.base}/secrets", secret)
        path = f"/apis/apps/v1/namespaces/{self.cluster.namespace}/deployments"
        await self.cluster.admin.create(path, reading())

    async def take(self) -> tuple[str, Snapshot]:
        [made] = await snapshot_tools.create(self.settings)
        return made.name, made.snapshot

    async def call(self, *arguments: str) -> Result:
        command = ["snapshots", *arguments, "--config", str(self.file)]
        return await asyncio.to_thread(CliRunner().invoke, app, command, env={"COLUMNS": "200"})


@pytest.fixture
async def saved(cluster: Cluster, api: ClusterPort) -> Saved:
    made = Saved(cluster)
    await made.install()
    assert isinstance(api, KubernetesCluster)

    async def granted() -> bool:
        return await api.may("get", "", "configmaps", cluster.namespace, ABSENT) is not False

    await until(granted)
    return made


async def test_it_holds_what_the_pods_read_as_the_api_server_gives_it(cluster: Cluster, saved: Saved) -> None:
    _, snapshot = await saved.take()
    real = cluster.kind == "real"
    for name in READ if real else (*READ, REFUSED):
        manifest = await cluster.admin.get(f"{saved.base}/configmaps/{name}")
        assert snapshot.find("ConfigMap", name) == {**manifest, "kind": "ConfigMap"}
    left_out = {(o.kind, o.name): (o.reason, o.detail) for o in snapshot.omissions}
    assert left_out.pop(("Secret", PASSWORD)) == (NoContent.UNREADABLE, NEVER_READ)
    assert left_out.pop(("ConfigMap", ABSENT)) == (NoContent.ABSENT, "")
    assert left_out.pop(("Service", "logcaster")) == (NoContent.ABSENT, "")
    if real:
        reason, detail = left_out.pop(("ConfigMap", REFUSED))
        assert reason is NoContent.UNREADABLE
        assert f"cannot get configmaps {REFUSED} in namespace {cluster.namespace}" in detail
        assert detail.endswith("as deploy/components/config does.")
    assert left_out == {}
    asked = [r for r in await cluster.read_audit() if r.namespace == cluster.namespace and r.user.endswith("guard")]
    # The real control plane writes no reads down, and lets the guard read no Secret.
    assert real or {r.verb for r in asked if r.resource == "configmaps"} == {"get"}
    assert not [r for r in asked if r.resource == "secrets"]


async def test_of_a_second_one_the_index_alone_is_new_until_something_is_edited(cluster: Cluster, saved: Saved) -> None:
    await saved.take()
    before = kept(cluster)
    first, snapshot = await saved.take()
    assert len(kept(cluster) - before) == 1
    edit = {"data": {"level": "debug"}}
    await cluster.admin.patch(f"{saved.base}/configmaps/by-env", edit, MERGE_PATCH)
    second, edited = await saved.take()
    # The index, and the ConfigMap.
    assert len(kept(cluster) - before) == 3
    found, now = (s.find("ConfigMap", "by-env") for s in (snapshot, edited))
    assert found is not None
    assert now is not None
    assert (found["data"]["level"], now["data"]["level"]) == ("by-env", "debug")
    assert first != second


def kept(cluster: Cluster) -> set[str]:
    return {f.name for f in (cluster.folder / "blobs").rglob("*") if f.is_file()}


async def test_people_take_one_and_see_what_has_changed_since(cluster: Cluster, saved: Saved) -> None:
    made = await saved.call("create", "--target", "web")
    assert made.exit_code == 0, made.output
    name, of = made.stdout.split()
    assert of == f"{cluster.namespace}/{objects.DEPLOYMENT}"
    assert (f"ConfigMap {cluster.namespace}/{REFUSED} is left out" in made.stderr) == (cluster.kind == "real")
    same = await saved.call("diff", name)
    assert (same.exit_code, same.stdout) == (0, "Nothing differs.\n")
    assert (f"ConfigMap/{REFUSED} is not compared" in same.stderr) == (cluster.kind == "real")
    await cluster.admin.patch(f"{saved.base}/configmaps/by-volume", {"data": {"level": "debug"}}, MERGE_PATCH)
    await cluster.admin.create(f"{saved.base}/configmaps", {"metadata": {"name": ABSENT}, "data": {"new": "one"}})
    differs = await saved.call("diff", name)
    lines = [line for line in differs.stdout.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}]
    assert differs.exit_code == 1
    assert {"-  level: by-volume", "+  level: debug", "+  new: one"} <= set(lines)
    assert "hunter" not in differs.output + (await saved.call("show", name)).output
    assert "hunter22" in (await saved.call("show", name, "--reveal")).stdout


async def test_of_a_secret_people_see_that_it_is_kept_and_which_keys_differ_now(cluster: Cluster, saved: Saved) -> None:
    saved.file.write_text(saved.file.read_text() + "config: {secrets: restore}\n")
    rule = {**CONFIG_RULE, "resourceNames": [*READ, ABSENT]}
    secrets = rules_in("components/secrets/rbac.yaml", names={"logcaster-credentials": PASSWORD})
    await cluster.regrant("guard", [*OF_TARGETS, rule, *secrets])

    async def kept() -> bool:
        return bool((await saved.take())[1].secrets)

    await until(kept)
    name, snapshot = await saved.take()
    [secret] = snapshot.secrets
    shown = await saved.call("show", name)
    assert f"# Secret {cluster.namespace}/{PASSWORD} is kept: {secret.place}" in shown.stdout
    same = await saved.call("diff", name)
    assert (same.exit_code, same.stdout) == (0, "Nothing differs.\n")
    # As a plain edit does; the other key stays.
    edit = {"stringData": {"word": TWO, "user": "guard"}}
    await cluster.admin.patch(f"{saved.base}/secrets/{PASSWORD}", edit, MERGE_PATCH)
    differs = await saved.call("diff", name, "--reveal")
    lines = [line for line in differs.stdout.splitlines() if line[:2] in {"- ", "+ "}]
    assert (differs.exit_code, lines) == (1, ["-  word: (hidden 1)", "+  user: (hidden 2)", "+  word: (hidden 3)"])
    assert not canary.is_in(differs.output)


async def test_the_component_grants_no_more_than_to_read_what_it_names(
    cluster: Cluster, api: ClusterPort, saved: Saved
) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    assert isinstance(api, KubernetesCluster)
    assert saved.settings.targets
    assert CONFIG_RULE["verbs"] == ["get", "list", "watch"]
    for verb in ("create", "update", "patch", "delete"):
        assert await api.may(verb, "", "configmaps", cluster.namespace, READ[0]) is False
    assert await api.may("get", "", "configmaps", cluster.namespace, REFUSED) is False
    assert await api.may("get", "", "secrets", cluster.namespace, PASSWORD) is False
    # Without it every ConfigMap is named, and the snapshot is taken all the same.
    await cluster.regrant("guard", OF_TARGETS)

    async def withdrawn() -> bool:
        return await api.may("get", "", "configmaps", cluster.namespace, READ[0]) is False

    await until(withdrawn)
    _, snapshot = await saved.take()
    assert {o.name for o in snapshot.unread} == {*READ, REFUSED, ABSENT}
    assert snapshot.find("Deployment", objects.DEPLOYMENT) is not None
