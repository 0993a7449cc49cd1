"""Which of the answers that people write on a workload counts for a run, and why another one does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from logcaster_guard.domain import inbox
from logcaster_guard.domain.inbox import Answer, Denied, Given
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.steps import AskPeople


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of an annotation: `counted`, with its author's words, or denied, with the reason."""

    at: datetime
    annotation: str
    digest: str
    run: str | None
    counted: bool
    words: str


def judged(run: Run | None, answer: Answer, value: str, now: datetime) -> Given | Denied:
    """What `value`, the annotation for `answer`, says to the target's open run (None: there is none)."""
    if run is None:
        return Denied("no rollback is open here")
    found = inbox.answer(value, run.opened.ticket, now)
    if isinstance(found, Denied):
        return found
    objection = _objection(run, answer)
    return found if objection is None else Denied(objection)


def _objection(run: Run, answer: Answer) -> str | None:
    said = None if run.said is None else run.said.answer
    if run.closed is not None or run.ending is not None or said is Answer.ABANDON:
        return f"run {run.id} is ending already"
    if answer is Answer.ABANDON:
        return None
    if not isinstance(run.present, AskPeople):
        return f"run {run.id} does not ask any more: abandon it if it is to end"
    if said is Answer.VETO or said is answer:
        return f"run {run.id} was answered already ({said})"
    return None
