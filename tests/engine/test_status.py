"""The read model: what the API, the metrics and the command line are shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.engine.journal_state import JournalState
from logcaster_guard.ports import JournalSize
from tests.engine.bench import ANOTHER, ERRORS, FIRES, KEY, PROD, Bench, bench

OTHER = f"default/{ANOTHER}"


async def one_rollback_each(made: Bench) -> None:
    await made.good_v1()
    for name in (PROD, ANOTHER):
        made.cluster.roll(name, "v2")
        await made.pass_(FIRES + 600.0)
    assert [r.target for r in made.told(RunOpened)] == [KEY, OTHER]


async def test_runs_are_found_by_target_the_newest_first() -> None:
    async with bench(deployments=[PROD, ANOTHER]) as made:
        await one_rollback_each(made)
        model = made.guard.read_model
        assert [run.opened.target for run in model.runs()] == [OTHER, KEY]
        assert [run.opened.target for run in model.runs(limit=1)] == [OTHER]
        assert [run.opened.target for run in model.runs(KEY)] == [KEY]
        assert model.runs("default/nobody") == []
        for key, closed in zip((KEY, OTHER), made.told(RunClosed), strict=True):
            [run] = model.runs(key)
            assert (run.closed, model.target(key).run) == (closed, None)
            assert (model.target(key).runs_opened, model.target(key).runs_closed) == (1, {closed.outcome: 1})
        assert [(r.target, r.record.images) for r in model.releases(KEY)] == [(KEY, ("v1",)), (KEY, ("v2",))]


async def test_an_open_run_is_shown_on_its_target_until_it_is_closed() -> None:
    async with bench(deployments=[PROD, ANOTHER]) as made:
        await made.bad_v2()
        await made.pass_(FIRES)
        [opened] = made.told(RunOpened)
        shown = {t.target.key: t.run and t.run.id for t in made.guard.read_model.status().targets}
        assert shown == {KEY: opened.run, OTHER: None}
        await made.restart()
        assert [run.id for run in made.guard.read_model.runs(KEY)] == [opened.run]


async def test_to_show_the_status_no_decision_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each decision counts all runs there ever were: for every rule of every target that is too much."""
    async with bench() as made:
        await made.good_v1()

        def counted(_: JournalState) -> None:
            raise AssertionError("all runs are counted")

        monkeypatch.setattr(JournalState, "past_runs", counted)
        assert made.guard.read_model.status().targets[0].rule(ERRORS.name).evidence == {"error_rate": "0%"}
        with pytest.raises(AssertionError):
            made.guard.read_model.explain(ERRORS.name)


async def test_what_is_shown_is_of_the_instant_at_which_it_was_asked_for() -> None:
    async with bench() as made:
        await made.good_v1()
        before = made.guard.read_model.status()
        made.cluster.roll(PROD, "v2")
        await made.pass_(200.0)
        after = made.guard.read_model.status()
        assert after.at - before.at == timedelta(seconds=200.0)
        first, second = (found.targets[0].rule(ERRORS.name) for found in (before, after))
        assert (first.onset, first.credit, first.evidence) == (None, 0.0, {"error_rate": "0%"})
        assert second.onset is not None
        assert second.evidence == {"error_rate": "30%"}
        assert sum(second.evaluations.values()) > sum(first.evaluations.values())
        assert after.storage.appends > before.storage.appends
        assert isinstance(after.storage.size, JournalSize)
