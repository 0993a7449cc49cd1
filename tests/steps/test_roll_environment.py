"""The other environment's pods start on copies, and read by the shared names again where it does not come to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from logcaster_guard.domain.errors import Unavailable
from logcaster_guard.domain.events import RevisionLive, RevisionMarked
from logcaster_guard.domain.external_changes import external_workload_change
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.observations import Before, Done, ExternalChange, Observation, Unclear
from logcaster_guard.domain.releases import RESTARTED_AT
from logcaster_guard.domain.runs import ABANDONED, DESTINATION_BAD
from logcaster_guard.domain.workload import Workload
from logcaster_guard.engine.executor import Executor
from logcaster_guard.engine.hub import Hub
from logcaster_guard.engine.journal_state import JournalState, run_stream, target_stream
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from logcaster_guard.steps.roll_environment import TEMPLATE
from tests.fakes.clock import START
from tests.fakes.journal import MemoryJournal
from tests.steps.standby import BLUE, LABEL, NAME, SERVICE, Standby, standby

DEPLOYMENT = Kind.DEPLOYMENT


@pytest.fixture
async def made() -> Standby:
    """The copy is there."""
    found = await standby()
    await found.done()
    return found


def told(seen: Observation) -> str:
    assert isinstance(seen, ExternalChange)
    return english().text(seen.detail)


async def test_its_pods_read_the_copy_and_nothing_else_of_the_template_is_another(made: Standby) -> None:
    before = Workload(made.cluster.object(DEPLOYMENT, BLUE)).template
    await made.done()
    assert made.name() == made.copy
    assert made.name("green") == NAME
    after = Workload(made.cluster.object(DEPLOYMENT, BLUE))
    after.template["spec"]["containers"][0]["envFrom"] = before["spec"]["containers"][0]["envFrom"]
    assert after.template == before
    # Whoever deploys finds what was applied last as it was.
    assert [kind for kind, _, _ in made.cluster.writes] == [DEPLOYMENT]


async def test_it_is_given_back_unless_the_service_has_come(made: Standby) -> None:
    await made.done()
    made.ending(ABANDONED)
    assert isinstance(await made.back(TEMPLATE), Before)
    await made.give_back(TEMPLATE)
    assert made.name() == NAME
    assert isinstance(await made.back(TEMPLATE), Done)
    # The copy goes with the last that names it, not before.
    seen = await made.back("config_copy")
    assert isinstance(seen, Done)
    assert seen.also is not None


async def test_it_stays_where_the_service_leads(made: Standby) -> None:
    await made.done()
    await made.done()
    await made.done()
    made.ending()
    assert isinstance(await made.back(TEMPLATE), Done)
    await made.give_back(TEMPLATE)
    assert made.name() == made.copy
    # Switched back, it did not come to serve.
    made.cluster.change(Kind.SERVICE, SERVICE, lambda s: s["spec"].update(selector={LABEL: "green"}))
    made.ending(DESTINATION_BAD)
    assert isinstance(await made.back(TEMPLATE), Before)


def rolled_out(image: str) -> Callable[[Json], None]:
    return lambda d: d["spec"]["template"]["spec"]["containers"][0].update(image=image)


async def test_what_somebody_rolls_out_there_is_theirs(made: Standby) -> None:
    made.cluster.change(DEPLOYMENT, BLUE, rolled_out("v3"))
    assert "v3" in told(await made.look())
    await made.apply()
    assert made.cluster.image(BLUE) == "v3"
    assert made.name() == NAME


async def test_the_shared_names_are_the_runs_own_until_it_has_written_others(made: Standby) -> None:
    workload = Workload(made.cluster.object(DEPLOYMENT, BLUE))
    assert external_workload_change(made.run, workload) is None
    again = dict(workload.raw["spec"]["template"])
    await made.done()
    assert external_workload_change(made.run, Workload(made.cluster.object(DEPLOYMENT, BLUE))) is None
    made.cluster.change(DEPLOYMENT, BLUE, lambda d: d["spec"].update(template=again))
    assert external_workload_change(made.run, Workload(made.cluster.object(DEPLOYMENT, BLUE))) is not None
    # Theirs is not written over, nor given back.
    made.ending(ABANDONED)
    made.cluster.change(DEPLOYMENT, BLUE, rolled_out("v3"))
    assert isinstance(await made.back(TEMPLATE), ExternalChange)
    await made.give_back(TEMPLATE)
    assert made.cluster.image(BLUE) == "v3"


async def test_whoever_writes_the_shared_names_at_once_again_is_not_written_over(made: Standby) -> None:
    again = dict(made.cluster.object(DEPLOYMENT, BLUE)["spec"]["template"])
    seen = await made.look()
    assert isinstance(seen, Before)
    assert seen.borrows is not None
    made.run = replace(made.run, compensations={**made.run.compensations, TEMPLATE: seen.borrows})
    await made.apply()
    assert made.name() == made.copy
    made.cluster.change(DEPLOYMENT, BLUE, lambda d: d["spec"].update(template=again))
    assert "somebody" in told(await made.look()).casefold()


async def test_a_copy_that_is_gone_ends_the_run_before_any_pod_starts_without_it(made: Standby) -> None:
    made.cluster.remove(Kind.CONFIG_MAP, made.copy)
    assert "Somebody deleted ConfigMap default/settings-" in told(await made.look())
    await made.apply()
    assert made.name() == NAME


async def test_a_mark_on_the_release_that_the_copies_stand_for_ends_the_run(made: Standby) -> None:
    state, opened = JournalState(MemoryJournal(), made.clock), made.run.opened
    good, stream = opened.plan.good, target_stream(opened.target)
    live = RevisionLive(START, good.template, "1", "u", "b", ("v1",), configuration=good.configuration)
    words = "it loses logs"
    mark = RevisionMarked(START, good.template, Mark.BAD, "digest", words, configuration=good.configuration)
    await state.tell(stream, live, mark)
    executor = Executor(state, made.clock, made.handlers, hub=Hub())
    await state.decide(run_stream("r"), opened)
    executor.start(run_stream("r"), "r")
    await asyncio.wait_for(executor.join(), 10.0)
    closed = state.run("r").closed
    assert closed is not None
    assert (closed.outcome, made.name()) == (ABANDONED, NAME)
    assert "it loses logs" in english().text(closed.reason)


async def test_an_api_server_that_is_away_is_waited_for(made: Standby) -> None:
    made.cluster.fault = lambda _, kind, __: Unavailable("away") if kind is Kind.CONFIG_MAP else None
    assert isinstance(await made.look(), Unclear)


async def test_without_copies_it_is_stamped_and_that_is_never_taken_back() -> None:
    made = await standby(restart=True)
    await made.done()
    notes = made.cluster.object(DEPLOYMENT, BLUE)["spec"]["template"]["metadata"]["annotations"]
    assert set(notes) == {RESTARTED_AT}
    assert made.run.compensations == {}
    assert made.name() == NAME
