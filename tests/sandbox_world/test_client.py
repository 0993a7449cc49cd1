from __future__ import annotations

import pytest
from aiohttp import web

from logcaster_guard.sandbox import client as client_module
from logcaster_guard.sandbox.client import ApiRefused, ApiUnreachable, Client
from tests.sandbox_world.stub import StubApi


async def test_a_list_goes_over_all_pages(api: StubApi, client: Client) -> None:
    async def pages(request: web.BaseRequest) -> web.StreamResponse:
        page = int(request.query.get("continue", "0"))
        following = {"continue": str(page + 1)} if page < 2 else {}
        return web.json_response({"metadata": following, "items": [{"n": page}]})

    api.answer_instead = pages
    assert [i["n"] for i in await client.list("/api/v1/pods")] == [0, 1, 2]


async def test_a_list_that_has_grown_by_a_page_is_read_anew(api: StubApi, client: Client) -> None:
    more = False

    async def pages(request: web.BaseRequest) -> web.StreamResponse:
        rest = request.query.get("continue") is not None
        metadata = {"continue": "rest"} if more and not rest else {}
        return web.json_response({"metadata": metadata, "items": [{"page": 2 if rest else 1}]})

    api.answer_instead = pages
    assert await client.list("/things") == await client.list("/things") == [{"page": 1}]
    more = True
    assert await client.list("/things") == [{"page": 1}, {"page": 2}]


async def test_a_refusal_carries_status_and_message(client: Client) -> None:
    with pytest.raises(ApiRefused, match="404: not found") as caught:
        await client.get("/nowhere")
    assert caught.value.status == 404


@pytest.mark.parametrize("text", ["<html>", "[1]", "nonsense"])
async def test_an_answer_that_is_no_object_is_no_answer(api: StubApi, client: Client, text: str) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=text)

    api.answer_instead = answer
    with pytest.raises(ApiUnreachable):
        await client.get("/api")


async def test_a_redirect_is_not_followed(api: StubApi, client: Client) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    api.answer_instead = answer
    with pytest.raises(ApiRefused, match="302"):
        await client.get("/api")
    assert [path for _, path, _ in api.seen] == ["/api"]


async def test_too_long_an_answer_is_given_up(api: StubApi, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_BYTES", 1000)
    api.objects["/api"] = {"text": "x" * 2000}
    with pytest.raises(ApiUnreachable, match="1000 bytes"):
        await client.get("/api")


async def test_nobody_there_is_told(api: StubApi) -> None:
    await api.__aexit__(None, None, None)
    client = Client(api.url, "token")
    with pytest.raises(ApiUnreachable, match="GET /api got no answer"):
        await client.get("/api")
    await client.aclose()
