"""A rollback of the configuration alone, as a person asks for it, with a clock that the test turns."""

from __future__ import annotations

import json
from datetime import timedelta

from logcaster_guard.domain.events import RevisionConfigured, RevisionGood, RunClosed, RunOpened
from logcaster_guard.domain.inbox.commands import RollBack, Wish, value_of
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.releases import RESTARTED_AT
from logcaster_guard.domain.rules import Action, LedgerPolicy
from logcaster_guard.domain.runs import RECOVERED
from logcaster_guard.domain.workload import annotations_of
from logcaster_guard.engine.journal_state import target_stream
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import KEY, PROD, Bench, bench

NAME, OBJECT = "app", "ConfigMap default/app"
GOOD, BAD = {"LEVEL": "info"}, {"LEVEL": "debug", "SECRET_TOKEN": "hunter2"}
WISH = Wish(Action.CONFIG)


def template(made: Bench) -> Json:
    found: Json = made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["template"]
    return found


async def with_both_changed(made: Bench) -> None:
    """v1 is good with the one content, and v2 is there with the other."""
    reads = {"envFrom": [{"configMapRef": {"name": NAME}}]}
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"]["template"]["spec"]["containers"][0].update(reads))
    made.cluster.add(Kind.CONFIG_MAP, NAME, data=GOOD)
    await made.good_v1()
    saved = await made.blobs.put(json.dumps(made.cluster.object(Kind.CONFIG_MAP, NAME)).encode())
    live = made.guard.state.ledger(KEY).live
    assert live is not None
    known = RevisionConfigured(
        made.clock.now(), live.template, configuration="c1", contents={OBJECT: saved}, blob=live.blob
    )
    good = RevisionGood(made.clock.now(), live.template, 1.0, 600.0, configuration="c1")
    await made.guard.state.tell(target_stream(KEY), known, good)
    made.cluster.on_rolled = lambda name, _: made.prometheus.set(name, "error_rate", 0.0)
    made.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c.update(data=BAD))
    made.cluster.roll(PROD, "v2")
    await made.pass_(60.0)


async def test_people_see_keys_and_sizes_and_get_what_they_agreed_to() -> None:
    async with bench() as made:
        await with_both_changed(made)
        shown = await made.guard.manual(KEY).preview(WISH)
        assert isinstance(shown, Preview)
        assert shown.told()["differences"] == [
            f"~ {OBJECT}[LEVEL]: 5 bytes → 4 bytes",
            f"- {OBJECT}[SECRET_TOKEN]: 7 bytes",
        ]
        lines = [english().text(line) for line in shown.lines]
        assert lines[0] == f"give {OBJECT} back what it held: ~LEVEL, -SECRET_TOKEN"
        assert lines[1].startswith(f"replace each pod of Deployment default/{PROD} once, and keep its template")
        until = made.clock.now() + timedelta(minutes=5)
        made.cluster.annotate(PROD, rollback=value_of(RollBack(shown.approval_token, until, WISH, "it hurts")))
        await made.pass_(900.0)
        assert [end.outcome for end in made.told(RunClosed)] == [RECOVERED]
        assert made.cluster.object(Kind.CONFIG_MAP, NAME)["data"] == GOOD
        assert template(made)["spec"]["containers"][0]["image"] == "v2"
        assert annotations_of(template(made)).keys() == {RESTARTED_AT}
        assert len(made.told(RunOpened)) == 1
        # No value is in anything that the guard keeps or tells.
        (begun,) = made.notices("run.opened")
        assert f"replace each pod of Deployment default/{PROD}" in begun.text
        assert made.journal is not None
        assert "hunter2" not in str([e.event for e in made.journal.entries])


async def test_where_nothing_differs_there_is_nothing_to_put_back() -> None:
    async with bench() as made:
        await with_both_changed(made)
        made.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c.update(data=GOOD))
        refused = await made.guard.manual(KEY).preview(WISH)
        assert not isinstance(refused, Preview)
        assert "so what differs is something else: choose immediate_rollback" in english().text(refused[0])
        statuses = {r.status(LedgerPolicy()) for r in made.guard.state.ledger(KEY).records.values()}
        assert ReleaseStatus.BAD not in statuses
