"""What both environments read is put back once the one that was left has no pods, and only if nobody has moved on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logcaster_guard.domain.events import HoldDeferred
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Pending
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD, INCONCLUSIVE, NOT_RECOVERED, RECOVERED
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.steps.restore_later import LONGEST, SHARED
from tests.steps.standby import BLUE, EDITED, GREEN, LABEL, NAME, SAVED, SERVICE, Standby, standby

DAY = 86_400.0


@pytest.fixture
async def made() -> Standby:
    """The Service has gone over to blue, whose pods read the copy."""
    found = await standby()
    for _ in found.run.opened.plan.steps:
        await found.done()
    return found


async def test_it_is_promised_and_nothing_is_written(made: Standby) -> None:
    assert (made.held, made.name()) == (EDITED, made.copy)
    assert [kind for kind, _, _ in made.cluster.writes] == [Kind.DEPLOYMENT, Kind.SERVICE]


@pytest.mark.parametrize("outcome", [RECOVERED, NOT_RECOVERED, INCONCLUSIVE, ABANDONED, DESTINATION_BAD])
async def test_it_is_put_off_where_the_good_release_stays_and_no_matter_where_it_does_not(
    made: Standby, outcome: str
) -> None:
    made.ending(outcome)
    seen = await made.back(SHARED)
    assert isinstance(seen, Done)
    assert isinstance(seen.also, HoldDeferred) is (outcome in {RECOVERED, NOT_RECOVERED, INCONCLUSIVE})


async def test_it_waits_for_the_last_pod_of_the_environment_that_was_left(made: Standby) -> None:
    made.closed()
    seen = await made.back(SHARED)
    assert isinstance(seen, Pending)
    await made.give_back(SHARED)
    assert made.held == EDITED
    made.cluster.change(Kind.DEPLOYMENT, GREEN, lambda d: d["spec"].update(replicas=0))
    assert isinstance(await made.back(SHARED), Before)
    await made.give_back(SHARED)
    assert made.held == SAVED
    assert isinstance(await made.back(SHARED), Done)


async def test_one_that_is_gone_has_no_pods(made: Standby) -> None:
    made.closed()
    made.cluster.remove(Kind.DEPLOYMENT, GREEN)
    assert isinstance(await made.back(SHARED), Before)


def rolls_out(name: str) -> Callable[[Standby], None]:
    return lambda m: m.cluster.roll(name, "v3")


def edits(made: Standby) -> None:
    made.cluster.change(Kind.CONFIG_MAP, NAME, lambda c: c["data"].update(LEVEL="theirs"))


def switches(made: Standby) -> None:
    made.cluster.change(Kind.SERVICE, SERVICE, lambda s: s["spec"].update(selector={LABEL: GREEN}))


def makes_anew(made: Standby) -> None:
    made.cluster.remove(Kind.DEPLOYMENT, GREEN)
    made.cluster.add_deployment(GREEN, "v2")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (rolls_out(GREEN), "v3"),
        (rolls_out(BLUE), "v3"),
        (makes_anew, "v2"),
        (edits, "LEVEL"),
        (switches, "selector"),
        (lambda m: m.cluster.remove(Kind.DEPLOYMENT, BLUE), "gone"),
        (lambda m: m.cluster.remove(Kind.CONFIG_MAP, NAME), "deleted"),
    ],
)
async def test_whoever_has_moved_on_meant_what_it_holds_now(
    made: Standby, act: Callable[[Standby], None], words: str
) -> None:
    made.closed()
    act(made)
    if "v3" not in words:
        made.cluster.change(Kind.DEPLOYMENT, GREEN, lambda d: d["spec"].update(replicas=0))
    seen = await made.back(SHARED)
    assert isinstance(seen, ExternalChange), seen
    assert words in english().text(seen.detail)
    await made.give_back(SHARED)
    assert NAME not in made.cluster.names(Kind.CONFIG_MAP) or made.held != SAVED


async def test_it_is_not_waited_for_without_end(made: Standby) -> None:
    made.closed()
    made.clock.skip(LONGEST.total_seconds() - 1.0)
    assert isinstance(await made.back(SHARED), Pending)
    made.clock.skip(1.0)
    seen = await made.back(SHARED)
    assert isinstance(seen, ExternalChange)
    assert "within 7 days" in english().text(seen.detail)
