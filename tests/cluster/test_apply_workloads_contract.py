"""Server-side apply of Deployments, Services and autoscalers, asked of the embedded server and of a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.conversation import STRATEGIC_PATCH, Conversation, answered, deployment, refused
from tests.cluster.harness import Cluster

Json = dict[str, Any]
FORCE = {"force": "true"}
APP = 'k:{"name":"app"}'


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Conversation]:
    async with Conversation(cluster) as made:
        yield made


def container(name: str = "app", **fields: Any) -> Json:
    return {"name": name, "image": "example.invalid/web:1", **fields}


def web(*containers: Json, pod: Json | None = None, **spec: Any) -> Json:
    body = deployment(**spec)
    body["spec"]["template"]["spec"] = {"containers": list(containers) or [container()], **(pod or {})}
    return body


def service(**spec: Any) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }


def autoscaler(**spec: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 5, **spec},
    }


def fields_of(item: Json, manager: str, operation: str = "Apply") -> Json:
    entries = [e for e in item["metadata"]["managedFields"] if (e["manager"], e["operation"]) == (manager, operation)]
    (entry,) = entries
    found: Json = entry["fieldsV1"]
    return found


def containers_of(item: Json) -> dict[str, Json]:
    return {c["name"]: c for c in item["spec"]["template"]["spec"]["containers"]}


def environment(item: Json) -> dict[str, Any]:
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in containers_of(item)["app"].get("env", [])}


async def test_lists_are_owned_by_their_keys(api: Conversation) -> None:
    pod = {
        "initContainers": [{"name": "init", "image": "example.invalid/init:1"}],
        "volumes": [
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "s"}}]}},
        ],
        "tolerations": [{"key": "t", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "r"}],
        "nodeSelector": {"a": "b"},
        "topologySpreadConstraints": [
            {
                "topologyKey": "zone",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
    }
    full = container(
        ports=[{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP", "name": "u"}],
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ],
        envFrom=[{"configMapRef": {"name": "c"}}],
        args=["x"],
        volumeMounts=[{"name": "v", "mountPath": "/v"}],
        resources={"limits": {"memory": "1Gi"}},
        readinessProbe={"httpGet": {"path": "/r", "port": 80}},
    )
    created = await api.apply("deployments", web(full, pod=pod))
    assert created.status_code == 201
    own = fields_of(answered(created), "ci")
    assert own["f:spec"].keys() == {"f:replicas", "f:selector", "f:template"}
    assert own["f:spec"]["f:selector"] == {}
    variable: Json = {".": {}, "f:name": {}}
    assert own["f:spec"]["f:template"]["f:spec"] == {
        "f:containers": {
            APP: {
                ".": {},
                "f:args": {},
                "f:env": {
                    'k:{"name":"A"}': {**variable, "f:value": {}},
                    'k:{"name":"B"}': {**variable, "f:valueFrom": {"f:configMapKeyRef": {}}},
                },
                "f:envFrom": {},
                "f:image": {},
                "f:name": {},
                "f:ports": {
                    'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                    'k:{"containerPort":80,"protocol":"UDP"}': {
                        ".": {},
                        "f:containerPort": {},
                        "f:name": {},
                        "f:protocol": {},
                    },
                },
                "f:readinessProbe": {"f:httpGet": {"f:path": {}, "f:port": {}}},
                "f:resources": {"f:limits": {"f:memory": {}}},
                "f:volumeMounts": {'k:{"mountPath":"/v"}': {".": {}, "f:mountPath": {}, "f:name": {}}},
            }
        },
        "f:imagePullSecrets": {'k:{"name":"r"}': {}},
        "f:initContainers": {'k:{"name":"init"}': {".": {}, "f:image": {}, "f:name": {}}},
        "f:nodeSelector": {},
        "f:tolerations": {},
        "f:topologySpreadConstraints": {
            'k:{"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway"}': {
                ".": {},
                "f:labelSelector": {},
                "f:maxSkew": {},
                "f:topologyKey": {},
                "f:whenUnsatisfiable": {},
            }
        },
        "f:volumes": {
            'k:{"name":"p"}': {".": {}, "f:name": {}, "f:projected": {"f:sources": {}}},
            'k:{"name":"v"}': {".": {}, "f:configMap": {"f:items": {}, "f:name": {}}, "f:name": {}},
        },
    }


async def test_an_apply_of_the_whole_set_brings_the_former_template_back(api: Conversation) -> None:
    one = web(
        container(env=[{"name": "LEVEL", "value": "1"}, {"name": "ONLY_V1", "value": "1"}]),
        pod={"volumes": [{"name": "config", "configMap": {"name": "v1"}}]},
    )
    two = web(
        container(env=[{"name": "LEVEL", "value": "2"}, {"name": "ONLY_V2", "value": "1"}], args=["--bad"]),
        container("side"),
        pod={"volumes": [{"name": "config", "configMap": {"name": "v2"}}]},
    )
    first = answered(await api.apply("deployments", one))
    second = answered(await api.apply("deployments", two))
    assert environment(second) == {"LEVEL": "2", "ONLY_V2": "1"}
    assert second["metadata"]["generation"] == 2
    back = answered(await api.apply("deployments", one))
    assert back["spec"] == first["spec"]
    assert back["metadata"]["generation"] == 3
    assert fields_of(back, "ci") == fields_of(first, "ci")
    third = answered(await api.apply("deployments", web(container(env=[{"name": "LEVEL", "value": "3"}]))))
    assert environment(third) == {"LEVEL": "3"}
    assert "volumes" not in third["spec"]["template"]["spec"]


async def test_what_a_hand_has_set_is_a_conflict_and_goes_with_its_item(api: Conversation) -> None:
    answered(await api.apply("deployments", web(container(), container("side"))))
    by_hand = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "example.invalid/other:9"}]}}}}
    changed = answered(await api.patch("deployments", "web", by_hand, STRATEGIC_PATCH))
    assert fields_of(changed, "contract", "Update")["f:spec"]["f:template"]["f:spec"] == {
        "f:containers": {'k:{"name":"side"}': {"f:image": {}}}
    }
    status = refused(await api.apply("deployments", web(container(), container("side"))), 409, "Conflict")
    place = '.spec.template.spec.containers[name="side"].image'
    assert status["message"] == f'Apply failed with 1 conflict: conflict with "contract" using apps/v1: {place}'
    # The item is the pipeline's: without it, what the hand has set in it is gone as well.
    without = answered(await api.apply("deployments", web()))
    assert set(containers_of(without)) == {"app"}
    assert "contract" not in {e["manager"] for e in without["metadata"]["managedFields"]}


async def test_a_size_set_by_scale_is_a_conflict_that_names_the_subresource(api: Conversation) -> None:
    answered(await api.apply("deployments", web()))
    answered(await api.patch("deployments", "web", {"spec": {"replicas": 5}}, sub="scale"))
    status = refused(await api.apply("deployments", web()), 409, "Conflict")
    told = 'conflict with "contract" with subresource "scale" using apps/v1'
    assert status["message"] == f"Apply failed with 1 conflict: {told}: .spec.replicas"
    body = web()
    del body["spec"]["replicas"]
    left = answered(await api.apply("deployments", body))
    assert left["spec"]["replicas"] == 5


async def test_a_single_field_can_be_taken_over_and_given_up(api: Conversation) -> None:
    answered(await api.apply("deployments", web()))
    only = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    taken = answered(await api.apply("deployments", only, "other", **FORCE))
    assert fields_of(taken, "other") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in fields_of(taken, "ci")["f:spec"]
    del only["spec"]
    given_up = answered(await api.apply("deployments", only, "other"))
    assert given_up["spec"]["replicas"] == 1, "nobody's field has its default"
    assert [e["manager"] for e in given_up["metadata"]["managedFields"] if e["operation"] == "Apply"] == ["ci"]


async def test_containers_follow_the_order_of_who_applies(api: Conversation) -> None:
    answered(await api.apply("deployments", web()))
    by_hand = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "example.invalid/agent:1"}]}}}}
    answered(await api.patch("deployments", "web", by_hand, STRATEGIC_PATCH))
    applied = answered(await api.apply("deployments", web(container("first"), container())))
    assert set(containers_of(applied)) == {"agent", "first", "app"}
    ordered = [name for name in containers_of(applied) if name != "agent"]
    assert ordered == ["first", "app"]


async def test_a_status_in_the_body_is_nobodys(api: Conversation) -> None:
    made = answered(await api.apply("deployments", {**web(), "status": {"replicas": 7}}))
    assert made["status"].get("replicas", 0) == 0
    assert "f:status" not in fields_of(made, "ci")


async def test_an_object_that_breaks_a_rule_is_not_made(api: Conversation) -> None:
    only = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    refused(await api.apply("deployments", only), 422, "Invalid")
    assert (await api.http.get(api.path("deployments", "web"))).status_code == 404


async def test_a_services_selector_is_one_field_and_its_ports_are_not(api: Conversation) -> None:
    made = answered(await api.apply("services", service()))
    port: Json = {".": {}, "f:name": {}, "f:port": {}}
    assert fields_of(made, "ci")["f:spec"] == {
        "f:ports": {
            'k:{"port":80,"protocol":"TCP"}': {**port, "f:targetPort": {}},
            'k:{"port":81,"protocol":"TCP"}': port,
        },
        "f:selector": {},
    }
    assert made["spec"]["clusterIP"]
    await api.merge("services", "web", {"spec": {"selector": {"track": "green"}}})
    status = refused(await api.apply("services", service()), 409, "Conflict")
    assert [c["field"] for c in status["details"]["causes"]] == [".spec.selector"]
    back = answered(await api.apply("services", service(ports=service()["spec"]["ports"][:1]), **FORCE))
    assert back["spec"]["selector"] == {"app": "web"}
    assert [p["port"] for p in back["spec"]["ports"]] == [80]
    assert back["spec"]["clusterIP"] == made["spec"]["clusterIP"]


async def test_an_autoscalers_bounds_are_single_fields(api: Conversation) -> None:
    made = answered(await api.apply("horizontalpodautoscalers", autoscaler()))
    own = fields_of(made, "ci")["f:spec"]
    assert own.keys() == {"f:maxReplicas", "f:minReplicas", "f:scaleTargetRef"}
    only = {k: v for k, v in autoscaler().items() if k != "spec"} | {"spec": {"minReplicas": 3, "maxReplicas": 9}}
    refused(await api.apply("horizontalpodautoscalers", only, "other"), 409, "Conflict")
    taken = answered(await api.apply("horizontalpodautoscalers", only, "other", **FORCE))
    assert fields_of(taken, "ci")["f:spec"].keys() == {"f:scaleTargetRef"}
    back = answered(await api.apply("horizontalpodautoscalers", autoscaler(), **FORCE))
    assert (back["spec"]["minReplicas"], back["spec"]["maxReplicas"]) == (2, 5)
    assert "other" not in {e["manager"] for e in back["metadata"]["managedFields"]}
