"""What is shown of the configuration that pods have read, over HTTP and on the command line."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from logcaster_guard.cli.main import app
from logcaster_guard.domain.errors import Rejected
from logcaster_guard.web.server import serving
from tests.engine.bench import KEY
from tests.engine.configured import POLL, Configured

MAPS = [{"configMapRef": {"name": name}} for name in ("app", "other")]
BOTH = {"envFrom": [*MAPS, {"secretRef": {"name": "db"}}]}


async def shown(url: str) -> str:
    """What `logcaster-guard status` prints."""
    arguments = ["status", "--address", url]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


async def metrics(client: httpx.AsyncClient) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    return {
        " ".join([sample.name, *sorted(v for k, v in sample.labels.items() if k != "target")]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("logcaster_guard_configuration_")
    }


async def test_a_pending_edit_and_what_is_not_read_are_shown_by_name() -> None:
    made = Configured()
    made.watches.refused["other"] = Rejected("forbidden", status=403)
    made.configure(k="first")
    made.refer(BOTH)
    await made.start()
    await made.pass_(POLL)
    made.pods("a")
    await made.pass_(POLL)
    async with (
        serving(made.guard, "127.0.0.1:0") as url,
        httpx.AsyncClient(base_url=url or "", trust_env=False) as client,
    ):
        (target,) = (await client.get("/api/v1/status")).json()["targets"]
        found = target["configuration"]
        assert (target["target"], found["state"], len(found["digest"]), found["objects"]) == (KEY, "known", 64, [])
        assert f"config     known: {found['digest'][:12]}" in await shown(str(url))
        made.configure(k="second")
        await made.pass_(POLL)
        found = (await client.get("/api/v1/status")).json()["targets"][0]["configuration"]
        assert [(p["object"], p["keys"]) for p in found["pending"]] == [("ConfigMap default/app", ["k"])]
        assert [o["object"] for o in found["unreadable"]] == ["ConfigMap default/other", "Secret default/db"]
        assert "cannot list configmaps other in namespace default" in found["unreadable"][0]["reason"]
        assert found["not_followed"] == []
        printed = await shown(str(url))
        assert "pending    ConfigMap default/app (k) since 2026-01-01" in printed
        assert "unread     Secret default/db: the guard reads no Secret of a target" in printed
        assert "second" not in printed
        told = await metrics(client)
        assert told["logcaster_guard_configuration_pending"] == 1
        assert told["logcaster_guard_configuration_left_out"] == 2
        assert told["logcaster_guard_configuration_state known"] == 1
        made.pods("b")
        await made.pass_(POLL)
        found = (await client.get("/api/v1/status")).json()["targets"][0]["configuration"]
        assert (found["state"], found["digest"], found["objects"]) == ("in_transition", None, ["ConfigMap default/app"])
        assert "config     in transition: ConfigMap default/app" in await shown(str(url))
    await made.stop()
