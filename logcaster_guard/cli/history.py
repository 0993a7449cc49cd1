"""`logcaster-guard history`: the rollbacks that the journal tells, and what is known of each release."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from logcaster_guard.cli.asking import (
    DEFAULT_ADDRESS,
    Address,
    AsJson,
    Json,
    ask,
    instant,
    plain,
    release_status,
    show,
    show_json,
    span,
    table,
)

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
    runs = answer["runs"]
    found = table("runs", ("opened", "target", "rule", "from → to", "outcome", "took"), [_run(r) for r in runs])
    releases = table(
        "releases",
        ("target", "revision", "images", "status", "why"),
        [
            (
                r["target"] + (" (present)" if r["present"] else ""),
                r["revision"],
                ", ".join(r["images"]),
                plain(release_status(r), _STATUSES.get(r["status"], "")),
                r["bad_reason"] or (f"since {instant(r['good_at'])}" if r["good_at"] else "-"),
            )
            for r in answer["releases"]
        ],
    )
    show([found if runs else plain("No rollback yet."), plain(""), releases])


def _run(run: Json) -> tuple[str, ...]:
    closed = run["closed_at"]
    lasted = "-"
    if closed is not None:
        lasted = span((datetime.fromisoformat(closed) - datetime.fromisoformat(run["opened_at"])).total_seconds())
    return (
        instant(run["opened_at"]),
        run["target"],
        run["rule"],
        f"{', '.join(run['from_images'])} → {', '.join(run['to_images'])}",
        f"under way: {run['step'] or 'ending'}" if closed is None else f"{run['outcome']} ({run['outcome_reason']})",
        lasted,
    )
