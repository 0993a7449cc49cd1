"""What `logcaster-guard rollback` tells of its run, and of the runs that follow from its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from logcaster_guard.cli import rollback
from logcaster_guard.messages.texts import english

Json = dict[str, Any]


def run(name: str, parent: str | None = None, *, outcome: str = "", done: Sequence[str] = ()) -> Json:
    return {
        "run": name,
        "parent": parent,
        "reason": f"because of {parent}",
        "steps_done": list(done),
        "closed_at": "2026-01-01T00:00:00Z" if outcome else None,
        "outcome": outcome or None,
        "outcome_reason": outcome,
    }


@pytest.mark.parametrize(("outcome", "well"), [("recovered", True), ("not recovered", False)])
async def test_a_run_that_takes_over_is_followed_to_its_end(
    capsys: pytest.CaptureFixture[str], outcome: str, well: bool
) -> None:
    other = run("other", "somebody", outcome="recovered")
    first, over = run("a", done=["create_helper"]), run("a", outcome="escalated", done=["create_helper"])
    shown = iter(
        [
            [other, first],
            [other, run("b", "a"), over],
            [other, run("b", "a", outcome=outcome, done=["restore_template"]), over],
        ]
    )

    async def look() -> Sequence[Json]:
        return rollback.line_of(next(shown), "a")

    assert await rollback._followed(look, 0.0, english()) is well
    assert capsys.readouterr().out.splitlines() == [
        "  done: create_helper",
        "Run a closed: escalated (escalated).",
        "Run b follows: because of a",
        "  done: restore_template",
        f"Run b closed: {outcome} ({outcome}).",
    ]
