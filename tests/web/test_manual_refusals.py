"""A person who asks for a rollback is refused with the sentence that a rule would be, by whatever way they ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from structlog.testing import capture_logs
from typer.testing import CliRunner

from logcaster_guard.adapters.token_gate import TokenGate
from logcaster_guard.cli.main import app
from logcaster_guard.domain import manual
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.inbox.annotations import ROLLBACK
from logcaster_guard.domain.inbox.commands import RollBack, Wish, value_of
from logcaster_guard.domain.rules import Action
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.web.server import serving
from tests.engine.bench import ERRORS, KEY, PROD, Bench, bench
from tests.web.test_changes import HELD, freeze, served

Act = Callable[[Bench], Awaitable[None]]
RULE = {"name": "r", "condition": "error_rate > 5%", "duration": "5m", "action": "alert_only"}
WISH = Wish(Action.IMMEDIATE)


def edit(part: str, **changes: Any) -> Act:
    async def change(made: Bench) -> None:
        made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d[part].update(changes))

    return change


async def another_run_begins(made: Bench) -> None:
    """The rule fires, and the run's rollout does not end."""
    await made.pass_(210.0)
    made.cluster.stuck = True
    await made.pass_(60.0)
    assert [o.rule for o in made.told(RunOpened)] == [ERRORS.name]


async def frozen(made: Bench) -> None:
    made.cluster.annotate(PROD, freeze="database move")


FACTS: Mapping[Guardrail, Act] = {
    Guardrail.PAUSED: edit("spec", paused=True),
    Guardrail.SCALED_TO_ZERO: edit("spec", replicas=0),
    Guardrail.BEING_DELETED: edit("metadata", deletionTimestamp="2026-01-01T00:00:00Z"),
    Guardrail.ANOTHER_RUN: another_run_begins,
    Guardrail.FROZEN: frozen,
}


async def shown(made: Bench) -> Preview:
    """The plan that a person has seen before the fact."""
    await made.bad_v2()
    await made.pass_(60.0)
    found = await made.guard.watches[KEY].manual.preview(WISH)
    assert isinstance(found, Preview)
    return found


async def sentence(made: Bench, guardrail: Guardrail) -> str:
    """What a rule would be refused with, once the fact is known."""
    await made.pass_(31.0)
    [found] = made.guard.read_model.explain(ERRORS.name, KEY)
    return next(english().text(r.reason) for r in found.refusals or () if r.guardrail is guardrail)


def by_hand(made: Bench) -> list[str]:
    return [o.rule for o in made.told(RunOpened) if o.rule == manual.RULE]


def write(made: Bench, token: str) -> None:
    expiry = made.clock.now() + timedelta(minutes=5)
    made.cluster.annotate(PROD, rollback=value_of(RollBack(token, expiry, WISH, "customers call")))


@pytest.mark.parametrize("guardrail", FACTS, ids=str)
async def test_a_request_on_the_workload_is_refused_with_the_rules_own_sentence(guardrail: Guardrail) -> None:
    async with bench(rules=[ERRORS]) as made:
        plan = await shown(made)
        await FACTS[guardrail](made)
        told, before = await sentence(made, guardrail), made.writes()
        with capture_logs() as logs:
            write(made, plan.approval_token)
            await made.pass_(60.0)
        assert [n.text for n in made.notices("request.refused")] == [told]
        [line] = [line for line in logs if line["event"] == "request.refused"]
        assert (line["target"], line["reasons"]) == (KEY, [told])
        assert (by_hand(made), made.writes()) == ([], before)


async def test_a_request_on_the_workload_is_carried_out_where_nothing_of_this_holds() -> None:
    async with bench(rules=[ERRORS]) as made:
        write(made, (await shown(made)).approval_token)
        await made.pass_(60.0)
        assert (by_hand(made), made.notices("request.refused")) == ([manual.RULE], [])


@pytest.mark.parametrize("guardrail", [None, *FACTS], ids=str)
async def test_over_http_the_plan_and_the_request_are_refused_with_it(guardrail: Guardrail | None) -> None:
    async with bench(rules=[ERRORS]) as made:
        plan = await shown(made)
        if guardrail is not None:
            await FACTS[guardrail](made)
        reasons = [] if guardrail is None else [await sentence(made, guardrail)]
        async with served(made.guard, TokenGate(lambda: HELD)) as client:
            async with httpx.AsyncClient(trust_env=False) as http:
                asked = {"target": KEY, "action": str(WISH.action)}
                answer = await http.get(f"{client._url}/api/v1/plan", params=asked)
            assert (answer.status_code, answer.json()["reasons"]) == (200, reasons)
            taken = await client.post("rollback", freeze(approval_token=plan.approval_token, action=str(WISH.action)))
            assert taken.status_code == 202
            await made.pass_(60.0)
            [heard] = [h for h in await client.heard() if h["digest"] == taken.json()["digest"]]
        assert heard["annotation"] == ROLLBACK
        assert (heard["counted"], len(by_hand(made))) == ((True, 1) if guardrail is None else (False, 0))
        assert guardrail is None or heard["words"] == reasons[0]


@pytest.mark.parametrize("guardrail", [None, *FACTS], ids=str)
async def test_the_command_shows_the_plan_or_ends_with_the_sentence(
    guardrail: Guardrail | None, tmp_path: Path
) -> None:
    settings = tmp_path / "guard.yaml"
    settings.write_text(yaml.safe_dump({"targets": [{"name": PROD, "namespace": "default", "deployment": PROD}]}))
    (tmp_path / "rollback-rules.yaml").write_text(yaml.safe_dump({"rollback_triggers": [RULE]}))
    async with bench(rules=[ERRORS]) as made:
        await shown(made)
        if guardrail is not None:
            await FACTS[guardrail](made)
            told = await sentence(made, guardrail)
        async with serving(made.guard, "127.0.0.1:0") as url:
            assert url is not None
            words = ["rollback", str(tmp_path), "--address", url, "--yes" if guardrail else "--dry-run"]
            result = await asyncio.to_thread(CliRunner().invoke, app, words, env={"COLUMNS": "400"})
        if guardrail is None:
            assert (result.exit_code, "put the template of" in result.stdout) == (0, True), result.output
        else:
            assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"error: {told}\n")
        assert by_hand(made) == []
