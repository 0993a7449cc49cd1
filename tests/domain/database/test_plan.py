"""The digest to which an approval is bound, and what the answers of a database make of a draft."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from logcaster_guard.domain.database.migrating import Invariant, LockMode, TableLock
from logcaster_guard.domain.database.migrations import MigrationFile, migration_set, read_file, way_down
from logcaster_guard.domain.database.plan import Draft, MigrationPlan, order_of
from logcaster_guard.domain.database.questions import is_table, is_there
from logcaster_guard.domain.database.server import TableName
from logcaster_guard.domain.database.statement_findings import Counted, Doubt, StatementLoses
from logcaster_guard.domain.database.statements.reading import findings_of
from tests.fakes.database import VERSIONS, state_at

LOGS, NOTES = TableName("public", "logs"), TableName("public", "notes")
TEXTS = {
    "3_drop.down.sql": "DROP TABLE IF EXISTS notes;\nALTER TABLE logs DROP COLUMN level;",
    "2_delete.down.sql": "DELETE FROM logs WHERE level = 'debug';\nDROP TYPE kind;",
}
ROWS = 'SELECT count(*) FROM "public"."notes"'
VALUES = 'SELECT count("level") FROM "public"."logs"'


def files() -> tuple[MigrationFile, ...]:
    found = [read_file(migration_set([name]).names[0], text.encode()) for name, text in TEXTS.items()]
    return tuple(file for file in found if isinstance(file, MigrationFile))


def draft(**changed: Any) -> Draft:
    names = [*TEXTS, "3_drop.up.sql", "2_delete.up.sql", "1_init.up.sql"]
    way = way_down(migration_set(names), 3, 1)
    assert way.faults == ()
    return replace(Draft(state_at(3), VERSIONS, way, files(), findings_of(files(), VERSIONS, ("public",))), **changed)


def answered(**changed: int) -> dict[str, int]:
    """Every question with 0, but for the tables, which are there, and a column, which has values."""
    answers = dict.fromkeys(draft().questions, 0)
    return {
        **answers,
        is_table(LOGS): 1,
        is_there(LOGS): 1,
        is_table(NOTES): 1,
        is_there(NOTES): 1,
        VALUES: 7,
        **changed,
    }


def loss(plan: MigrationPlan, object_: str) -> StatementLoses:
    (found,) = [loss for loss in plan.losses if loss.object == object_]
    return found


def test_the_files_are_planned_in_order_with_the_version_that_each_leaves() -> None:
    plan = draft().planned(answered())
    assert [(f.name, f.leaves) for f in plan.files] == [("3_drop.down.sql", 2), ("2_delete.down.sql", 1)]
    assert (plan.present, plan.destination) == (3, 1)


def test_losses_are_counted_by_the_database() -> None:
    plan = draft().planned(answered(**{ROWS: 10}))
    assert (loss(plan, "public.notes").count, loss(plan, "public.notes").counted) == (10, Counted.ROWS)
    assert (loss(plan, "public.logs.level").count, loss(plan, "public.logs.level").exact) == (7, True)
    assert loss(plan, "public.notes").line == 1


def test_the_condition_of_a_file_that_comes_later_is_not_asked_where_a_column_has_gone() -> None:
    found = loss(draft().planned({**answered(), 'SELECT count(*) FROM "public"."logs"': 10}), "public.logs")
    assert (found.count, found.exact) == (10, False)


def test_what_was_not_answered_is_not_known() -> None:
    answers = answered()
    del answers[VALUES]
    assert loss(draft().planned(answers), "public.logs.level").count is None


def test_a_table_that_is_not_there_loses_nothing_and_is_not_locked() -> None:
    answers = answered(**{is_table(NOTES): 0, is_there(NOTES): 0})
    del answers[ROWS]
    plan = draft().planned(answers)
    assert loss(plan, "public.notes").count == 0
    assert plan.locks == (TableLock(LOGS, LockMode.ACCESS_EXCLUSIVE),)


def test_what_the_database_has_that_no_file_shows_cannot_be_judged() -> None:
    assert draft().planned(answered()).unjudged == ()
    checks = {check.doubt.why: check.query for check in draft().findings.checks}
    plan = draft().planned(answered(**{checks[Doubt.TRIGGERS]: 2}))
    assert [(d.why, d.name, d.line) for d in plan.unjudged] == [(Doubt.TRIGGERS, "public.logs", 1)]
    unanswered = answered()
    del unanswered[checks[Doubt.FOREIGN_KEYS]]
    assert [d.why for d in draft().planned(unanswered).unjudged] == [Doubt.FOREIGN_KEYS]


def test_a_plan_that_loses_nothing_needs_no_approval() -> None:
    assert draft().planned(answered()).needs_approval
    assert not replace(draft().planned(answered()), losses=()).needs_approval


def test_the_digest_is_the_same_for_the_same_plan_and_does_not_move_with_traffic() -> None:
    plan = draft().planned(answered())
    later = draft(state=replace(state_at(3), size=10**12)).planned(answered(**{ROWS: 99, VALUES: 100}))
    assert plan.digest == draft().planned(answered()).digest == later.digest
    assert plan != later


PLAN = draft().planned(answered())
CHANGED = {
    "database": replace(PLAN, database="other"),
    "versions": replace(PLAN, versions=TableName("other", "schema_migrations")),
    "present": replace(PLAN, present=4),
    "destination": replace(PLAN, destination=None),
    "search path": replace(PLAN, search_path=("other",)),
    "a file's content": replace(PLAN, files=(replace(PLAN.files[0], sha256="0" * 64), *PLAN.files[1:])),
    "a file's name": replace(PLAN, files=(replace(PLAN.files[0], name="3_other.down.sql"), *PLAN.files[1:])),
    "the version that a file leaves": replace(PLAN, files=(replace(PLAN.files[0], leaves=1), *PLAN.files[1:])),
    "the order of files": replace(PLAN, files=PLAN.files[::-1]),
    "a file": replace(PLAN, files=PLAN.files[:1]),
    "a lock": replace(PLAN, locks=PLAN.locks[:1]),
    "a lock's mode": replace(PLAN, locks=(TableLock(LOGS, LockMode.SHARE), *PLAN.locks[1:])),
    "an index": replace(PLAN, indexes=(LOGS,)),
    "a loss": replace(PLAN, losses=PLAN.losses[1:]),
    "what is lost": replace(PLAN, losses=(replace(PLAN.losses[0], cascade=True), *PLAN.losses[1:])),
    "a doubt": replace(PLAN, unjudged=(draft().findings.checks[0].doubt,)),
    "an invariant": replace(PLAN, invariants=(Invariant("SELECT 1"),)),
    "what an invariant allows": replace(PLAN, invariants=(Invariant("SELECT 1", may_lose=1),)),
}


@pytest.mark.parametrize("what", CHANGED)
def test_an_approval_of_one_plan_is_none_of_another(what: str) -> None:
    assert len({PLAN.digest, *(plan.digest for plan in CHANGED.values())}) == len(CHANGED) + 1
    assert CHANGED[what].digest != PLAN.digest


def test_the_order_holds_the_texts_that_were_planned_and_no_others() -> None:
    order = order_of(PLAN, files(), operation="op", epoch=3)
    assert [(s.name, s.text, s.leaves) for s in order.scripts] == [
        (name, text, leaves) for (name, text), leaves in zip(TEXTS.items(), (2, 1), strict=True)
    ]
    assert (order.plan, order.present, order.destination, order.locks) == (PLAN.digest, 3, 1, PLAN.locks)
    with pytest.raises(ValueError, match="not the files"):
        order_of(PLAN, files()[:1], operation="op", epoch=3)
