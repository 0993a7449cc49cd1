from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.kubernetes.event_channel import event_of
from logcaster_guard.adapters.kubernetes.pods import Pod, endpoints_of, quantity
from logcaster_guard.adapters.kubernetes.signals import Observation
from logcaster_guard.adapters.plugin_types import Subject
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from logcaster_guard.ports import Json, Kind
from tests.fakes.clock import START

WEB = Subject(Kind.DEPLOYMENT, "shop", "web")
TEMPLATE: Json = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:2"}]}}


def deployment(*, replicas: int = 2, progressing: str | None = "NewReplicaSetAvailable", **status: object) -> Workload:
    conditions = [{"type": "Progressing", "reason": progressing}] if progressing else []
    return Workload(
        {
            "kind": "Deployment",
            "metadata": {"namespace": "shop", "name": "web", "uid": "d", "resourceVersion": "1", "generation": 2},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
            "status": {"observedGeneration": 2, "conditions": conditions} | status,
        }
    )


PRESENT = deployment().hash


def pod(
    *,
    template: str = PRESENT,
    ready_for: float | None = None,
    restarts: Sequence[int] = (0,),
    waiting: str | None = None,
    terminating: bool = False,
    phase: str = "Running",
) -> Pod:
    ready: Json = {"type": "Ready", "status": "False"}
    if ready_for is not None:
        since = (START - timedelta(seconds=ready_for)).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    metadata = {"name": "p", "namespace": "shop"} | ({"deletionTimestamp": "x"} if terminating else {})
    status = {
        "phase": phase,
        "conditions": [ready],
        "containerStatuses": [{"restartCount": n, "state": state} for n in restarts],
    }
    return Pod(raw={"metadata": metadata, "status": status}, template=template)


def seen(*pods: Pod, workload: Workload | None = None) -> Observation:
    return Observation(workload=workload or deployment(), pods=pods, now=START)


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], None),
        ([pod(template="older", restarts=(9,))], None),
        ([pod(terminating=True, restarts=(9,))], None),
        ([pod(phase="Failed", restarts=(9,))], None),
        ([pod(restarts=(2,)), pod(restarts=(7,)), pod(template="older", restarts=(99,))], 7),
        ([pod(restarts=(2, 3))], 3),
        ([pod(restarts=(1,) * 6, ready_for=2)], 1),
        ([pod(restarts=(6,), ready_for=599)], 6),
        ([pod(restarts=(6,), ready_for=600)], 0),
        ([pod(restarts=(6,), ready_for=-60)], 6),
        ([pod(restarts=(6,), ready_for=900), pod(restarts=(1,), ready_for=1)], 1),
    ],
)
def test_restart_count_is_that_of_the_worst_container_of_the_present_release(
    pods: list[Pod], expected: float | None
) -> None:
    assert seen(*pods).restart_count() == expected


@pytest.mark.parametrize(
    ("pods", "replicas", "expected"),
    [
        ([pod(ready_for=1), pod(ready_for=1)], 2, 0),
        ([pod(ready_for=1)], 2, 1),
        ([], 3, 3),
        ([], 0, 0),
        ([pod(ready_for=1), pod(ready_for=1), pod()], 2, 1),
        ([pod(ready_for=1), pod(template="older")], 2, 1),
        ([pod(ready_for=1), pod(ready_for=1), pod(terminating=True), pod(phase="Failed")], 2, 0),
        ([pod(ready_for=1), pod(ready_for=1, terminating=True)], 2, 1),
    ],
)
def test_unready_pods_are_those_missing_and_those_there_but_not_ready(
    pods: list[Pod], replicas: int, expected: float
) -> None:
    assert seen(*pods, workload=deployment(replicas=replicas)).unready_pods() == expected


UNDER_WAY = deployment(progressing="ReplicaSetUpdated")


@pytest.mark.parametrize(
    ("workload", "pods", "expected"),
    [
        (deployment(progressing="ProgressDeadlineExceeded"), [], 1),
        (deployment(progressing="ProgressDeadlineExceeded", observedGeneration=1), [], 0),
        (UNDER_WAY, [pod(waiting="ContainerCreating")], 0),
        (UNDER_WAY, [pod(waiting="ImagePullBackOff")], 1),
        (UNDER_WAY, [pod(waiting="ErrImagePull", phase="Pending")], 1),
        (UNDER_WAY, [pod(waiting="CrashLoopBackOff")], 1),
        (UNDER_WAY, [pod(waiting="CreateContainerConfigError")], 1),
        (UNDER_WAY, [pod(waiting="ImagePullBackOff", template="older")], 0),
        (UNDER_WAY, [pod(waiting="ImagePullBackOff", terminating=True)], 0),
        (deployment(), [pod(waiting="CrashLoopBackOff")], 0),
        (deployment(observedGeneration=1), [pod(waiting="ImagePullBackOff")], 1),
        (deployment(progressing=None, updatedReplicas=1), [pod(waiting="ImagePullBackOff")], 1),
        (
            deployment(progressing=None, updatedReplicas=2, replicas=2, availableReplicas=2),
            [pod(waiting="CrashLoopBackOff")],
            0,
        ),
    ],
)
def test_a_rollout_is_stalled_past_its_deadline_or_with_a_pod_that_cannot_start(
    workload: Workload, pods: list[Pod], expected: float
) -> None:
    assert seen(*pods, workload=workload).rollout_stalled() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("256Mi", 256 * 1024**2),
        ("1G", 1e9),
        ("1Gi", 1024**3),
        ("500m", 0.5),
        ("128974848", 128974848),
        ("129e6", 129e6),
        ("1E3", 1000),
        ("1E", 1e18),
        ("1Ei", 1024**6),
        ("1.5Ki", 1536),
        (".5", 0.5),
        ("5.", 5),
        ("+1k", 1000),
        ("100n", 1e-7),
        ("", None),
        ("Mi", None),
        ("1 Mi", None),
        ("1mi", None),
        ("1K", None),
        ("0x10", None),
        ("NaN", None),
        ("1e999", None),
        ("٣", None),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, expected: float | None) -> None:
    assert quantity(text) == expected


@given(st.text(max_size=40))
def test_no_text_makes_a_quantity_fail(text: str) -> None:
    quantity(text)


def limited(limits: Json | None, annotations: Json | None = None) -> Pod:
    side = {"name": "side", "resources": {"limits": {"memory": "64Mi"}}}
    main = {"name": "main"} | ({"resources": {"limits": limits}} if limits is not None else {})
    return Pod(raw={"metadata": {"annotations": annotations}, "spec": {"containers": [main, side]}}, template="t")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (limited({"memory": "1Ki"}), 1024),
        (limited({"cpu": "1"}), None),
        (limited(None), None),
        (limited({"memory": "0"}), None),
        (limited({"memory": "1Ki"}, {"kubectl.kubernetes.io/default-container": "side"}), 64 * 1024**2),
        (limited({"memory": "1Ki"}, {"kubectl.kubernetes.io/default-container": "gone"}), 1024),
        (Pod(raw={"metadata": {}}, template="t"), None),
    ],
)
def test_the_memory_limit_is_that_of_the_main_container(found: Pod, expected: float | None) -> None:
    assert found.memory_limit == expected


def notice(**changes: Any) -> Notice:
    told: dict[str, Any] = {
        "id": "run-1/1",
        "at": START,
        "event": "run.opened",
        "severity": Severity.INFO,
        "title": "Rollback of web",
        "text": "error_rate is 31 %.",
        "namespace": "shop",
        "deployment": "web",
        "run": "run-1",
    }
    return Notice(**(told | changes))


def test_an_event_names_the_deployment_and_says_what_happened() -> None:
    event = event_of(notice(), WEB, "u1")
    assert event["reason"] == "RunOpened"
    assert event["message"] == "Rollback of web: error_rate is 31 %."
    assert event["type"] == "Normal"
    assert event["involvedObject"]["uid"] == "u1"
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.CRITICAL])
def test_what_is_not_mere_information_is_a_warning(severity: Severity) -> None:
    assert event_of(notice(severity=severity), WEB, "")["type"] == "Warning"


@given(
    told=st.builds(
        Notice,
        id=st.text(),
        at=st.just(START),
        event=st.text(max_size=300),
        severity=st.sampled_from(Severity),
        title=st.text(max_size=2000),
        text=st.text(max_size=2000),
    )
)
def test_every_notice_makes_an_event_that_the_api_takes(told: Notice) -> None:
    event = event_of(told, WEB, "")
    message, reason, name = event["message"], event["reason"], event["metadata"]["name"]
    assert len(message.encode()) <= 1024
    assert not any(c in message for c in "\n\r\t\x00\x1b\u2028\u202e")
    assert reason.isalnum()
    assert reason.isascii()
    assert len(reason) <= 128
    assert name == event_of(told, WEB, "other")["metadata"]["name"]
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(name) <= 253


class Shop:
    """A cluster of prepared objects."""

    def __init__(self, **objects: list[Json]) -> None:
        self.objects = objects

    async def get(self, *_: object) -> Json:
        return deployment().raw

    async def list(self, kind: object, *_: object) -> list[Json]:
        return self.objects[str(kind)]


def owned(name: str, owner: str, *, controller: bool = True, **more: object) -> Json:
    references = [{"uid": owner, "controller": controller}]
    return {"metadata": {"uid": name, "name": name, "namespace": "shop", "ownerReferences": references}} | more


async def test_only_running_pods_that_the_deployment_owns_are_scraped() -> None:
    running: Json = {"status": {"phase": "Running", "podIP": "10.0.0.1"}}
    leaving = owned("leaving", "rs", **running)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    shop: Any = Shop(
        ReplicaSet=[
            owned("rs", "d", spec={"template": TEMPLATE}),
            owned("foreign", "someone", spec={"template": TEMPLATE}),
            owned("mentioned", "d", controller=False, spec={"template": TEMPLATE}),
        ],
        Pod=[
            owned("b", "rs", **running),
            owned("a", "rs", **running),
            leaving,
            owned("pending", "rs", status={"phase": "Pending", "podIP": "10.0.0.2"}),
            owned("addressless", "rs", status={"phase": "Running"}),
            owned("helper", "foreign", **running),
            owned("stranger", "mentioned", **running),
            {"metadata": {"uid": "x", "name": "bare", "namespace": "shop"}} | running,
        ],
    )
    found = await endpoints_of(shop, Target(name="web", namespace="shop", deployment="web"))
    assert [(e.pod, e.ip, e.template) for e in found] == [("a", "10.0.0.1", PRESENT), ("b", "10.0.0.1", PRESENT)]
