"""What each event of the journal means for the ledger.

The order of releases is the order of the journal; revisions from before the guard's time come first, by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from logcaster_guard.domain.events import (
    Event,
    PodsReplaced,
    RevisionBad,
    RevisionConfigured,
    RevisionGood,
    RevisionKept,
    RevisionLive,
    RevisionMarked,
    RevisionNumbered,
    RevisionSeeded,
    RunAnswered,
    RunClosed,
    RunOpened,
    SignalSeen,
    TargetFrozen,
    TargetThawed,
)
from logcaster_guard.domain.guard_reasons import NoReasonGiven
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.ledger import Freeze, Ledger, Record, Replacement, Rollout, Veto
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.reasons import FiredAfterRollout, MarkedBad, RunFroze, RunLeft, UndoLeft

_ORDERED = frozenset(
    {RevisionSeeded, RevisionLive, RevisionGood, RevisionBad, RevisionMarked, RunOpened, SignalSeen}
)  # fmt: skip
"""What has a place in the order of releases; nothing else counts, so that it may go from the journal."""

_ROLLOUTS = 50
"""Rollouts without a good release among them that are kept."""


def fold(events: Iterable[Event]) -> Ledger:
    """The ledger that these events, in journal order, tell: those of the target and those of its runs."""
    return extend(Ledger(), events)


def extend(ledger: Ledger, events: Iterable[Event]) -> Ledger:
    """The ledger after further events."""
    for event in events:
        kind = type(event)
        if kind not in _FOLDS:
            continue
        length = ledger.length + (kind in _ORDERED)
        ledger = _FOLDS[kind](ledger, event)
        if ledger.length != length:
            ledger = replace(ledger, length=length)
    return ledger


def _answered(ledger: Ledger, event: RunAnswered) -> Ledger:
    if event.until is None or ledger.present is None:
        return ledger
    return replace(ledger, veto=Veto(ledger.present, event.until, event.words))


def _opened(ledger: Ledger, event: RunOpened) -> Ledger:
    if event.request:
        # Whoever asks for the rollback thinks otherwise.
        ledger = replace(ledger, veto=None)
    if event.attributed:
        origin = ledger.record_of(event.plan.origin)
        left = {origin.release.key} if origin is not None else set[str]()
        for key in left | ledger.suspected(event.onset or event.at):
            ledger = _left(ledger, key, event.at, FiredAfterRollout(event.rule))
    return ledger


def _frozen(ledger: Ledger, event: TargetFrozen) -> Ledger:
    # Earlier versions wrote it as it stood in a sentence.
    who = event.who.strip(" ()") if isinstance(event.who, str) else event.who
    return replace(ledger, freeze=Freeze(event.at, event.by, event.reason, event.spec, who))


def _closed(ledger: Ledger, event: RunClosed) -> Ledger:
    if not event.freeze:
        return ledger
    return replace(ledger, freeze=Freeze(event.at, "guard", RunFroze(event.run, event.reason)))


def _with(ledger: Ledger, record: Record, **changes: Any) -> Ledger:  # noqa: ANN401 - fields of a ledger
    return replace(ledger, records={**ledger.records, record.release.key: record}, **changes)


def _seeded(ledger: Ledger, event: RevisionSeeded) -> Ledger:
    if event.release.key in ledger.records:
        return ledger
    record = Record(
        template=event.template,
        configuration=event.configuration,
        revision=event.revision,
        blob=event.blob,
        images=event.images,
        first_live=ledger.length,
        last_live=ledger.length,
        stood=event.stood,
    )
    if event.superseded_by_undo:
        record = replace(record, bad_at=event.at, bad_since=ledger.length, bad_reason=UndoLeft())
    return _with(ledger, record)


def _live(ledger: Ledger, event: RevisionLive) -> Ledger:
    since, key = event.earliest or event.at, event.release.key
    before = ledger.records.get(ledger.present or "")
    if before is not None and before.release.key != key:
        began = None if ledger.rollout is None else ledger.rollout.earliest
        stood = max(before.stood, (since - began).total_seconds()) if began else before.stood
        ledger = _with(ledger, replace(before, stood=stood))
        if event.by_guard is not None or event.undo_of == before.release.key:
            left_by: Reason = UndoLeft() if event.by_guard is None else RunLeft(event.by_guard)
            ledger = _left(ledger, before.release.key, event.at, left_by)
    known = ledger.records.get(key)
    record = _new(ledger, event) if known is None else replace(known, revision=event.revision, blob=event.blob)
    record = replace(record, last_live=ledger.length, contents=event.contents or record.contents)
    if event.by_guard is not None and record.bad_since is not None:
        # Only a person's rollout speaks for a bad release: the guard puts one back where nothing better can start.
        record = replace(record, bad_since=ledger.length)
    rollouts = _rollouts(ledger, before, event)
    return _with(
        ledger, record, present=key, uid=event.uid, rollouts=rollouts, replacement=None
    )  # fmt: skip


def _new(ledger: Ledger, event: RevisionLive) -> Record:
    """The record of a release that is live for the first time, or of a known template whose configuration is open."""
    same = [r.first_live for r in ledger.records.values() if r.template == event.template and not event.configuration]
    return Record(
        template=event.template,
        configuration=event.configuration,
        readable=event.readable,
        revision=event.revision,
        blob=event.blob,
        images=event.images,
        first_live=min([ledger.length, *same]),
        last_live=ledger.length,
    )


def _configured(ledger: Ledger, event: RevisionConfigured) -> Ledger:
    """The present release has this configuration, and has had it since its rollout: all that is said of it holds."""
    live, rollouts, veto, key = ledger.live, ledger.rollouts, ledger.veto, event.release.key
    if live is None or live.template != event.template or live.release == event.release:
        return ledger
    records, old, known = dict(ledger.records), live.release.key, ledger.records.get(key)
    unearned = replace(live, good_at=None, stood=0.0, snapshot="", good_on=frozenset(), unmeasured=())
    records[key] = replace(
        unearned if known is None else _worse(known, live),
        configuration=event.configuration,
        readable=event.readable,
        contents=event.contents or ({} if known is None else known.contents),
        revision=live.revision,
        blob=event.blob or live.blob,
        last_live=live.last_live,
    )
    if not live.configuration and unearned == live and not _was_bad_before(live):
        # Nothing is known of it that is not of this configuration.
        del records[old]
        rollouts = tuple(_renamed(rollout, old, key) for rollout in rollouts)
    rollouts = (*rollouts[:-1], replace(rollouts[-1], key=key))
    if veto is not None and veto.key == old:
        veto = replace(veto, key=key)
    return replace(ledger, records=records, present=key, rollouts=rollouts, veto=veto)


def _renamed(rollout: Rollout, old: str, key: str) -> Rollout:
    return replace(
        rollout,
        key=key if rollout.key == old else rollout.key,
        previous=key if rollout.previous == old else rollout.previous,
    )


def _was_bad_before(live: Record) -> bool:
    """Whether it is bad for what was found before it became live this time, with perhaps another configuration."""
    return live.bad_since is not None and live.bad_since < live.last_live


def _worse(known: Record, live: Record) -> Record:
    """The known record, bad for what was found since the same release became `live` with an unknown configuration."""
    if live.bad_since is None or _was_bad_before(live):
        return known
    return replace(
        known,
        bad_at=live.bad_at,
        bad_since=live.bad_since,
        bad_reason=live.bad_reason,
        objection=live.objection or known.objection,
    )


def _renewed(ledger: Ledger, event: RevisionNumbered | RevisionKept | PodsReplaced) -> Ledger:
    record = ledger.record_of(event.release)
    if record is None:
        return ledger
    if isinstance(event, RevisionKept):
        return _with(ledger, replace(record, blob=event.blob))
    if isinstance(event, RevisionNumbered):
        return _with(ledger, replace(record, revision=event.revision))
    # What has never been well may be at fault whatever else was changed.
    found = Replacement(event.earliest or event.at, event.changed) if record.good_at is not None else None
    return _with(ledger, replace(record, blob=event.blob or record.blob), replacement=found)


def _rollouts(ledger: Ledger, before: Record | None, event: RevisionLive) -> tuple[Rollout, ...]:
    """The rollouts that a breach may be put down to from now on."""
    rollout, last = Rollout(event.release.key, event.at, event.earliest, event.by_guard), ledger.rollout
    if before is None or last is None:
        return (rollout,)
    if before.release == event.release:
        rollout = replace(rollout, previous=last.previous, previous_since=last.previous_since)
        return (*ledger.rollouts[:-1], rollout)
    rollout = replace(rollout, previous=before.release.key, previous_since=last.at)
    answered = before.good_at is not None or event.by_guard is not None or event.undo_of is not None
    return (rollout,) if answered else (*ledger.rollouts, rollout)[-_ROLLOUTS:]


def _good(ledger: Ledger, event: RevisionGood) -> Ledger:
    record = ledger.records.get(event.release.key)
    if record is None:
        return ledger
    if record.bad_since is not None and record.last_live <= record.bad_since:
        return ledger
    record = replace(
        record.lifted,
        good_at=event.at,
        good_on=ledger.signals_seen,
        unmeasured=event.unmeasured,
        snapshot=event.snapshot or record.snapshot,
    )
    return _with(ledger, record)


def _bad(ledger: Ledger, template: str, at: datetime, reason: Reason) -> Ledger:
    record = ledger.records.get(template)
    if record is None:
        return ledger
    return _with(ledger, replace(record, bad_at=at, bad_since=ledger.length, bad_reason=reason))


def _left(ledger: Ledger, template: str, at: datetime, reason: Reason) -> Ledger:
    """As `_bad`; what it was bad for already, that it did not even start, say, tells more than that it was left."""
    known = ledger.records.get(template)
    before = known.bad_reason if known is not None and known.bad_since is not None else ""
    return _bad(ledger, template, at, before or reason)


def _marked(ledger: Ledger, event: RevisionMarked) -> Ledger:
    record = ledger.record_of(event.release)
    if record is None:
        return ledger
    if event.mark is Mark.NOT_BAD:
        return _with(ledger, record.lifted)
    record = replace(record, objection=event.words or NoReasonGiven())
    if ledger.veto is not None and ledger.veto.key == record.release.key:
        ledger = replace(ledger, veto=None)
    return _bad(_with(ledger, record), record.release.key, event.at, MarkedBad(event.words))


def _found_bad(ledger: Ledger, event: RevisionBad) -> Ledger:
    record = ledger.record_of(event.release)
    return ledger if record is None else _bad(ledger, record.release.key, event.at, event.reason)


_FOLDS: Mapping[type[Event], Callable[[Ledger, Any], Ledger]] = {
    RevisionSeeded: _seeded,
    RevisionLive: _live,
    RevisionConfigured: _configured,
    RevisionNumbered: _renewed,
    RevisionKept: _renewed,
    PodsReplaced: _renewed,
    RevisionGood: _good,
    RevisionBad: _found_bad,
    RevisionMarked: _marked,
    RunAnswered: _answered,
    RunOpened: _opened,
    RunClosed: _closed,
    TargetFrozen: _frozen,
    TargetThawed: lambda ledger, _: replace(ledger, freeze=None),
    SignalSeen: lambda ledger, event: replace(ledger, signals_seen=ledger.signals_seen | {event.signal}),
}
"""What each event means here. By its type, since most events of a journal mean nothing here and there are many."""
