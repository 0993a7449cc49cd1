"""What people say to the daemon by command, the daemon being a process of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml

from logcaster_guard.ports import Json
from logcaster_guard.sandbox import objects
from logcaster_guard.sandbox.client import MERGE_PATCH
from logcaster_guard.sandbox.lifecycle import Pace
from logcaster_guard.sandbox.release import Behaviour, Releases
from logcaster_guard.sandbox.world import World
from tests.cluster.case import image_of
from tests.cluster.daemon import Daemon
from tests.cluster.harness import Cluster
from tests.cluster.roles import OF_TARGETS
from tests.cluster.test_manual import command, free_address

DEPLOY = Path(__file__).parents[2] / "deploy"
PACE = Pace(start_delay=0.1, drain=0.2)
ASKS = """\
rollback_triggers:
  - {name: high_error_rate, condition: "error_rate > 5%", duration: 3s, action: alert_then_rollback, grace: 10m}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[World]:
    await cluster.grant("guard", OF_TARGETS)
    world = World(
        cluster.node(),
        namespace=cluster.namespace,
        releases=Releases({objects.image("2.0"): Behaviour(error_rate=0.5)}),
        rate=40,
        pace=PACE,
        period=0.1,
    )
    await world.start(traffic=False)
    await world.install("1.0")
    await world.rolled_out(30)
    await world.traffic.start()
    yield world
    await world.stop()


@pytest.fixture
async def daemon(cluster: Cluster, world: World, tmp_path: Path) -> AsyncIterator[Daemon]:
    rules = tmp_path / "rollback-rules.yaml"
    rules.write_text(ASKS)
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None, rules=rules)
    daemon.settings.write_text(daemon.settings.read_text() + f"web: {{listen: '{free_address()}'}}\n")
    await daemon.start()
    await daemon.until("revision.good")
    yield daemon
    await daemon.stop()


class Person:
    """Somebody at a shell with the rights of `admin` in the cluster."""

    def __init__(self, cluster: Cluster, daemon: Daemon) -> None:
        self.address = yaml.safe_load(daemon.settings.read_text())["web"]["listen"]
        # Not the guard's own settings: a person has a kubeconfig of their own.
        self._config = daemon.settings.parent / "mine" / "guard.yaml"
        self._config.parent.mkdir(exist_ok=True)
        target = {"name": "logcaster", "namespace": cluster.namespace}
        kubeconfig = str(cluster.kubeconfig("admin"))
        self._config.write_text(
            yaml.safe_dump({"targets": [target], "sources": {"kubernetes": {"kubeconfig": kubeconfig}}})
        )

    async def says(self, *words: str, address: str = "") -> tuple[int, str]:
        return await command(*words, "--config", str(self._config), "--address", address or self.address)

    async def says_in_json(self, *words: str) -> tuple[int, Json]:
        code, told = await self.says(*words, "--json")
        return code, json.loads(told)


async def asked(world: World, daemon: Daemon) -> Json:
    """A release that answers with errors is rolled out, and people are asked."""
    await world.deploy("2.0")
    await world.rolled_out(30)
    return await daemon.until("run.opened")


async def test_a_no_is_told_and_keeps_everything_as_it_is(cluster: Cluster, world: World, daemon: Daemon) -> None:
    person = Person(cluster, daemon)
    code, told = await person.says("veto")
    assert (code, "nothing to veto" in told) == (1, True), told
    opened = await asked(world, daemon)
    code, told = await person.says("veto", "--approval-token", "0" * 16)
    assert (code, "no such run is open" in told) == (1, True), told
    code, answer = await person.says_in_json("veto", "--run", opened["run"], "--reason", "we mend it forward")
    assert (code, answer["outcome"], answer["run_outcome"]) == (0, "done", "vetoed"), answer
    assert "we mend it forward" in answer["detail"]
    assert image_of(await world.deployment()) == objects.image("2.0")
    said = [r for r in await cluster.audit() if r.user == "admin" and "guard.logcaster.io/veto" in str(r.body)]
    assert [(r.verb, r.resource, r.code) for r in said] == [("patch", "deployments", 200)]


async def test_a_yes_begins_the_rollback_at_once(cluster: Cluster, world: World, daemon: Daemon) -> None:
    person = Person(cluster, daemon)
    opened = await asked(world, daemon)
    code, told = await person.says("approve")
    assert (code, "say --yes" in told, opened["run"] in told) == (2, True, True), told
    code, told = await person.says("approve", "--yes", "--reason", "go")
    assert (code, "was approved and goes on" in told) == (0, True), told
    closed = await daemon.until("run.closed")
    assert closed["outcome"] == "recovered"
    assert image_of(await world.deployment()) == objects.image("1.0")
    assert [(line["answer"], line["words"]) for line in daemon.told("run.answered")] == [("approve", "go")]


async def test_an_open_run_is_abandoned_the_guards_freeze_lifted_and_a_persons_kept(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    person = Person(cluster, daemon)
    opened = await asked(world, daemon)
    code, answer = await person.says_in_json("abandon", "--yes", "--target", "logcaster", "--reason", "not now")
    assert (code, answer["run_outcome"]) == (0, "abandoned"), answer
    closed = await daemon.until("run.closed", run=opened["run"])
    assert (closed["freeze"], closed["reason"]) == (True, "a person abandoned it: not now")
    assert image_of(await world.deployment()) == objects.image("2.0")

    code, told = await person.says("resume", "logcaster", "--yes", "--reason", "looked at")
    assert (code, "is not frozen any more" in told) == (0, True), told
    await daemon.until("target.thawed")
    code, told = await person.says("resume", "logcaster", "--yes", "--reason", "once more")
    assert (code, "it is not frozen" in told) == (1, True), told

    code, told = await person.says("freeze", f"{cluster.namespace}/{objects.DEPLOYMENT}", "--reason", "move")
    assert (code, "is frozen" in told) == (0, True), told
    assert daemon.told("target.frozen")[-1]["by"] == "annotation"
    code, told = await person.says("resume", "logcaster", "--yes", "--reason", "mine?")
    assert (code, "a person froze it (move)" in told) == (1, True), told
    code, told = await person.says("unfreeze", "logcaster", "--yes", "--reason", "move is over")
    assert (code, "is not frozen any more" in told) == (0, True), told
    code, told = await person.says("freeze", "logcaster", "--reason", "false alarm")
    assert (code, "would lift a freeze" in told) == (1, True), told
    code, told = await person.says("freeze", "logcaster", "--reason", "two\nlines")
    assert (code, "printable" in told) == (2, True), told


async def test_without_a_daemon_in_reach_the_approval_token_is_needed_and_is_enough(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    person = Person(cluster, daemon)
    await asked(world, daemon)
    await daemon.until("notice.queued", about="run.opened")
    nowhere = free_address()
    code, told = await person.says("veto", address=nowhere)
    assert (code, "--approval-token" in told) == (3, True), told
    code, told = await command("status", "--json", "--address", person.address)
    approval_token = json.loads(told)["targets"][0]["run"]["approval_token"]
    code, told = await person.says("veto", "--target", "logcaster", "--approval-token", approval_token, address=nowhere)
    assert (code, "Written" in told) == (0, True), told
    closed = await daemon.until("run.closed")
    assert closed["outcome"] == "vetoed"


async def test_kubectl_says_the_same_and_what_does_not_count_is_told(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    opened = await asked(world, daemon)
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{objects.DEPLOYMENT}"
    stale = {"metadata": {"annotations": {"guard.logcaster.io/approve": "0123456789abcdef 2099-01-01T00:00:00Z"}}}
    await world.client.patch(path, stale, MERGE_PATCH)
    denied = await daemon.until("answer.denied")
    assert (denied["run"], denied["reason"]) == (opened["run"], "it names another run or plan")
    await daemon.until("notice.queued", about="answer.denied")
    assert image_of(await world.deployment()) == objects.image("2.0")
    freeze = {"metadata": {"annotations": {"guard.logcaster.io/freeze": "move"}}}
    await world.client.patch(path, freeze, MERGE_PATCH)
    frozen = await daemon.until("target.frozen", by="annotation")
    assert "field manager" in frozen["who"]
    await daemon.until("notice.delivered", about="target.frozen")


async def releases(person: Person) -> dict[str, Json]:
    """What the daemon knows of each release, by image."""
    code, told = await command("history", "--json", "--address", person.address)
    assert code == 0, told
    return {r["images"][0]: r for r in json.loads(told)["releases"]}


async def test_a_release_that_a_rollback_left_is_lifted_and_the_one_that_is_good_is_marked_bad(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    one, two = objects.image("1.0"), objects.image("2.0")
    person = Person(cluster, daemon)
    await asked(world, daemon)
    code, told = await person.says("mark", "not-bad", "--revision", "2", "--yes", "--reason", "early")
    assert (code, "is rolling revision 2 back" in told) == (1, True), told
    code, told = await person.says("approve", "--yes")
    assert code == 0, told
    await daemon.until("run.closed")
    left = (await releases(person))[two]
    assert left["status"] == "bad"
    assert (await releases(person))[one]["status"] == "good"

    code, told = await person.says(
        "mark", "not-bad", "--revision", left["template"][:8], "--reason", "database was down"
    )
    assert (code, "say --yes" in told, left["template"] in told) == (2, True, True), told
    lift = ("mark", "not-bad", "--revision", left["template"][:8], "--yes", "--reason", "the database was down")
    code, answer = await person.says_in_json(*lift)
    assert (code, answer["outcome"], answer["status"], answer["template"]) == (
        0, "done", "unproven", left["template"],
    ), answer  # fmt: skip
    marked = await daemon.until("revision.marked")
    assert (marked["mark"], marked["template"], marked["words"]) == (
        "not-bad", left["template"], "the database was down",
    )  # fmt: skip
    await daemon.until("notice.queued", about="revision.marked")
    code, told = await person.says(*lift)
    assert (code, "is unproven, not bad" in told) == (1, True), told

    good = (await releases(person))[one]
    code, told = await person.says("mark", "bad", "--revision", "9", "--yes", "--reason", "r")
    assert (code, "--revision: found 9; allowed one of" in told) == (2, True), told
    code, told = await person.says(
        "mark", "bad", "--target", "logcaster", "--revision", good["revision"], "--yes", "--reason", "it loses data"
    )
    assert (code, "is bad. It is never gone back to" in told) == (0, True), told
    bad = (await releases(person))[one]
    assert (bad["status"], bad["bad_reason"]) == ("bad", "a person marked it bad: it loses data")
    (target,) = json.loads((await command("status", "--json", "--address", person.address))[1])["targets"]
    assert target["destination"] is None
    said = [r for r in await cluster.audit() if r.user == "admin" and "guard.logcaster.io/mark" in str(r.body)]
    assert {(r.verb, r.resource, r.code) for r in said} == {("patch", "deployments", 200)}
    events = [str(r.body) for r in await cluster.audit() if r.resource == "events" and "Somebody marked" in str(r.body)]
    assert ["not bad any more" in e for e in events] == [True, False]


async def test_a_run_ends_when_its_destination_is_marked_bad_and_no_daemon_is_needed_to_say_so(
    cluster: Cluster, world: World, daemon: Daemon
) -> None:
    person = Person(cluster, daemon)
    opened = await asked(world, daemon)
    good = (await releases(person))[objects.image("1.0")]["template"]
    nowhere = free_address()
    code, told = await person.says("mark", "bad", "--revision", "1", "--yes", "--reason", "r", address=nowhere)
    assert (code, "the whole hash" in told) == (3, True), told
    code, told = await person.says(
        *("mark", "bad", "--target", "logcaster", "--revision", good, "--yes", "--reason", "it loses data"),
        address=nowhere,
    )
    assert (code, "Written" in told) == (0, True), told
    closed = await daemon.until("run.closed", run=opened["run"])
    assert closed["outcome"] == "vetoed"
    assert closed["reason"] == "a person marked its destination bad: it loses data"
    assert image_of(await world.deployment()) == objects.image("2.0")


def delegated(cluster: Cluster) -> tuple[Json, Json]:
    """The ClusterRole and its binding as they ship, under a name of the test's own, for the guard's user here."""
    text = (DEPLOY / "components" / "api-auth" / "rbac.yaml").read_text()
    role, binding = yaml.safe_load_all(text)
    for document in (role, binding):
        document["metadata"]["name"] = cluster.namespace
    return role, {
        **binding,
        "roleRef": {**binding["roleRef"], "name": cluster.namespace},
        "subjects": [cluster.subjects("guard")],
    }


@pytest.fixture
async def delegation(cluster: Cluster) -> AsyncIterator[None]:
    base = "/apis/rbac.authorization.k8s.io/v1"
    role, binding = delegated(cluster)
    if cluster.kind == "real":
        await cluster.admin.create(f"{base}/clusterroles", role)
        await cluster.admin.create(f"{base}/clusterrolebindings", binding)
    yield
    if cluster.kind == "real":
        await cluster.admin.delete(f"{base}/clusterrolebindings/{cluster.namespace}")
        await cluster.admin.delete(f"{base}/clusterroles/{cluster.namespace}")


@pytest.fixture
async def open_to_people(
    cluster: Cluster, world: World, delegation: None, tmp_path: Path
) -> AsyncIterator[tuple[Daemon, httpx.AsyncClient]]:
    """A daemon that asks Kubernetes who may change something, and a client of its address."""
    del delegation
    rules = tmp_path / "rollback-rules.yaml"
    rules.write_text(ASKS)
    address = free_address()
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None, rules=rules)
    daemon.settings.write_text(
        daemon.settings.read_text() + f"web: {{listen: '{address}', auth: {{kubernetes: true}}}}\n"
    )
    # alice may annotate the workload and nothing else; bob may only look at it.
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [objects.DEPLOYMENT]}
    await cluster.grant("alice", [{**rule, "verbs": ["get", "patch"]}])
    if cluster.kind == "real":
        await cluster.grant("bob", [{**rule, "verbs": ["get"]}])
    await daemon.start()
    await daemon.until("revision.good")
    async with httpx.AsyncClient(base_url=f"http://{address}/api/v1", trust_env=False, timeout=15) as client:
        yield daemon, client
    await daemon.stop()


async def test_over_http_kubernetes_says_who_may(
    cluster: Cluster, world: World, open_to_people: tuple[Daemon, httpx.AsyncClient]
) -> None:
    daemon, client = open_to_people
    opened = await asked(world, daemon)
    assert daemon.told("permission.missing") == []
    target = f"{cluster.namespace}/{objects.DEPLOYMENT}"

    async def post(word: str, bearer: str, **more: str) -> httpx.Response:
        body = {"target": target, "reason": "we mend it forward", **more}
        return await client.post(f"/{word}", json=body, headers={"Authorization": f"Bearer {bearer}"})

    (told,) = (await client.get("/status")).json()["targets"]
    approval_token = told["run"]["approval_token"]
    assert (await client.post("/veto", json={})).status_code == 401
    assert (await post("veto", "nobodys-token", approval_token=approval_token)).status_code == 401
    refused = await post("veto", cluster.token("bob"), approval_token=approval_token)
    assert (refused.status_code, "bob may not patch" in refused.text) == (403, True), refused.text
    assert daemon.told("run.answered") == []

    answer = await post("veto", cluster.token("alice"), approval_token=approval_token)
    assert answer.status_code == 202, answer.text
    closed = await daemon.until("run.closed", run=opened["run"])
    assert closed["outcome"] == "vetoed"
    assert closed["reason"].startswith("somebody vetoed it: by ")
    assert "alice: we mend it forward" in closed["reason"]
    (told,) = (await client.get("/status")).json()["targets"]
    assert [(h["digest"], h["counted"]) for h in told["heard"]] == [(answer.json()["digest"], True)]

    frozen = await post("freeze", cluster.token("alice"))
    assert frozen.status_code == 202, frozen.text
    await daemon.until("target.frozen", by="annotation")
    assert (await post("unfreeze", cluster.token("bob"))).status_code == 403
    assert (await post("unfreeze", cluster.token("alice"))).status_code == 202
    await daemon.until("target.thawed")
    mark = {"mark": "bad", "revision": "1"}
    assert (await post("mark", cluster.token("bob"), **mark)).status_code == 403
    answer = await post("mark", cluster.token("alice"), **mark)
    assert answer.status_code == 202, answer.text
    marked = await daemon.until("revision.marked")
    assert (marked["digest"], marked["mark"]) == (answer.json()["digest"], "bad")
    assert "alice: we mend it forward" in marked["words"]
    assert image_of(await world.deployment()) == objects.image("2.0")
    told_lines = json.dumps(daemon.lines)
    assert not [user for user in ("alice", "bob") if cluster.token(user) in told_lines]
    # What alice said is written by the guard, in her name.
    said = [r for r in await cluster.audit() if "we mend it forward" in str(r.body) and r.resource != "events"]
    assert {(r.user.rpartition(":")[2], r.verb, r.resource) for r in said} == {("guard", "patch", "deployments")}


async def test_without_the_delegation_it_is_named_at_the_start_and_nobody_is_let_in(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    if cluster.kind == "sandbox":
        pytest.skip("the embedded API server asks for no rights")
    address = free_address()
    daemon = Daemon(cluster, tmp_path, network=world.network.url, prometheus=None)
    daemon.settings.write_text(
        daemon.settings.read_text() + f"web: {{listen: '{address}', auth: {{kubernetes: true}}}}\n"
    )
    try:
        await daemon.start()
        await daemon.until("web.listening")
        sentences = [line["detail"] for line in daemon.told("permission.missing")]
        assert [s for s in sentences if "create tokenreviews.authentication.k8s.io" in s and "api-auth" in s]
        assert [s for s in sentences if "create subjectaccessreviews.authorization.k8s.io" in s and "api-auth" in s]
        async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
            headers = {"Authorization": f"Bearer {cluster.token('admin')}"}
            body = {"target": f"{cluster.namespace}/{objects.DEPLOYMENT}", "reason": "because"}
            answer = await client.post(f"http://{address}/api/v1/freeze", json=body, headers=headers)
        assert answer.status_code == 503
        assert cluster.token("admin") not in answer.text + json.dumps(daemon.lines)
    finally:
        await daemon.stop()
