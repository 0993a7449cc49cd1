"""What the ledger makes of a release that an environment rollback has made, which nobody rolled out before."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from logcaster_guard.domain.events import RevisionBad, RunClosed, RunOpened
from logcaster_guard.domain.inbox.commands import RollBack, Wish, value_of
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.rules import Action, LedgerPolicy, Limits, Policy
from logcaster_guard.domain.runs import RECOVERED
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import ERRORS, FIRES, KEY, PROD, Bench, bench, rule

RESTORE = replace(ERRORS, action=Action.ENV, variables=("LOG_LEVEL",))
HEALTH = rule("health_check_failure", "health_check_fails", 3, 120.0)
FREELY = Policy(limits=Limits(cooldown=0.0, per_target_per_day=9, per_cluster_per_hour=9))
INFO, DEBUG = ({"name": "LOG_LEVEL", "value": level} for level in ("info", "debug"))
FIRST, GOOD, BAD, MADE = "1", "2", "3", "4"
"""Revisions: before LOG_LEVEL was there, with `info`, with `debug`, and what the rollback makes."""
UNPROVEN = ReleaseStatus.UNPROVEN
LIMIT = {"name": "LIMIT", "value": "9"}


def containers(made: Bench) -> Json:
    found: Json = made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["template"]["spec"]["containers"][0]
    return found


def roll(made: Bench, image: str, *env: Json) -> None:
    edit = {"image": image, "env": list(env)}
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"]["template"]["spec"]["containers"][0].update(edit))


def statuses(made: Bench) -> dict[str, ReleaseStatus]:
    """What each release is, by its revision's number."""
    records = made.guard.state.ledger(KEY).records.values()
    return {r.revision: r.status(LedgerPolicy()) for r in records}


@contextlib.asynccontextmanager
async def on_debug(*, errors: float = 0.0) -> AsyncIterator[Bench]:
    """`GOOD` is known as that; `BAD` fails by its LOG_LEVEL, and `errors` is how its image does without that."""
    async with bench(rules=(RESTORE, HEALTH), policy=FREELY) as made:

        def rolled(name: str, image: str) -> None:
            debug = DEBUG in containers(made).get("env", [])
            made.prometheus.set(name, "error_rate", 0.3 if debug else errors if image == "v2" else 0.0)

        made.cluster.on_rolled = rolled
        roll(made, "v1", INFO)
        await made.good_v1()
        roll(made, "v2", DEBUG, LIMIT)
        yield made


async def recovered(made: Bench) -> None:
    """The run that the breach brings has ended well."""
    await made.pass_(FIRES + 400.0)
    (opened,), (closed,) = made.told(RunOpened), made.told(RunClosed)
    assert (opened.plan.strategy, closed.outcome) == ("env", RECOVERED)


async def test_what_is_left_is_bad_and_what_was_made_is_unproven_until_it_earns_good() -> None:
    async with on_debug() as made:
        await recovered(made)
        assert (containers(made)["image"], containers(made)["env"]) == ("v2", [INFO, LIMIT])
        assert statuses(made) == {FIRST: UNPROVEN, GOOD: ReleaseStatus.GOOD, BAD: ReleaseStatus.BAD, MADE: UNPROVEN}
        ledger = made.guard.state.ledger(KEY)
        destination = ledger.destination(LedgerPolicy())
        assert destination is not None
        assert destination.revision == GOOD
        await made.pass_(700.0)
        assert statuses(made)[MADE] is ReleaseStatus.GOOD
        assert (made.writes(), made.told(RevisionBad)) == (1, [])


async def test_a_breach_that_begins_with_what_was_made_is_its_own() -> None:
    async with on_debug() as made:
        await recovered(made)
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(200.0)
        assert [o.plan.strategy for o in made.told(RunOpened)] == ["env", "immediate"]
        assert (containers(made)["image"], containers(made)["env"]) == ("v1", [INFO])
        assert statuses(made)[MADE] is ReleaseStatus.BAD


async def test_variables_that_made_a_bad_release_before_are_refused_and_nothing_is_written() -> None:
    async with on_debug() as made:
        await recovered(made)
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(200.0)
        made.http.set(PROD, "health_check_fails", 0)
        await made.pass_(900.0)
        roll(made, "v2", DEBUG, LIMIT)
        written = made.writes()
        await made.pass_(FIRES + 100.0)
        assert (made.writes(), len(made.told(RunOpened))) == (written, 2)
        (notice,) = (n for n in made.notices("trigger.refused") if n.facts["rule"] == RESTORE.name)
        assert "would carry release" in notice.text


async def test_what_differs_elsewhere_is_refused_and_nothing_is_written() -> None:
    async with on_debug(errors=0.3) as made:
        roll(made, "v2", INFO, LIMIT)
        await made.pass_(FIRES + 100.0)
        assert (made.writes(), made.told(RunOpened)) == (0, [])
        (notice,) = made.notices("trigger.refused")
        assert f"LOG_LEVEL of Deployment default/logcaster-prod is what it was in revision {GOOD}" in notice.text


async def test_people_see_what_would_change_and_get_what_they_agreed_to() -> None:
    async with on_debug() as made:
        await made.pass_(60.0)
        runs, wish = made.guard.manual(KEY), Wish(Action.ENV, only=("LIMIT", "LOG_LEVEL"))
        shown = await runs.preview(wish)
        assert isinstance(shown, Preview)
        place = "spec.containers[c].env"
        assert shown.told()["differences"] == [f'- {place}[LIMIT]: "9"', f'~ {place}[LOG_LEVEL]: "debug" → "info"']
        unknown = await runs.preview(Wish(Action.ENV, only=("NOBODY",)))
        assert not isinstance(unknown, Preview)
        assert "There are LIMIT, LOG_LEVEL." in english().text(unknown[0])
        other = await runs.preview(Wish(Action.ENV, only=("LOG_LEVEL",)))
        assert isinstance(other, Preview)
        assert other.approval_token != shown.approval_token
        until = made.clock.now() + timedelta(minutes=5)
        made.cluster.annotate(PROD, rollback=value_of(RollBack(shown.approval_token, until, wish, "customers call")))
        await made.pass_(120.0)
        assert (containers(made)["image"], containers(made)["env"]) == ("v2", [INFO])
        (opened,) = made.told(RunOpened)
        assert "customers call" in english().text(opened.reason)
