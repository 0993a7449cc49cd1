"""What only the embedded server has: its audit, its hooks, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from aiohttp import web

from logcaster_guard.sandbox.apiserver import ApiServer
from tests.sandbox.conftest import until

Json = dict[str, Any]
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON = {"Content-Type": "application/json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "web:1"}]},
        },
    },
}


def config_map(name: str) -> Json:
    return {"metadata": {"name": name}, "data": {"x": "1"}}


async def test_every_request_is_recorded_in_kubernetes_words(server: ApiServer, http: httpx.AsyncClient) -> None:
    patch = {"data": {"x": "2"}}
    await http.post(MAPS, json={"metadata": {"generateName": "a-"}})
    await http.get(MAPS)
    await http.get(f"{MAPS}/none")
    await http.post(DEPLOYMENTS, json=WEB)
    merge = {"Content-Type": "application/merge-patch+json"}
    await http.patch(f"{DEPLOYMENTS}/web/scale", content='{"spec":{"replicas":2}}', headers=merge)
    await http.patch(f"{MAPS}/none", content=json.dumps(patch), headers=merge)
    await http.put(f"{MAPS}/none", content="{", headers={"Content-Type": "application/json"})
    await http.delete(f"{MAPS}/none")
    await http.delete(MAPS)
    await http.get(MAPS, params={"watch": "true", "timeoutSeconds": "1"})
    await http.get("/version")
    told = [(e.verb, e.resource, e.subresource, e.namespace, e.name, e.code) for e in server.audit]
    made = server.audit[0].name
    assert made.startswith("a-")
    assert told == [
        ("create", "configmaps", "", "default", made, 201),
        ("list", "configmaps", "", "default", "", 200),
        ("get", "configmaps", "", "default", "none", 404),
        ("create", "deployments", "", "default", "web", 201),
        ("patch", "deployments", "scale", "default", "web", 200),
        ("patch", "configmaps", "", "default", "none", 404),
        ("update", "configmaps", "", "default", "none", 400),
        ("delete", "configmaps", "", "default", "none", 404),
        ("delete", "", "", "", "", 405),
        ("watch", "configmaps", "", "default", "", 200),
        ("get", "", "", "", "", 200),
    ]
    assert server.audit[5].body == patch
    assert server.audit[6].body == "{"
    assert server.audit[1].body is None
    assert [e.mutating for e in server.audit].count(True) == 7
    assert {e.user for e in server.audit} == {"system:anonymous"}
    assert all(e.at.tzinfo is not None for e in server.audit)


async def test_with_tokens_everybody_has_a_name_or_is_refused() -> None:
    async with (
        ApiServer(tokens={"s3cret": "guard"}) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        for headers, code in (
            ({}, 401),
            ({"Authorization": "Bearer other"}, 401),
            ({"Authorization": "Basic s3cret"}, 401),
            ({"Authorization": "Bearer s3cret"}, 200),
        ):
            response = await http.get(MAPS, headers=headers)
            assert response.status_code == code
        assert [(e.user, e.code) for e in server.audit] == [("system:anonymous", 401)] * 3 + [("guard", 200)]
        assert response.json()["kind"] == "ConfigMapList"


async def test_an_interceptor_answers_in_place_of_the_server(server: ApiServer, http: httpx.AsyncClient) -> None:
    async def refuse(request: web.Request) -> web.Response | None:
        return web.json_response({"kind": "Status", "code": 503}, status=503) if request.method == "POST" else None

    server.interceptor = refuse
    assert (await http.post(MAPS, json=config_map("a"))).status_code == 503
    assert (await http.get(f"{MAPS}/a")).status_code == 404
    assert (server.audit[0].verb, server.audit[0].code, server.audit[0].body) == ("create", 503, config_map("a"))


async def test_a_connection_can_break_before_or_after_the_effect(server: ApiServer, http: httpx.AsyncClient) -> None:
    async def before(request: web.Request) -> web.Response | None:
        if request.method == "POST":
            raise ConnectionResetError
        return None

    async def after(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if request.method == "POST":
            raise ConnectionResetError
        return response

    server.interceptor = before
    with pytest.raises(httpx.TransportError):
        await http.post(MAPS, json=config_map("a"))
    server.interceptor, server.afterwards = None, after
    with pytest.raises(httpx.TransportError):
        await http.post(MAPS, json=config_map("b"))
    assert (await http.get(f"{MAPS}/a")).status_code == 404
    assert (await http.get(f"{MAPS}/b")).status_code == 200
    assert [e.code for e in server.audit] == [503, 201, 404, 200]


async def test_a_watch_from_before_the_history_is_told_410() -> None:
    async with ApiServer(history=5) as server, httpx.AsyncClient(base_url=server.url) as client:
        for number in range(20):
            await client.post(MAPS, json=config_map(f"a{number}"))
        response = await client.get(MAPS, params={"watch": "1", "resourceVersion": "3", "timeoutSeconds": "5"})
        (line,) = response.text.splitlines()
        event = json.loads(line)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_list_whose_pages_were_forgotten_is_told_410(http: httpx.AsyncClient) -> None:
    for name in ("a", "b"):
        await http.post(MAPS, json=config_map(name))
    first = (await http.get(MAPS, params={"limit": 1})).json()
    assert first["metadata"]["remainingItemCount"] == 1
    token = first["metadata"]["continue"]
    assert (await http.get(MAPS, params={"continue": token})).status_code == 200
    gone = await http.get(MAPS, params={"continue": token})
    assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")


async def test_bookmarks_tell_how_far_a_watch_has_come(http: httpx.AsyncClient) -> None:
    version = (await http.get(MAPS)).json()["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    event = json.loads((await http.get(MAPS, params=query)).text)
    assert event["type"] == "BOOKMARK"
    assert int(event["object"]["metadata"]["resourceVersion"]) >= int(version)


@pytest.mark.parametrize(
    ("asked", "headers", "body", "refusal"),
    [
        (f"PATCH {DEPLOYMENTS}/web/scale", APPLY, "{}", (415, "UnsupportedMediaType")),
        (f"PATCH {MAPS}/a?fieldManager=ci", APPLY, "data: {}", (400, "BadRequest")),
        (f"POST {MAPS}", {"Content-Type": "application/yaml"}, "metadata: {}", (415, "UnsupportedMediaType")),
        (f"POST {MAPS}", JSON, "[" * 9_999, (400, "BadRequest")),
        (f"POST {MAPS}", JSON, '{"data": NaN}', (400, "BadRequest")),
        (f"POST {MAPS}", JSON, '{"metadata": []}', (400, "BadRequest")),
        (f"GET {MAPS}", {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}, "", (406, "NotAcceptable")),
        (f"GET {MAPS}?watch=1&sendInitialEvents=true", {}, "", (422, "Invalid")),
        ("GET /api/v1/namespaces/default/gadgets", {}, "", (404, "NotFound")),
        ("GET /openapi/v3", {}, "", (404, "NotFound")),
        (f"DELETE {MAPS}", {}, "", (405, "MethodNotAllowed")),
        (f"POST {DEPLOYMENTS}/web/rollback", {}, "{}", (404, "NotFound")),
        (f"POST {MAPS}?dryRun=Some", {}, "{}", (400, "BadRequest")),
    ],
    ids=str.split(
        "apply applied-yaml yaml deep nan shape table initial resource openapi collection subresource dryrun"
    ),
)
async def test_what_is_not_served_is_refused_with_a_status(
    http: httpx.AsyncClient, asked: str, headers: dict[str, str], body: str, refusal: tuple[int, str]
) -> None:
    await http.post(MAPS, json=config_map("a"))
    response = await http.request(*asked.split(" "), headers=headers, content=body)
    status = response.json()
    assert status["kind"] == "Status"
    assert (response.status_code, status["reason"]) == refusal


async def test_a_body_beyond_the_limit_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post(MAPS, headers=JSON, content=" " * (3 * 1024 * 1024 + 1))
    assert (response.status_code, response.json()["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_dry_run_answers_and_keeps_nothing(http: httpx.AsyncClient) -> None:
    dry = {"dryRun": "All"}
    assert (await http.post(MAPS, json=config_map("a"), params=dry)).status_code == 201
    assert (await http.get(f"{MAPS}/a")).status_code == 404
    made = (await http.post(MAPS, json=config_map("a"))).json()
    assert (await http.put(f"{MAPS}/a", json={"data": {"x": "9"}}, params=dry)).json()["data"] == {"x": "9"}
    assert (await http.delete(f"{MAPS}/a", params=dry)).status_code == 200
    kept = (await http.get(f"{MAPS}/a")).json()
    assert kept == made


async def test_discovery_tells_what_there_is(http: httpx.AsyncClient) -> None:
    groups = [g["name"] for g in (await http.get("/apis")).json()["groups"]]
    own = {"apps", "autoscaling", "coordination.k8s.io", "discovery.k8s.io", "policy"}
    flux = {f"{part}.toolkit.fluxcd.io" for part in ("kustomize", "helm", "source")}
    assert set(groups) == own | flux | {"argoproj.io"}
    listed = (await http.get("/apis/apps/v1")).json()["resources"]
    assert {"deployments", "deployments/scale", "deployments/status", "replicasets"} <= {r["name"] for r in listed}
    assert (await http.get("/readyz")).text == "ok"
    assert (await http.get("/apis/nope")).status_code == 404


async def test_a_namespace_goes_with_everything_in_it(http: httpx.AsyncClient) -> None:
    await http.post("/api/v1/namespaces", json={"metadata": {"name": "n"}})
    await http.post(DEPLOYMENTS.replace("default", "n"), json=WEB)
    pods = "/api/v1/namespaces/n/pods"

    async def has_pod() -> bool:
        return len((await http.get(pods)).json()["items"]) == 1

    await until(has_pod)
    found = (await http.get(pods)).json()["items"]
    name = found[0]["metadata"]["name"]
    await http.post(f"{pods}/{name}/binding", json={"target": {"kind": "Node", "name": "one"}})
    assert (await http.delete("/api/v1/namespaces/n")).json()["status"]["phase"] == "Terminating"
    refused = await http.post(MAPS.replace("default", "n"), json=config_map("late"))
    assert (refused.status_code, refused.json()["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    await http.request("DELETE", f"{pods}/{name}", params={"gracePeriodSeconds": "0"})

    async def gone() -> bool:
        return (await http.get("/api/v1/namespaces/n")).status_code == 404

    await until(gone)
    assert (await http.get(pods)).json()["items"] == []


async def test_stopping_ends_open_watches() -> None:
    server = ApiServer()
    await server.start()
    async with httpx.AsyncClient(base_url=server.url) as http, asyncio.timeout(10):
        async with http.stream("GET", MAPS, params={"watch": "1"}) as response:
            stopping = asyncio.create_task(server.stop())
            assert [line async for line in response.aiter_lines()] == []
        await stopping
    with pytest.raises(RuntimeError):
        _ = server.url
