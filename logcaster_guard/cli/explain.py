"""`logcaster-guard explain`: why a trigger did or did not fire, from the running daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from logcaster_guard.cli.asking import (
    DEFAULT_ADDRESS,
    PHASE_STYLES,
    Address,
    AsJson,
    Json,
    ask,
    instant,
    plain,
    show,
    show_json,
    span,
)


def explain(
    trigger: Annotated[
        str,
        typer.Argument(metavar="TRIGGER", help="RULE, or NAMESPACE/DEPLOYMENT/RULE or TARGET/RULE for one target."),
    ],
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Tell why a trigger did or did not fire: its clock, each reading, and the guardrails that would hold now."""
    target, _, rule = trigger.rpartition("/")
    answer = ask(address, "/api/v1/explain", target=target or None, rule=rule)
    if as_json:
        show_json(answer)
        return
    lines: list[Text] = []
    for found in answer["triggers"]:
        lines += [Text(), *_lines(found)] if lines else _lines(found)
    show(lines)


def _lines(trigger: Json) -> Iterator[Text]:
    yield plain(f"{trigger['target']}/{trigger['rule']}", "bold")
    yield plain(trigger["summary"], PHASE_STYLES.get(trigger["phase"], ""))
    yield _row("condition", f"{trigger['condition']}  (for {span(trigger['duration_seconds'])})")
    yield _row("action", trigger["action"])
    yield _row("phase", trigger["phase"])
    if trigger["blind_since"] is not None:
        yield plain(f"  {'blind since':<12} {instant(trigger['blind_since'])}", "bold red")
    yield _row("verdict", trigger["verdict"] + _why(trigger))
    yield _row("onset", instant(trigger["onset"]))
    yield _row("proven met", f"{span(trigger['credit_seconds'])} of {span(trigger['duration_seconds'])}")
    for number, (name, reading) in enumerate(trigger["readings"].items()):
        yield _row("" if number else "readings", f"{name}: {reading}")
    last = trigger["last_change"]
    yield _row("last change", "-" if last is None else f"{last['change']} at {instant(last['at'])}")
    yield from _guardrails(trigger["guardrails"])
    found = trigger["attribution"]
    if found is not None:
        yield _row("put down to", f"{found['cause']}: {found['evidence']}")


def _guardrails(guardrails: list[Json] | None) -> Iterator[Text]:
    if guardrails is None:
        yield _row("guardrails", "not known yet: the Deployment was not looked at")
    elif not guardrails:
        yield _row("guardrails", "none would hold if it fired now")
    for number, guardrail in enumerate(guardrails or []):
        yield _row("" if number else "guardrails", f"{guardrail['guardrail']}: {guardrail['reason']}")


def _why(trigger: Json) -> str:
    parts = [f"blind: {', '.join(trigger['blind'])}"] if trigger["blind"] else []
    parts += [f"no data: {', '.join(trigger['no_data'])}"] if trigger["no_data"] else []
    return f" ({'; '.join(parts)})" if parts else ""


def _row(name: str, value: object) -> Text:
    return plain(f"  {name:<12} {value}")
