"""What a pod reads of ConfigMaps and Secrets, told the time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from logcaster_guard.sandbox.client import ApiRefused, Client, Json
from logcaster_guard.sandbox.configuration import ConfigObjects, Missing, PodConfig, Source, config_of, data_digest
from logcaster_guard.sandbox.lifecycle import Life, Pace, State
from logcaster_guard.sandbox.release import BROKEN, NO_OVERRIDES, TRAFFIC_PORT, Behaviour, Releases, overrides_of

MAP = Source("ConfigMap", "config")
SECRET = Source("Secret", "keys")
PROPAGATION = 60.0
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Kept(Client):
    """Objects by path; each write is a new version."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self.objects: dict[str, Json] = {}
        self.asked: list[str] = []
        self.version = 0

    def put(self, source: Source, data: dict[str, str], **fields: Any) -> None:
        self.version += 1
        plural = "configmaps" if source.kind == "ConfigMap" else "secrets"
        held = data if source.kind == "ConfigMap" else {k: encoded(v) for k, v in data.items()}
        self.objects[f"/api/v1/namespaces/prod/{plural}/{source.name}"] = {
            "kind": source.kind,
            "metadata": {"name": source.name, "resourceVersion": str(self.version)},
            "data": held,
            **fields,
        }

    def drop(self, source: Source) -> None:
        self.objects = {path: item for path, item in self.objects.items() if not path.endswith(f"/{source.name}")}

    async def get(self, path: str) -> Json:
        self.asked.append(path)
        if path not in self.objects:
            raise ApiRefused(404, "not found")
        return self.objects[path]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def pod(*containers: Json, **spec: Any) -> Json:
    return {"metadata": {"uid": "u", "name": "p"}, "spec": {"containers": list(containers), **spec}}


def container(name: str = "app", **fields: Any) -> Json:
    return {"name": name, "image": "web:1", **fields}


def variable(name: str, key: str, **reference: Any) -> Json:
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "config", "key": key, **reference}}}


def volume(**source: Any) -> Json:
    return {"name": "files", "configMap": {"name": "config", **source}}


def mount(**fields: Any) -> Json:
    return {"name": "files", "mountPath": "/etc/app", **fields}


class Told:
    """One pod and what the node knows."""

    def __init__(self, pod: Json) -> None:
        self.client = Kept()
        self.objects = ConfigObjects(self.client, "prod", PROPAGATION)
        made = config_of(pod, self.objects)
        assert isinstance(made, PodConfig)
        self.config = made

    async def starts(self, number: int = 1, at: float = 0.0) -> None:
        await self.objects.look(self.config.sources, at)
        self.config.start(number, at)

    async def follows(self, at: float) -> dict[str, str]:
        await self.objects.look(self.config.sources, at)
        self.config.follow(at)
        return self.config.settings("app")


@pytest.mark.parametrize(
    "body",
    [
        pod(container()),
        pod(container(env=[{"name": "A", "value": "1"}])),
        pod(container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])),
        pod(container(), volumes=[{"name": "v", "emptyDir": {}}]),
        pod(container(), volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
    ],
)
def test_a_pod_that_refers_to_nothing_has_no_configuration(body: Json) -> None:
    assert config_of(body, ConfigObjects(Kept(), "prod", PROPAGATION)) is None


async def test_an_environment_is_taken_together_as_a_kubelet_does() -> None:
    told = Told(
        pod(
            container(
                envFrom=[
                    {"prefix": "P_", "configMapRef": {"name": "config"}},
                    {"secretRef": {"name": "keys"}},
                    {"configMapRef": {"name": "absent", "optional": True}},
                ],
                env=[
                    variable("A", "a"),
                    {"name": "token", "value": "plain"},
                    variable("GONE", "gone", optional=True),
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                ],
            )
        )
    )
    told.client.put(MAP, {"a": "1", "b.c": "2"}, binaryData={"raw": encoded("x")})
    told.client.put(SECRET, {"token": "s3cret", "user": "u"})
    await told.starts()
    found = told.config.settings("app")
    assert found == {"P_a": "1", "P_b.c": "2", "token": "plain", "user": "u", "A": "1", "B": "s3cret"}
    (read,) = told.objects.reads
    assert (read.pod, read.uid, read.container, read.number, read.mounted) == ("p", "u", "app", 1, ())
    assert [(s.source.name, s.version) for s in read.seen] == [("absent", ""), ("config", "1"), ("keys", "2")]
    assert read.seen[1].digest == data_digest(told.client.objects["/api/v1/namespaces/prod/configmaps/config"])


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (pod(container(env=[variable("A", "a")])), "CreateContainerConfigError", 'configmap "config" not found'),
        (
            pod(container(envFrom=[{"secretRef": {"name": "keys"}}])),
            "CreateContainerConfigError",
            'secret "keys" not found',
        ),
        (
            pod(container(), volumes=[volume()]),
            "ContainerCreating",
            'MountVolume.SetUp failed for volume "files" : configmap "config" not found',
        ),
        (
            pod(container(), initContainers=[container("init", env=[variable("A", "a")])]),
            "CreateContainerConfigError",
            'configmap "config" not found',
        ),
    ],
)
async def test_what_is_absent_is_waited_for(body: Json, reason: str, message: str) -> None:
    told = Told(body)
    with pytest.raises(Missing, match="not found") as found:
        await told.starts()
    assert (found.value.reason, found.value.message) == (reason, message)
    assert told.objects.reads == []
    told.client.put(MAP, {"a": "1"})
    told.client.put(SECRET, {"a": "1"})
    await told.starts()


async def test_an_absent_key_is_waited_for_and_an_optional_one_is_not() -> None:
    told = Told(pod(container(env=[variable("A", "a")])))
    told.client.put(MAP, {"b": "1"})
    with pytest.raises(Missing, match="couldn't find key a in ConfigMap prod/config"):
        await told.starts()
    mounted = Told(pod(container(), volumes=[volume(items=[{"key": "a", "path": "x"}])]))
    mounted.client.put(MAP, {"b": "1"})
    with pytest.raises(Missing, match="references non-existent config key: a"):
        await mounted.starts()
    optional = Told(pod(container(env=[variable("A", "a", optional=True)]), volumes=[volume(optional=True)]))
    await optional.starts()
    assert optional.config.settings("app") == {}


async def test_a_volume_follows_an_edit_and_what_was_read_at_the_start_does_not() -> None:
    told = Told(
        pod(
            container(
                env=[variable("FIXED", "a")],
                volumeMounts=[mount(), mount(mountPath="/one", subPath="single")],
            ),
            volumes=[volume(items=[{"key": "a", "path": "live"}, {"key": "b", "path": "single"}])],
        )
    )
    told.client.put(MAP, {"a": "1", "b": "1"})
    await told.starts()
    told.client.put(MAP, {"a": "2", "b": "2"})
    before = {"live": "1", "single": "1", "FIXED": "1"}
    assert await told.follows(10.0) == before
    assert await told.follows(69.9) == before
    # Edited once more meanwhile: the volume shows what has come through, not nothing.
    told.client.put(MAP, {"a": "3", "b": "3"})
    assert await told.follows(70.0) == {"live": "2", "single": "1", "FIXED": "1"}
    assert [s.version for s in told.config.volumes()["files"]] == ["2"]
    told.client.drop(MAP)
    assert (await told.follows(200.0))["live"] == "3"
    assert [(r.number, [s.version for s in r.seen]) for r in told.objects.reads] == [(1, ["1", "1"])]


async def test_a_container_that_starts_again_reads_again() -> None:
    told = Told(
        pod(
            container(env=[variable("A", "a")], volumeMounts=[mount(subPath="a")]),
            initContainers=[container("init", env=[variable("A", "a")])],
            volumes=[volume()],
        )
    )
    told.client.put(MAP, {"a": "1"})
    await told.starts()
    told.client.put(MAP, {"a": "2"})
    await told.starts(2, 5.0)
    assert told.config.settings("app") == {"a": "1", "A": "2"}, "the volume has not followed yet"
    assert [(r.container, r.number, [s.version for s in r.seen]) for r in told.objects.reads] == [
        ("init", 1, ["1"]),
        ("app", 1, ["1", "1"]),
        ("app", 2, ["2", "1"]),
    ]
    told.client.drop(MAP)
    with pytest.raises(Missing, match="not found"):
        await told.starts(3, 6.0)


async def test_an_immutable_object_is_not_looked_at_again_while_a_pod_refers_to_it() -> None:
    told = Told(pod(container(env=[variable("A", "a")])))
    told.client.put(MAP, {"a": "1"}, immutable=True)
    await told.starts()
    told.client.drop(MAP)
    told.client.put(MAP, {"a": "2"}, immutable=True)
    await told.starts(2, 100.0)
    assert told.config.settings("app") == {"A": "1"}
    assert len(told.client.asked) == 1
    await told.objects.look(frozenset(), 101.0)
    await told.starts(3, 102.0)
    assert told.config.settings("app") == {"A": "2"}


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ({"LOG_LEVEL": "info"}, NO_OVERRIDES),
        ({"ERROR_RATE": "0.5", "LATENCY": " 2\n"}, {"error_rate": 0.5, "latency": 2.0}),
        (
            {"CRASH_EVERY": "1", "HEALTHY": "false", "READY": "true"},
            {"crash_every": 1.0, "healthy": False, "ready": True},
        ),
        ({"ERROR_RATE": "1.5"}, BROKEN),
        ({"LATENCY": "soon"}, BROKEN),
        ({"HEALTHY": "perhaps"}, BROKEN),
    ],
)
def test_settings_tell_what_a_process_does_differently(settings: dict[str, str], overrides: object) -> None:
    assert overrides_of(settings) == overrides


async def test_a_bad_value_ends_the_process_of_a_good_image_until_it_is_gone() -> None:
    body = pod(container(env=[variable("ERROR_RATE", "rate")]))
    told = Told(body)
    pace = Pace(start_delay=0.0, crash_backoff=1.0)
    releases = Releases({"web:1": Behaviour()})
    life = Life(body, "10.64.1.0", releases, pace, now=0.0, seed="1", config=told.config)

    async def at(now: float) -> Json:
        await told.objects.look(told.config.sources, now)
        life.advance(now, BEGIN + timedelta(seconds=now), terminating=False)
        return life.status(now, BEGIN)

    waiting = await at(0.0)
    (status,) = waiting["containerStatuses"]
    assert waiting["phase"] == "Pending"
    assert status["state"] == {
        "waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "config" not found'}
    }
    told.client.put(MAP, {"rate": "half"})
    assert (await at(1.0))["phase"] == "Running"
    await at(1.1)
    assert (life.state, life.ready(1.1)) == (State.CRASHED, False)
    told.client.put(MAP, {"rate": "0.5"})
    await at(3.0)
    assert (life.state, life.ready(3.0), life.restarts) == (State.RUNNING, True, 1)
    answers = [life.answer("GET", TRAFFIC_PORT, "/", 3.0) for _ in range(4)]
    assert [a.status for a in answers if a is not None] == [200, 500, 200, 500]
    told.client.drop(MAP)
    releases.register("web:1", Behaviour(crash_every=0.5))
    await at(4.0)
    held = await at(9.0)
    assert (held["phase"], life.state, life.restarts) == ("Running", State.HELD_UP, 1)
