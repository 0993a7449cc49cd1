"""What a guard of an earlier version left in mid-step is carried to its end by this one, and people are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from logcaster_guard.domain.events import NoticeQueued, RunClosed
from logcaster_guard.domain.inbox.commands import AnswerRun, RunCommand, value_of
from logcaster_guard.domain.runs import ABANDONED, RECOVERED
from logcaster_guard.ports import Kind
from tests.fakes.journal import MemoryJournal
from tests.versions.kept import VERSIONS, taken_over
from tests.versions.world import AUTOSCALER, PLAYED, Services

APPROVAL = timedelta(hours=1)


def ends(services: Services) -> dict[str, str]:
    """How each service's run ended, for those that people were told of."""
    assert isinstance(services.journal, MemoryJournal)
    events = [e.event for e in services.journal.entries]
    told = {e.notice.run for e in events if isinstance(e, NoticeQueued) and e.notice.event == "run.closed"}
    closed = [e for e in events if isinstance(e, RunClosed) and e.run in told]
    return {e.run.split("-")[0]: e.outcome for e in closed}


@pytest.mark.parametrize("backend", ["sqlite", "kubernetes"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_each_open_run_is_resumed_and_ends_well(version: str, backend: str, tmp_path: Path) -> None:
    services = await taken_over(version, backend, tmp_path)
    assert ends(services) == {}
    guard = await services.start()
    found = {run.opened.target: run.opened for run in guard.chronicle.open_runs().values()}
    assert sorted(found) == sorted(f"default/{name}" for name in PLAYED)
    token, until = found["default/asked"].approval_token, services.clock.now() + APPROVAL
    services.cluster.annotate("asked", approve=value_of(AnswerRun(RunCommand.APPROVE, token, until, "go on")))
    await services.pass_(1_500.0)
    assert ends(services) == dict.fromkeys(PLAYED, RECOVERED)
    assert {services.cluster.image(name) for name in ("gradual", "asked", "plain", "switched-blue")} == {"v1"}
    scaler = services.cluster.object(Kind.AUTOSCALER, "gradual")["spec"]
    assert (scaler, "gradual-rollback" in services.cluster.names(Kind.DEPLOYMENT)) == (AUTOSCALER, False)
    await services.kill()


@pytest.mark.parametrize("version", VERSIONS)
async def test_where_somebody_has_gone_on_meanwhile_each_open_run_is_abandoned(version: str, tmp_path: Path) -> None:
    services = await taken_over(version, "sqlite", tmp_path)
    for name in ("gradual", "asked", "plain", "switched-blue"):
        services.cluster.roll(name, "v3")
    guard = await services.start()
    await services.pass_(120.0)
    assert ends(services) == dict.fromkeys(PLAYED, ABANDONED)
    frozen = {name for name in PLAYED if guard.chronicle.ledger(f"default/{name}").freeze is not None}
    # While people were asked nothing was changed yet.
    assert frozen == {*PLAYED} - {"asked"}
    assert services.cluster.object(Kind.AUTOSCALER, "gradual")["spec"] == AUTOSCALER
    await services.kill()
