"""`logcaster-guard explain`: why a trigger did or did not fire, from the running daemon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    labelled,
    plain,
    show,
    show_json,
    span,
    spoken,
)
from logcaster_guard.messages.texts import Phrase, Texts, phrase

_WIDTH = 13
"""Columns of a label and the blanks behind it."""


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
    show([*_told(answer["triggers"], spoken(answer))])


def _told(triggers: Sequence[Json], texts: Texts) -> Iterator[Text]:
    for number, found in enumerate(triggers):
        yield from [Text()] if number else []
        yield from _lines(found, texts)


def _lines(trigger: Json, texts: Texts) -> Iterator[Text]:
    def row(label: str, value: str | Phrase, style: str = "") -> Text:
        shown = texts.text(value) if isinstance(value, Phrase) else value
        return labelled(texts, label, shown, _WIDTH, style)

    duration = span(trigger["duration_seconds"])
    yield plain(f"{trigger['target']}/{trigger['rule']}", "bold")
    yield plain(trigger["summary"], PHASE_STYLES.get(trigger["phase"], ""))
    yield row("condition", phrase("page.condition", condition=trigger["condition"], duration=duration))
    yield row("action", trigger["action"])
    yield row("phase", texts.word(trigger["phase"], "page"))
    if trigger["blind_since"] is not None:
        yield row("blind since", instant(trigger["blind_since"]), "bold red")
    blind, empty = trigger["blind"], trigger["no_data"]
    yield row("verdict", phrase("page.verdict", verdict=trigger["verdict"], blind=blind, empty=empty))
    yield row("onset", instant(trigger["onset"]))
    yield row("proven met", phrase("page.proven", proven=span(trigger["credit_seconds"]), duration=duration))
    for number, (name, reading) in enumerate(trigger["readings"].items()):
        yield row("" if number else "readings", f"{name}: {reading}")
    last = trigger["last_change"]
    changed = "-" if last is None else phrase("page.last_change", change=last["change"], at=instant(last["at"]))
    yield row("last change", changed)
    for number, guardrail in enumerate(_guardrails(trigger["guardrails"])):
        yield row("" if number else "guardrails", guardrail)
    if (found := trigger["attribution"]) is not None:
        yield row("put down to", phrase("page.put_down_to", cause=found["cause"], evidence=found["evidence"]))


def _guardrails(guardrails: Sequence[Json] | None) -> Sequence[str | Phrase]:
    if guardrails is None:
        return [phrase("page.guardrails_unknown")]
    return [f"{g['guardrail']}: {g['reason']}" for g in guardrails] or [phrase("page.no_guardrail")]
