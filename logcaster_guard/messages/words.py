"""What the makers of notices share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from logcaster_guard.domain.evidence import Evidence
from logcaster_guard.domain.measurements import Fact
from logcaster_guard.domain.message import Headline, Message, Reason
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.messages.texts import english


def images(names: Sequence[str]) -> str:
    """Images in one line."""
    return ", ".join(names) or "no image"


def told(
    message: Headline,
    severity: Severity,
    *,
    id: str,  # noqa: A002 - the field's name
    at: datetime,
    event: str = "",
    facts: Mapping[str, str] | None = None,
    target: str = "",
    namespace: str = "",
    deployment: str = "",
    run: str = "",
) -> Notice:
    """The notice that says this, in English; its `event` is the message's kind where none is given."""
    notice = Notice(
        id=id,
        at=at,
        event=event or message.kind,
        severity=severity,
        title="",
        text="",
        target=target,
        namespace=namespace,
        deployment=deployment,
        run=run,
        facts=facts or {},
        message=message,
    )
    return english().notice(notice)


def english_facts(facts: Mapping[str, Reason]) -> Mapping[str, str]:
    """Facts as a notice carries them."""
    return {name: english().text(fact) if isinstance(fact, Message) else fact for name, fact in facts.items()}


def told_facts(facts: Mapping[str, Reason]) -> tuple[Fact, ...]:
    """The facts of a decision that have words in each language, but for the attribution, which messages hold."""
    return tuple(Fact(n, f) for n, f in facts.items() if isinstance(f, Message) and not isinstance(f, Evidence))


def attribution_of(facts: Mapping[str, Reason]) -> Evidence | None:
    """What the facts of a decision put the breach down to."""
    found = facts.get("attribution")
    return found if isinstance(found, Evidence) else None
