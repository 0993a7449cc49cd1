"""`logcaster-guard history`: the rollbacks that the journal tells, and what is known of each release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from logcaster_guard.cli.asking import (
    DEFAULT_ADDRESS,
    Address,
    AsJson,
    Json,
    ask,
    instant,
    plain,
    show,
    show_json,
    span,
    spoken,
    table,
    unmeasured,
)
from logcaster_guard.messages.texts import Texts, phrase

_STATUSES = {"good": "green", "good, unmeasured": "yellow", "presumed good": "green", "bad": "red"}


def history(
    target: Annotated[str | None, typer.Option(metavar="NAMESPACE/DEPLOYMENT", help="Only of this target.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many runs, the newest first.")] = 20,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show the rollbacks, newest first, and what is known of each release."""
    answer = ask(address, "/api/v1/history", target=target, limit=str(limit))
    if as_json:
        show_json(answer)
        return
    texts = spoken(answer)
    runs = answer["runs"]
    opened = ("opened", "target", "rule", "from → to", "outcome", "took")
    found = _table(texts, "runs", opened, [_run(r, texts) for r in runs])
    columns = ("target", "revision", "images", "status", "why")
    releases = _table(texts, "releases", columns, [_release(r, texts) for r in answer["releases"]])
    show([found if runs else plain(texts.text(phrase("page.no_rollback_yet"))), plain(""), releases])


def _table(texts: Texts, title: str, columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> Table:
    return table(texts.word(title, "page"), [texts.word(c, "page") for c in columns], rows)


def _release(release: Json, texts: Texts) -> Sequence[Text | str]:
    target, status = release["target"], release["status"]
    told = texts.text(phrase("page.status_by", release_status=status, rules=unmeasured(release)))
    since = release["good_at"] and texts.text(phrase("page.since", since=instant(release["good_at"])))
    return (
        texts.text(phrase("page.present", target=target)) if release["present"] else target,
        release["revision"],
        ", ".join(release["images"]),
        plain(told, _STATUSES.get(status, "")),
        release["bad_reason"] or since or "-",
    )


def _run(run: Json, texts: Texts) -> tuple[str, ...]:
    closed = run["closed_at"]
    lasted, outcome = "-", phrase("page.under_way", step=run["step"])
    if closed is not None:
        lasted = span((datetime.fromisoformat(closed) - datetime.fromisoformat(run["opened_at"])).total_seconds())
        outcome = phrase("page.outcome", outcome=run["outcome"], reason=run["outcome_reason"])
    return (
        instant(run["opened_at"]),
        run["target"],
        run["rule"],
        f"{', '.join(run['from_images'])} → {', '.join(run['to_images'])}",
        texts.text(outcome),
        lasted,
    )
