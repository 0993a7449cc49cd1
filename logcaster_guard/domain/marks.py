"""What a person says of a release, that it is bad or not bad any more, as an annotation holds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from logcaster_guard.domain import inbox
from logcaster_guard.domain.inbox import Denied, Mark
from logcaster_guard.domain.ledger import Ledger
from logcaster_guard.domain.runs import Run

VALID_FOR = timedelta(minutes=10)
"""For how long a mark that nobody has taken in stands."""
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Marking:
    """The release with this template is to be marked; `words` are the person's."""

    template: str
    mark: Mark
    words: str


def written(marking: Marking, expiry: datetime) -> str:
    """The value of the annotation `inbox.MARK`: `<whole hash of the template> <expiry> <bad or not-bad> [words]`."""
    return inbox.written(marking.template, expiry, f"{marking.mark} {marking.words}")


def read(value: str, now: datetime) -> Marking | Denied:
    """The mark that the annotation holds at `now`; whether it counts is for `judged` to say."""
    given = value.strip().partition(" ")[0] if len(value) <= inbox.MAX_ANSWER else ""
    found = inbox.answer(value, given, now)
    if isinstance(found, Denied):
        return found
    mark, _, words = found.words.partition(" ")
    if mark not in set(Mark):
        return Denied(f"it does not say one of {', '.join(Mark)} after its instant")
    return Marking(given, Mark(mark), words.strip())


def judged(ledger: Ledger, run: Run | None, value: str, now: datetime) -> Marking | Denied:
    """What the annotation says of a release at `now`, or why it counts for nothing; `run` is the target's open one.

    What a run is leaving stays bad until that has ended: its fallback must not go back there.
    """
    found = read(value, now)
    if isinstance(found, Denied):
        return found
    record = ledger.records.get(found.template)
    if record is None:
        return Denied(f"{found.template[:_SHOWN]} is not the whole hash of a release that the guard knows")
    if found.mark is Mark.BAD:
        return found
    if record.bad_since is None:
        return Denied(f"revision {record.name} is not bad")
    if run is not None and run.opened.plan.from_template == found.template:
        return Denied(f"run {run.id} is rolling revision {record.name} back: abandon that first, or let it end")
    return found
